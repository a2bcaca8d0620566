"""`repeat` in a step: unrolled, or a loop node. What its rounds pass on are leaves of kind `round`; whatever depends on them or on the counter is
computed in every round, everything else before the loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnndsl.checks.cell import SCALAR, Repeat
from rnndsl.checks.dims import Dim
from rnndsl.kernel.graph import Builder, Node
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.values import Value

if TYPE_CHECKING:
    from rnndsl.kernel.lowering import Lowering


@dataclass(frozen=True)
class Loop:
    """Rounds `low` to `high`: `rounds` are the leaves that hold what a round begins with, `outputs` what it hands on.

    The arguments of its node are what the first round begins with, then what the rounds read from outside.
    """

    number: int
    counter: str
    low: Dim
    high: Dim
    rounds: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class LoopBack:
    """The rounds of `loop` backwards. `gradients` are the leaves with the gradient of what a round hands on, `outputs` that of what it
    begins with; `totals` are added up over the rounds. The arguments: what the first round of the loop begins with, the gradients of
    its results, then what the rounds read from outside."""

    loop: Loop
    gradients: tuple[int, ...]
    outputs: tuple[int, ...]
    totals: tuple[int, ...]


def loop_of(node: Node) -> Loop:
    """The loop that a node runs, forwards or backwards."""
    return node.data if node.op == "loop" else node.data.loop


def lower_repeat(low: "Lowering", repeat: Repeat) -> None:
    """Binds what a repeat leaves behind."""
    b = low.builder
    number = len([n for n in b.nodes if n.op == "loop"])
    passed = {p.last: p for p in repeat.passed}
    types = {let.name: let.value.type for let in repeat.body if let.name in passed or let.name in repeat.results}
    starts: list[int] = []
    leaves: list[int] = []
    for name, t in types.items():
        shape = t.heads + t.axes
        starts.extend(low.fitted(low.value(passed[name].start), t) if name in passed else [b.zeros(shape)] * (1 + t.is_complex))
        for _ in range(1 + t.is_complex):
            leaves.append(b.add(Node("round", (), shape, data=(number, len(leaves)))))
        if name in passed:
            low.locals[passed[name].name] = Value(tuple(leaves[-1 - t.is_complex :]), t)
    for let in repeat.body:
        low.operation(let, {})
    outputs = [p for name, t in types.items() for p in low.fitted(low.locals[name], t)]
    body = Loop(number, repeat.counter, repeat.low, repeat.high, tuple(leaves), tuple(outputs))
    node = b.add(Node("loop", (*starts, *outside(b, body.rounds, repeat.counter, outputs)), (), data=body))
    results = iter(b.add(Node("result", (node,), b[o].shape, data=("rounds", i))) for i, o in enumerate(outputs))
    for name, t in types.items():
        low.locals[name] = Value(tuple(next(results) for _ in range(1 + t.is_complex)), t)


def unroll(low: "Lowering", repeat: Repeat) -> None:
    """Binds what a repeat leaves behind, round by round. Raises Unsupported where their number is a size."""
    low_end, high_end = repeat.low.number, repeat.high.number
    if low_end is None or high_end is None:
        raise Unsupported(f"the rounds of `repeat {repeat.counter}` are not a number but {repeat.low} to {repeat.high}")
    begins = [low.value(p.start) for p in repeat.passed]
    for k in range(int(low_end), int(high_end) + 1):
        low.locals[repeat.counter] = Value((low.builder.number(float(k)),), SCALAR)
        low.locals |= {p.name: value for p, value in zip(repeat.passed, begins, strict=True)}
        for let in repeat.body:
            low.operation(let, {})
        begins = [low.locals[p.last] for p in repeat.passed]
    low.locals |= {p.last: value for p, value in zip(repeat.passed, begins, strict=True)}  # of no rounds too
    for name in (repeat.counter, *(p.name for p in repeat.passed)):
        low.locals.pop(name, None)


def inside(nodes: Sequence[Node], leaves: tuple[int, ...], counter: str) -> set[int]:
    """The nodes that depend on what a round begins with, or on the counter."""
    found: set[int] = set()
    for n, node in enumerate(nodes):
        starts = n in leaves or (node.op == "counter" and node.data == counter)
        if starts or (node.op not in ("loop", "loop_back") and any(a in found for a in node.args)):
            found.add(n)
    return found


def outside(b: Builder, leaves: tuple[int, ...], counter: str, wanted: "list[int] | tuple[int, ...]") -> list[int]:
    """What the rounds read from outside, to compute what is wanted."""
    region = inside(b.nodes, leaves, counter)
    found: dict[int, None] = {}
    stack, seen = list(wanted), set()
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if n in region:
            stack.extend(b[n].args)
        else:
            found[n] = None
    return list(found)
