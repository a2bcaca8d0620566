"""Instructions of a single lane that compute: arithmetic, comparisons, conversions, bits."""

from tests.ptx.rules import WARP, rule
from tests.ptx.source import items
from tests.ptx.types import CPP, SIZE, bits, family
from tests.ptx.writer import Writer

# What an instruction computes, by type or by family of types; T is the type in C++.
INTEGER = {"add": "({T})({0} + {1})", "sub": "({T})({0} - {1})", "mul": "({T})({0} * {1})", "mad": "({T})({0} * {1} + {2})"}
INTEGER |= {"div": "quotient<{T}>({0}, {1})", "rem": "remainder_of<{T}>({0}, {1})"}
INTEGER |= {"max": "({0} > {1} ? {0} : {1})", "min": "({0} < {1} ? {0} : {1})"}
FORMS = {name: {"s": form, "u": form} for name, form in INTEGER.items()}
FORMS["neg"] = {"s": "({T})(-{0})", "f": "-({0})"}
FORMS["abs"] = {"s": "({T})std::abs({0})", "f": "std::fabs({0})"}
FORMS["add"]["f"] = "{0} + {1}"
FORMS["sub"]["f"] = "{0} - {1}"
FORMS["mul"]["f"] = "{0} * {1}"
FORMS["mad"]["f"] = "std::fma({0}, {1}, {2})"
FORMS["fma"] = {"f": "std::fma({0}, {1}, {2})"}
FORMS["div"]["f"] = "{0} / {1}"
FORMS["max"]["f"] = "maximum<{T}>({0}, {1}, {nan})"
FORMS["min"]["f"] = "minimum<{T}>({0}, {1}, {nan})"
FORMS["and"] = {"b": "{0} & {1}", "pred": "{0} && {1}"}
FORMS["or"] = {"b": "{0} | {1}", "pred": "{0} || {1}"}
FORMS["xor"] = {"b": "{0} ^ {1}", "pred": "(!!{0}) != (!!{1})"}
FORMS["not"] = {"b": "~{0}", "pred": "!{0}"}
FORMS["ex2"] = {"f32": "(float)std::exp2((double){0})"}
FORMS["lg2"] = {"f32": "(float)std::log2((double){0})"}
FORMS["rcp"] = {"f32": "1.0f / {0}", "f64": "1.0 / {0}"}
FORMS["sqrt"] = {"f32": "std::sqrt({0})", "f64": "std::sqrt({0})"}
FORMS["rsqrt"] = {"f32": "(float)(1.0 / std::sqrt((double){0}))", "f64": "1.0 / std::sqrt({0})"}
FORMS["tanh"] = {"f32": "tanh_approx({0})"}
FORMS["sin"] = {"f32": "std::sin({0})"}
FORMS["cos"] = {"f32": "std::cos({0})"}
FORMS["copysign"] = {"f32": "std::copysign({1}, {0})", "f64": "std::copysign({1}, {0})"}

ONE_OF_ZERO = ("ex2", "cos")  # what PTX promises to be exactly 1 of either zero

KEEP_SIGN = ("neg", "abs", "copysign", "max", "min")  # what may give NaN in other bits than the one that arithmetic gives

