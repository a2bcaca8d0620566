"""Loops in a graph. What the rounds of one pass on are leaves of kind `round`; whatever depends on them or on the counter is computed in every
round, everything else before the loop.
"""

from collections.abc import Sequence

from rnndsl.kernel.graph import Builder, Node


def inside(nodes: Sequence[Node], leaves: tuple[int, ...], counter: str) -> set[int]:
    """The nodes that depend on what a round begins with, or on the counter."""
    found = {*leaves, *(n for n, node in enumerate(nodes) if node.op == "counter" and node.of(str) == counter)}
    for n in range(min(found, default=len(nodes)), len(nodes)):
        if not found.isdisjoint(nodes[n].args) and nodes[n].op not in ("loop", "loop_back", "loop_along"):
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
        return (*node.loop.rounds, *node.loop.outputs)
    if node.op == "loop_back":
        back = node.back
        return (*back.loop.rounds, *back.loop.outputs, *back.gradients, *back.outputs, *back.totals)
    if node.op == "loop_along":
        return (*node.along.slopes, *node.along.outputs)
    return ()
