"""Instructions that read and write memory: global and shared, parameters and local memory, atomics, fences, asynchronous copies."""

from tests.ptx.rules import APART, WARP, rule
from tests.ptx.source import items
from tests.ptx.types import CPP, SIZE, bits
from tests.ptx.writer import Writer

SPACES = {"global": "global", "shared": "shared", "shared::cta": "shared"}
HINTS = "nc L1::evict_first L1::evict_last L1::evict_normal L1::no_allocate L1::evict_unchanged L2::evict_first L2::evict_last L2::cache_hint L2::128B L2::256B L2::64B cg ca cs cv wb wt lu"
ATOMIC = {
    "add": "v + x",
    "exch": "x",
    "cas": "v == x ? y : v",
    "min": "v < x ? v : x",
    "max": "v > x ? v : x",
    "and": "v & x",
    "or": "v | x",
    "xor": "v ^ x",
    "inc": "v >= x ? 0 : v + 1",
    "dec": "v == 0 || v > x ? x : v - 1",
}
STRONG = "relaxed acquire release acq_rel volatile cta gpu sys"


def space_of(i: Writer) -> str:
    found = [SPACES[p] for p in i.parts if p in SPACES]
    if len(found) != 1:
        raise i.unknown("generic addresses are not known to the emulator")
    return found[0]


def ordering(i: Writer) -> tuple[str, str]:
    """Whether it releases and acquires, in C++."""
    return str(i.has("release", "acq_rel")).lower(), str(i.has("acquire", "acq_rel")).lower()


def place_of(space: str) -> str:
    """Where the address A lies on this machine."""
    return "(void*)A" if space == "global" else "(void*)(c.shared + A)"


def accessed(space: str, size: int, write: bool, line: str, value: str, atomic: str) -> str:
    """Statements that watch an access at A; `inside_` says whether it may be made."""
    rest = f"A, {size}, l, {str(write).lower()}, {line}, {value}, {atomic}"
    if space == "global":
        return f"global_access(w, {rest}); bool inside_ = inside(A, {size});"
    return f"bool inside_ = shared_access(w, c, {rest});"


def key_of(space: str) -> str:
    """What tells a word from others: global ones by address, shared ones by program and address."""
    return "A" if space == "global" else "((u64)(w.id - c.warp) << 32 | 1ull << 63 | A)"


@rule("ld", "st", how=APART, knows=f"param local global shared shared::cta v2 v4 v8 {STRONG} {HINTS}")
def accesses(i: Writer) -> str:
    if i.has("param", "local"):
        return private(i)
    is_load, space, size = i.parts[0] == "ld", space_of(i), SIZE[i.kind]
    values, where = (i.a[0], i.a[1]) if is_load else (i.a[1], i.a[0])
    atomic = str(i.has("relaxed", "acquire", "release", "acq_rel", "volatile")).lower()
    release, acquire = ordering(i)
    line, kind = i.line(), bits(i.kind)
    code = f"u64 B = {i.address(where)[2]}; if (B % {size * i.width}) {{ REPORT.misaligned++; complain(\"misaligned\", B, {line}, l, l); }}"
    order = f" {{ u64 A = B; ordered(w, {key_of(space)}, {release}, {acquire}); }}" if atomic == "true" else ""
    for k, register in enumerate(items(values)):
        code += f" {{ u64 A = B + {k * size}; "
        if is_load:
            wide = f"({CPP['s' + i.kind[1:]]})v" if i.kind[0] == "s" else "v"
            code += accessed(space, size, False, line, "0", atomic)
            code += f" if (inside_) {{ {CPP[kind]} v; memcpy(&v, {place_of(space)}, {size}); {i.store(register, wide, kind)} }}"
        else:
            code += f"{CPP[kind]} v = {i.value(register, kind)}; {accessed(space, size, True, line, 'v', atomic)}"
            code += f" if (inside_) memcpy({place_of(space)}, &v, {size});"
        code += " }"
    return code + order