WIDER = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}
TWICE = {"u16": "u32", "s16": "int32_t", "u32": "u64", "s32": "int64_t", "u64": "unsigned __int128", "s64": "__int128"}
ROUNDING = {"rni": "std::nearbyint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}
ORDER = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
UNORDERED = {f"{name}u": ORDER[name] for name in ("lt", "le", "gt", "ge", "eq", "ne")}  # true of NaN too


@rule(*FORMS, knows="rn ftz lo approx full NaN")
def computed(i: Writer) -> str:
    """Rounded to nearest, as the forms have it; a full or approximate result is noisy."""
    values = [i.value(operand, i.kind) for operand in i.a[1:]]
    forms = FORMS[i.parts[0]]
    form = forms.get(i.kind) or forms.get(i.family)
    if form is None:
        raise i.unknown()
    found = form.format(*values, T=CPP[i.kind], nan=str(i.has("NaN")).lower())
    if i.kind == "pred":
        return f"{i.register(i.a[0])} = {found};"
    if i.family == "f" and i.parts[0] not in KEEP_SIGN:
        found = f"canonical<{CPP[i.kind]}>({found})"
    if i.kind == "f32" and i.has("approx", "full"):
        found = f"({values[0]} == 0 ? 1.0f : noisy({found}))" if i.parts[0] in ONE_OF_ZERO else f"noisy({found})"
    return i.result(f"flushed({found})" if i.has("ftz") and i.kind == "f32" else found)


@rule("mul", "mad", knows="rn ftz lo hi wide cc")
def product(i: Writer) -> str:
    if i.has("cc"):
        return carrying(i)
    if i.has("wide"):
        wide = WIDER[i.kind]
        found = f"({CPP[wide]}){i.value(i.a[1], i.kind)} * ({CPP[wide]}){i.value(i.a[2], i.kind)}"
        return i.result(found + (f" + {i.value(i.a[3], wide)}" if i.parts[0] == "mad" else ""), wide)
    if i.has("hi"):
        twice = TWICE[i.kind]
        found = f"({CPP[i.kind]})((({twice}){i.value(i.a[1], i.kind)} * ({twice}){i.value(i.a[2], i.kind)}) >> {8 * SIZE[i.kind]})"
        return i.result(found + (f" + {i.value(i.a[3], i.kind)}" if i.parts[0] == "mad" else ""))
    return computed(i)


@rule("add", "sub", "addc", "subc", "madc", knows="rn ftz cc lo hi")
def carrying(i: Writer) -> str:
    """Additions that take the carry (addc, subc, madc) or leave it (.cc); it is a register of every lane."""
    name = i.parts[0]
    if not i.has("cc") and not name.endswith("c"):
        return computed(i)
    n, unsigned = 8 * SIZE[i.kind], f"u{8 * SIZE[i.kind]}"
    wide = "unsigned __int128" if n == 64 else "u64"
    terms = [f"({wide}){i.value(operand, unsigned)}" for operand in i.a[1:]]
    if name.startswith("m"):
        terms = [f"({wide})({CPP[unsigned]})(({terms[0]} * {terms[1]}) >> {n if i.has('hi') else 0})", terms[2]]
    carry = f"({wide}){i.register('%carry')}" if name.endswith("c") else "0"
    sign = "-" if name.startswith("sub") else "+"
    code = f"{wide} s = {terms[0]} {sign} {terms[1]} {sign} {carry}; {i.store(i.a[0], 's', unsigned)}"
    return code + (f" {i.register('%carry')} = (s >> {n}) & 1;" if i.has("cc") else "")


@rule("setp", knows=" ".join([*ORDER, *UNORDERED, "num nan ftz and or xor"]))
def compared(i: Writer) -> str:
    how = i.parts[1]
    x, y = i.value(i.a[1], i.kind), i.value(i.a[2], i.kind)
    nan = f"(std::isnan({x}) || std::isnan({y}))"
    if how in ("nan", "num"):
        found = nan if how == "nan" else f"!{nan}"
    else:
        found = f"(({x}) {UNORDERED.get(how) or ORDER[how]} ({y}))"
        if i.family == "f":
            found = f"({nan} || {found})" if how in UNORDERED else f"(!{nan} && {found})"
    if with_ := next((p for p in i.parts[2:] if p in ("and", "or", "xor")), None):
        found = f"({found} {({'and': '&&', 'or': '||', 'xor': '!='})[with_]} (({i.predicate(i.a[3])}) != 0))"
    to, _, other = i.a[0].partition("|")
    return f"bool found = {found}; {i.register(to)} = found;" + (f" {i.register(other)} = !found;" if other else "")


@rule("selp")
def selected(i: Writer) -> str:
    return i.store(i.a[0], f"{i.register(i.a[3])} ? {i.value(i.a[1], bits(i.kind))} : {i.value(i.a[2], bits(i.kind))}", bits(i.kind))


@rule("mov")
def moved(i: Writer) -> str:
    if i.kind == "pred":
        return f"{i.register(i.a[0])} = {i.predicate(i.a[1])};"
    whole = bits(i.kind)
    if "{" in i.a[0]:
        parts = items(i.a[0])
        n = 8 * SIZE[i.kind] // len(parts)
        return f"u64 x = {i.value(i.a[1], whole)}; " + "".join(i.store(part, f"(uint{n}_t)(x >> {k * n})", f"u{n}") for k, part in enumerate(parts))
    if "{" in i.a[1]:
        parts = items(i.a[1])
        n = 8 * SIZE[i.kind] // len(parts)
        return i.result(" | ".join(f"((u64){i.value(part, f'u{n}')} << {k * n})" for k, part in enumerate(parts)), whole)
    return i.result(i.value(i.a[1], whole), whole)


@rule("cvta", knows="to global shared local")
def same_address(i: Writer) -> str:
    """Of global and local memory only: shared memory begins at zero here, which generic addresses would hide."""
    if i.has("shared"):
        raise i.unknown("generic addresses of shared memory are not known to the emulator")
    return i.result(i.value(i.a[1], i.kind))


@rule("cvt", knows="rn rna ftz rni rzi rmi rpi rz bf16x2 f16x2 tf32")
def converted(i: Writer) -> str:
    to, given = i.parts[-2], i.kind
    if i.parts[1:] == ["rna", "tf32", "f32"]:
        return i.result(f"to_tf32({i.value(i.a[1], given)})", "u32")
    if to in ("bf16x2", "f16x2") and given == "f32":
        one = "to_bf16" if to == "bf16x2" else "to_f16"
        return i.result(f"({one}({i.value(i.a[1], given)}) << 16) | {one}({i.value(i.a[2], given)})", "u32")
    if to not in SIZE or i.has("rz") or i.has("rna"):
        raise i.unknown()
    x, rounding = i.value(i.a[1], given), ROUNDING.get(next((p for p in i.parts if p in ROUNDING), ""), "")
    if family(to) == "f":
        return i.result(f"({CPP[to]}){rounding}({x})", to)
    if family(given) == "f":
        return i.result(f"whole<{CPP[to]}>({rounding}({x}))", to)
    found = f"({CPP[to]})({CPP[given]})({x})"
    register = i.function.registers.get(i.a[0])
    # A register wider than the type gets the value extended by its sign.
    return i.result(f"({CPP['s' + str(8 * SIZE[register])]}){found}" if to[0] == "s" and register else found, to)


@rule("shl", "shr")
def shifted(i: Writer) -> str:
    return i.result(f"{i.parts[0]}<{CPP[i.kind]}>({i.value(i.a[1], i.kind)}, {i.value(i.a[2], 'u32')})")


@rule("clz")
def zeros_before(i: Writer) -> str:
    x = i.value(i.a[1], i.kind)
    return i.result(f"{x} ? __builtin_clz{'ll' if i.kind == 'b64' else ''}({x}) : {8 * SIZE[i.kind]}", "u32")


@rule("popc")
def ones(i: Writer) -> str:
    return i.result(f"__builtin_popcountll({i.value(i.a[1], i.kind)})", "u32")


@rule("brev")
def reversed_bits(i: Writer) -> str:
    return i.result(f"reversed<{CPP[i.kind]}>({i.value(i.a[1], i.kind)})")


@rule("shf", knows="l r wrap clamp")
def funnel(i: Writer) -> str:
    x = f"((u64){i.value(i.a[1], 'u32')} | ((u64){i.value(i.a[2], 'u32')} << 32))"
    n = i.value(i.a[3], "u32")
    n = f"({n} & 31)" if i.has("wrap") else f"({n} > 32 ? 32 : {n})"
    return i.result(f"(u32)(({x} << {n}) >> 32)" if i.parts[1] == "l" else f"(u32)({x} >> {n})", "u32")


@rule("bfe")
def field(i: Writer) -> str:
    return i.result(f"field_of<{CPP[i.kind]}>({i.value(i.a[1], i.kind)}, {i.value(i.a[2], 'u32')} & 255, {i.value(i.a[3], 'u32')} & 255)")


@rule("prmt")
def permuted(i: Writer) -> str:
    return i.result(f"permuted({', '.join(i.value(operand, 'u32') for operand in i.a[1:4])})", "u32")


@rule("lop3")
def logic(i: Writer) -> str:
    """Any function of three bits, by its table."""
    table = int(i.a[4], 0)
    terms = [f"({'' if k & 4 else '~'}x & {'' if k & 2 else '~'}y & {'' if k & 1 else '~'}z)" for k in range(8) if table >> k & 1]
    x, y, z = (i.value(operand, "u32") for operand in i.a[1:4])
    return f"u32 x = {x}, y = {y}, z = {z}; {i.result(' | '.join(terms) or '0', 'u32')}"


@rule("griddepcontrol", "nanosleep", knows="wait launch_dependents", how=WARP)
def nothing(i: Writer) -> str:
    """Hints about time."""
    return ""
