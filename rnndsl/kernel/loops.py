"""Loops in a graph. What the rounds of one pass on are leaves of kind `round`; whatever depends on them or on the counter is computed in every
round, everything else before the loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rnndsl.checks.dims import Dim
from rnndsl.kernel.graph import Builder, Node


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


def reachable(nodes: Sequence[Node], wanted: list[int], rounds: bool = True) -> set[int]:
    """The nodes that some nodes need, themselves among them; those in the rounds of loops may be left out."""
    found: set[int] = set()
    stack = list(wanted)
    while stack:
        n = stack.pop()
        if n not in found:
            found.add(n)
            stack.extend(nodes[n].args)
            if rounds:
                stack.extend(bodies(nodes[n]))
    return found


def bodies(node: Node) -> tuple[int, ...]:
    """What the rounds of a loop compute."""
    if node.op == "loop":
        return (*node.data.rounds, *node.data.outputs)
    if node.op == "loop_back":
        return (*node.data.loop.rounds, *node.data.loop.outputs, *node.data.gradients, *node.data.outputs, *node.data.totals)
    return ()
