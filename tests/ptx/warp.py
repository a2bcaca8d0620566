"""Instructions in which the lanes of a warp meet: shuffles, votes, reductions, barriers of a warp."""

from tests.ptx.rules import APART, WARP, rule
from tests.ptx.types import CPP
from tests.ptx.writer import Writer

FROM = {
    "up": "from = l - (int)(b & 31); ok = from >= high;",
    "down": "from = l + (int)(b & 31); ok = from <= high;",
    "bfly": "from = l ^ (int)(b & 31); ok = from <= high;",
    "idx": "from = (l & segment) | ((b & 31) & ~segment); ok = from <= high;",
}
REDUCED = {
    "add": ("0", "x + y"),
    "and": ("0xffffffffu", "x & y"),
    "or": ("0", "x | y"),
    "xor": ("0", "x ^ y"),
    "max": ("std::numeric_limits<{}>::min()", "x > y ? x : y"),
    "min": ("std::numeric_limits<{}>::max()", "x < y ? x : y"),
}
VOTES = {"ballot": "x", "any": "x != 0", "all": "x == mask"}


@rule("shfl", knows=f"sync {' '.join(FROM)}", how=WARP, together=True)
def shuffle(i: Writer) -> str:
    """A lane that reads one that is not there is a divergence."""
    to, _, flag = i.a[0].partition("|")
    kind = i.bits_type(i.a[1])
    flagged = f"{i.register(flag)} = ok; " if flag else ""
    return (
        f"{kind} given[32]; for (int l = 0; l < 32; l++) given[l] = {i.register(i.a[1])}; "
        f"EACH(u32 b = {i.value(i.a[2], 'u32')}, clamp = {i.value(i.a[3], 'u32')}; int limit = clamp & 31, segment = (clamp >> 8) & 31, "
        f"high = (l & segment) | (limit & ~segment & 31), from; bool ok; {FROM[i.parts[2]]} if (!ok) from = l; "
        f"if (!(mask >> from & 1)) whole_warp(mask, {i.line()}); {i.register(to)} = given[from]; {flagged})"
    )


@rule("redux", knows=f"sync {' '.join(REDUCED)}", how=WARP, together=True)
def reduced(i: Writer) -> str:
    kind, (first, form) = CPP[i.kind], REDUCED[i.parts[2]]
    return f"{kind} x = {first.format(kind)}; whole_warp(mask, {i.line()}); EACH({kind} y = {i.value(i.a[1], i.kind)}; x = {form};) EACH({i.result('x')})"


@rule("vote", knows=f"sync {' '.join(VOTES)}", how=WARP, together=True)
def vote(i: Writer) -> str:
    return f"u32 x = 0; EACH(if ({i.predicate(i.a[1])}) x |= 1u << l;) EACH({i.register(i.a[0])} = {VOTES[i.parts[2]]};)"


@rule("activemask", how=APART)
def active(i: Writer) -> str:
    return f"{i.register(i.a[0])} = mask;"


@rule("bar", "barrier", knows="warp sync", how=WARP, together=True)
def warp_barrier(i: Writer) -> str:
    """Of a warp; those of a program are rows of their own."""
    return "w.epoch++;"