def private(i: Writer) -> str:
    """Parameters and local memory: a place of every lane."""
    is_load, size, kind = i.parts[0] == "ld", SIZE[i.kind], bits(i.kind)
    values, where = (i.a[0], i.a[1]) if is_load else (i.a[1], i.a[0])
    base, offset, at = i.address(where)
    names = [name for _, name in i.source.parameters]
    if i.has("param") and base in names and i.function is i.source.functions[0]:
        first = 8 * names.index(base) + offset
        return "".join(f"{i.register(r)} = *({CPP[kind]}*)(c.params + {i.number(first + k * size)});" for k, r in enumerate(items(values)))
    spaces = i.function.spaces
    if i.has("param") or base not in i.function.registers:
        space = spaces[base]
    else:
        depots = [space for name, space in spaces.items() if name.startswith("__local_depot")]
        if len(depots) != 1:
            raise i.unknown("local memory without one depot is not known to the emulator")
        space = depots[0]
    place = f"(w.file + {i.number(space.at)} + l * {i.number(space.size)} + at"
    code = f"u64 at = {at}; if (at + {size * i.width} > {i.number(space.size)}) {{ REPORT.out_of_bounds++; complain(\"local memory: out of bounds\", at, {i.line()}, l, l); }} else {{ "
    for k, register in enumerate(items(values)):
        if is_load:
            wide = f"({CPP['s' + i.kind[1:]]})v{k}" if i.kind[0] == "s" else f"v{k}"
            code += f"{CPP[kind]} v{k}; memcpy(&v{k}, {place} + {k * size}), {size}); {i.store(register, wide, kind)} "
        else:
            code += f"{CPP[kind]} v{k} = {i.value(register, kind)}; memcpy({place} + {k * size}), &v{k}, {size}); "
    return code + "}"


@rule("atom", "red", how=APART, knows=f"global shared shared::cta {STRONG} {' '.join(ATOMIC)} rn noftz")
def atomic(i: Writer) -> str:
    space, size = space_of(i), SIZE[i.kind]
    to, where, *given = i.a if i.parts[0] == "atom" else ["_", *i.a]
    (name,) = [p for p in i.parts[1:] if p in ATOMIC]
    kind = i.kind if name in ("add", "min", "max", "inc", "dec") else bits(i.kind)
    of_kind = CPP[kind]
    if kind in ("f16", "bf16"):
        raise i.unknown()
    release, acquire = ordering(i)
    values = "".join(f" {of_kind} {n} = {i.value(operand, kind)};" for n, operand in zip("xy", given, strict=False))
    return (
        f"u64 A = {i.address(where)[2]}; {accessed(space, size, True, i.line(), '0', 'true')} if (inside_) {{{values} {of_kind} v; "
        f"memcpy(&v, {place_of(space)}, {size}); {of_kind} o = {ATOMIC[name]}; memcpy({place_of(space)}, &o, {size}); "
        f"{i.store(to, 'v', kind)} ordered(w, {key_of(space)}, {release}, {acquire}); }}"
    )


@rule("fence", "membar", how=WARP, knows="acq_rel sc cta gpu sys gl")
def fence(i: Writer) -> str:
    return "fence(w);"


@rule("cp", how=APART, knows="async cg ca shared shared::cta global commit_group wait_group wait_all L2::128B L2::256B L2::64B")
def copies(i: Writer) -> str:
    if not i.has("async"):
        raise i.unknown()
    if i.has("commit_group"):
        return "commit(w, 1u << l);"
    if i.has("wait_group", "wait_all"):
        left = i.number(int(i.a[0])) if i.has("wait_group") else "-1"
        return f"wait_for_copies(w, c, 1u << l, (int){left});"
    to, given, size = i.address(i.a[0])[2], i.address(i.a[1])[2], i.number(int(i.a[2], 0))
    taken = i.value(i.a[3], "u32") if len(i.a) > 3 else f"(u32){size}"
    return f"copy_later(w, c, l, {to}, {given}, (int){size}, (int){taken}, {i.line()});"
