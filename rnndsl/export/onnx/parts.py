"""Which nodes of a step are computed where, over a sequence: ahead of its scan, in it, or after it; of all steps at once, or step by step."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod

from rnndsl.kernel.graph import SCALARS, Node, Shape
from rnndsl.kernel.loops import reachable

STATIC, STREAM, STATE = range(3)  # of weights alone; of inputs too; of states too


@dataclass(frozen=True)
class Parts:
    """rates: what each node that is needed depends on. ahead: what is computed ahead of the scan, which needs it; entering: those of them that it is given
    of every step; leaving: those of its own that it hands on of every step."""

    rates: dict[int, int]
    ahead: tuple[int, ...]
    entering: tuple[int, ...]
    leaving: tuple[int, ...]


def parts_of(nodes: Sequence[Node], is_state: Callable[[Node], bool], updates: Sequence[int], outputs: Sequence[int], size: Callable[[Shape], Iterable[int]]) -> Parts:
    """The parts of a step whose states take `updates`. is_state: of a leaf, whether it is one that the scan carries.

    What the states need is computed in the scan; what else depends on them after it, of all steps at once, but for what sums entries up that no
    weight has a part in: it leaves fewer numbers than it reads. What makes more numbers of the inputs than it reads, an outer product, is computed
    where it is read.
    """
    rates: dict[int, int] = {}

    def entries(n: int) -> int:
        return prod(size(nodes[n].shape))

    for n in sorted(reachable(nodes, [*updates, *outputs])):
        node = nodes[n]
        if node.is_leaf:
            rates[n] = STATE if is_state(node) else STATIC if node.op == "static" or node.op in SCALARS else STREAM
            continue
        rates[n] = max((rates[a] for a in node.args), default=STATIC)
        read = {a for a in node.args if rates[a] == STREAM}
        if rates[n] == STREAM and node.is_elementwise and node.op != "copy" and entries(n) > sum(map(entries, read)):
            rates[n] = STATE

    def of_states(wanted: Iterable[int]) -> set[int]:
        return {n for n in reachable(nodes, list(wanted)) if rates[n] == STATE}

    scanned = of_states(updates) | {n for n in rates if rates[n] == STATE and nodes[n].is_leaf}
    weighed: set[int] = set()  # nodes after the scan that are made with products with weights
    for n in sorted(rates.keys() - scanned):
        node = nodes[n]
        if rates[n] != STATE:
            continue
        if any(a in weighed for a in node.args) or (node.op == "product" and STATIC in (rates[a] for a in node.args)):
            weighed.add(n)
        elif node.op in ("sum", "largest", "product"):
            scanned |= of_states([n])
    ahead = {a for n in scanned for a in nodes[n].args if rates[a] != STATE} | {n for n in updates if rates[n] != STATE}
    entering = [n for n in ahead if rates[n] == STREAM]
    late = [n for n in rates if rates[n] == STATE and n not in scanned]
    leaving = {a for n in late for a in nodes[n].args if a in scanned} | {n for n in outputs if n in scanned}
    return Parts(rates, tuple(sorted(ahead)), tuple(sorted(entering)), tuple(sorted(leaving)))
