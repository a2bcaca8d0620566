"""Instructions of matrices: their tiles in shared memory, and products in half precision and TF32."""

from tests.ptx.rules import WARP, rule
from tests.ptx.source import items
from tests.ptx.writer import Writer

KINDS = {"bf16": ("Bf16", 2), "f16": ("F16", 2), "tf32": ("Tf32", 1)}
SHAPES = {f"m16n8k{k}": k for k in (4, 8, 16)}


@rule("ldmatrix", "stmatrix", knows="sync aligned m8n8 x1 x2 x4 trans shared shared::cta", how=WARP, together=True)
def tiles(i: Writer) -> str:
    """Tile k, 8 rows of 16 bytes, has its rows' addresses in lanes 8k to 8k + 7; a lane holds two neighbours of a row, or of a column."""
    is_load = i.parts[0] == "ldmatrix"
    values, where = (i.a[0], i.a[1]) if is_load else (i.a[1], i.a[0])
    line = i.line()
    code = f"u64 rows[32]; whole_warp(mask, {line}); for (int l = 0; l < 32; l++) rows[l] = {i.address(where)[2]};"
    for k, register in enumerate(items(values)):
        for half in (0, 1):
            row, column = (f"2 * (l % 4) + {half}", "l / 4") if i.has("trans") else ("l / 4", f"2 * (l % 4) + {half}")
            code += f" for (int l = 0; l < 32; l++) {{ u64 A = rows[{8 * k} + {row}] + 2 * ({column}); uint16_t v = 0; "
            if is_load:
                keep = f"{i.register(register)} & 0xffff | " if half else ""
                code += f"if (shared_access(w, c, A, 2, l, false, {line})) memcpy(&v, c.shared + A, 2); {i.register(register)} = {keep}(u32)v << {16 * half}; }}"
            else:
                code += f"v = {i.register(register)} >> {16 * half}; if (shared_access(w, c, A, 2, l, true, {line}, v)) memcpy(c.shared + A, &v, 2); }}"
    return code


@rule("mma", knows=f"sync aligned row col tf32 {' '.join(SHAPES)}", how=WARP, together=True)
def multiplied(i: Writer) -> str:
    """D = A B + C, A by rows, B by columns, C and D in float32."""
    shape, kinds = next((p for p in i.parts if p in SHAPES), None), i.parts[-4:]
    if shape is None or kinds[0] != "f32" or kinds[3] != "f32" or kinds[1] != kinds[2] or kinds[1] not in KINDS or not i.has("row") or not i.has("col"):
        raise i.unknown()
    (name, per), depth = KINDS[kinds[1]], SHAPES[shape]
    to, a, b, c = map(items, i.a)
    if len(a) != 2 * depth // (4 * per) or len(b) != depth // (4 * per) or not b:
        raise i.unknown()

    def arrays(registers: list[str]) -> str:
        return ", ".join(i.array(r) for r in registers)

    given = " ".join(f"c_[{k}][l] = {i.value(operand, 'f32')};" for k, operand in enumerate(c))
    return (
        f"whole_warp(mask, {i.line()}); u32* a_[] = {{{arrays(a)}}}; u32* b_[] = {{{arrays(b)}}}; u32* d_[] = {{{arrays(to)}}}; float c_[4][32]; "
        f"for (int l = 0; l < 32; l++) {{ {given} }} multiply<{name}, {depth}>(a_, b_, c_, d_);"
    )
