"""A step over rows, cut at its products with matrices: what is computed of each row before and behind them, and the products, each of all rows at once.

A product inside a loop stays where it is, and so does one of a slice of a param, or one that no column is left of.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from rnndsl.kernel.graph import Builder, Leaf, LoopAlong, LoopBack, Map, Node
from rnndsl.kernel.loops import bodies, inside, reachable
from rnndsl.kernel.row_steps import GraphCopy
from rnndsl.kernel.step import Step
from rnndsl.kernel.values import Array


@dataclass(frozen=True)
class RowProduct:
    """A product of the static array `matrix` with a value of every row: (`stream`, number), (`old`, number), or (`made`, number) of an output of the stage.
    maps: where the axes of the matrix and of the value run, along those of the result and, behind them, those that are summed over; rank: of the result."""

    matrix: int
    value: tuple[str, int]
    maps: tuple[Map, Map]
    rank: int


@dataclass(frozen=True)
class Stage:
    """A step whose outputs are what its products read; of the last stage, which has none, the outputs of the whole. Streams of each stage: those of the
    whole, then the results of all products before."""

    step: Step
    products: tuple[RowProduct, ...]


def row_stages(step: Step) -> tuple[Stage, ...]:
    """The stages of a step."""
    nodes, outputs = step.builder.nodes, [n for _, n in step.outputs]
    needed = reachable(nodes, outputs)
    inner = _in_loops(nodes, needed)
    cut = {n: k for n in sorted(needed - inner) if (k := _matrix(nodes, n)) is not None}
    levels = levels_of(nodes, needed, cut)
    streams, leaves, found = list(step.streams), dict[int, Leaf](), list[Stage]()
    for level in range(1 + max((levels[n] for n in outputs), default=0)):
        now = [n for n in cut if levels[n] == level + 1]
        read = list(dict.fromkeys(nodes[n].args[1 - cut[n]] for n in now))
        made = [n for n in read if n not in leaves and nodes[n].op not in ("stream", "old")]
        arrays = tuple(Array(dict(step.names).get(n, "factor"), "", nodes[n].shape) for n in made) if now else tuple(a for a, _ in step.outputs)
        part = _part(step, tuple(streams), arrays, made if now else outputs, leaves)
        places = leaves | {n: Leaf("made", k) for k, n in enumerate(made)}
        found.append(Stage(part, tuple(_product(nodes, n, cut[n], places) for n in now)))
        for n in now:
            leaves[n] = Leaf("stream", len(streams))
            streams.append(Array("product", "", nodes[n].shape))
    return tuple(found)


def with_residual(look: Step, kept: int) -> Step:
    """A step that also says how far the first `kept` of its outputs are off: the largest |new - value| / (1 + |new|), infinite where one is no number. The
    values are further streams, behind the others."""
    b = Builder(list(look.builder.nodes), dict(look.builder.numbers))
    streams, worst = list(look.streams), b.number(0.0)
    for array, new in look.outputs[:kept]:
        b.span = b[new].span
        value = b.leaf("stream", len(streams), array.shape)
        streams.append(replace(array, name=f"{array.name.removeprefix('new_')}_now"))
        infinite = b.number(float("inf"))
        gap = b.pointwise("/", b.pointwise("abs", b.pointwise("-", new, value)), b.pointwise("+", b.number(1.0), b.pointwise("abs", new)))
        off = b.pointwise("select", b.pointwise("lt", gap, infinite), gap, infinite)
        worst = b.pointwise("max", worst, b.reduce("largest", off, range(len(array.shape))))
    return replace(look, builder=b, streams=tuple(streams), outputs=(*look.outputs, (Array("residual", "", ()), worst)))


def with_given(pull: Step) -> Step:
    """A step whose outputs come on top of what is given: further streams, behind the others."""
    b = Builder(list(pull.builder.nodes), dict(pull.builder.numbers))
    streams, outputs = list(pull.streams), []
    for array, n in pull.outputs:
        b.span = b[n].span
        outputs.append((array, b.pointwise("+", b.leaf("stream", len(streams), array.shape), n)))
        streams.append(replace(array, name=f"{array.name}_given"))
    return replace(pull, builder=b, streams=tuple(streams), outputs=tuple(outputs))


def levels_of(nodes: Sequence[Node], needed: set[int], cut: Container[int]) -> dict[int, int]:
    """How many products that are cut out stand one behind the other up to each node, itself among them."""
    levels: dict[int, int] = {}
    for n in sorted(needed):
        levels[n] = max((levels[a] for a in (*nodes[n].args, *bodies(nodes[n]))), default=0) + (n in cut)
    return levels


def _part(step: Step, streams: tuple[Array, ...], arrays: Sequence[Array], wanted: Sequence[int], leaves: dict[int, Leaf]) -> Step:
    """The step of some of its nodes, where others are leaves."""
    copy = GraphCopy(step.builder.nodes, leaves)
    numbers = copy.run(wanted)
    return replace(step, builder=copy.builder, streams=streams, names=copy.named(step.names), outputs=tuple(zip(arrays, numbers, strict=True)))


def _product(nodes: Sequence[Node], n: int, k: int, places: dict[int, Leaf]) -> RowProduct:
    node = nodes[n]
    matrix, value = node.args[k], node.args[1 - k]
    leaf = places.get(value) or nodes[value].leaf
    return RowProduct(nodes[matrix].leaf.index, (leaf.kind, leaf.index), (node.maps[k], node.maps[1 - k]), len(node.shape))


def _matrix(nodes: Sequence[Node], n: int) -> int | None:
    """Which argument of a node is a whole static array, with an axis of its own in the result; None of what is no such product."""
    node = nodes[n]
    if node.op != "product":
        return None
    for k in (0, 1):
        own = {*node.maps[k]} - {*node.maps[1 - k]}
        if nodes[node.args[k]].op == "static" and nodes[node.args[k]].leaf.select is None and nodes[node.args[1 - k]].op != "static" and own:
            return k
    return None


def _in_loops(nodes: Sequence[Node], needed: set[int]) -> set[int]:
    """What is computed in the rounds of loops."""
    found: set[int] = set()
    for n in needed:
        match nodes[n].data:
            case LoopBack(loop, leaves) | LoopAlong(loop, leaves):
                found |= inside(nodes, (*loop.rounds, *leaves), loop.counter)
            case _ if nodes[n].op == "loop":
                found |= inside(nodes, nodes[n].loop.rounds, nodes[n].loop.counter)
    return found
