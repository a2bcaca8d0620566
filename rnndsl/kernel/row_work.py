"""What kernels over rows ask of a device: launches, and bytes of a row. `costs.RowKernels` has the numbers for a layer's sizes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from operator import mul

from rnndsl.checks.dims import Dim
from rnndsl.kernel.graph import Shape
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.newton import NewtonStep
from rnndsl.kernel.row_parts import RowParts, row_parts
from rnndsl.kernel.row_stages import RowProduct, Stage, row_stages, with_residual
from rnndsl.kernel.row_steps import RowSteps, row_steps
from rnndsl.kernel.step import Step

_BYTES = 4  # of a value in float32
_MOST_SLOTS = 6  # of a channel, of which registers hold the matrices of a scan
Block = tuple[tuple[int, ...], ...]  # see RowSteps


@dataclass(frozen=True)
class RowWork:
    """step: launches of a step by stages, 0 where there are none, rounds of loops each; matrices: entries of those that it multiplies by; round: launches of
    a round of Newton's method; moved: bytes that these read and write of a row, params left out; held: shapes of the matrices that a kernel multiplies by in
    a loop."""

    step: Dim
    matrices: Dim
    round: int
    moved: Dim
    held: tuple[Shape, ...]

    def holds(self, sizes: dict[str, int], entries: float) -> bool:
        """Whether tiles of those matrices, whose axes are powers of two, have so many entries at most."""
        return sum(prod(1 << max(0, int(d.evaluate(sizes)) - 1).bit_length() for d in shape) for shape in self.held) <= entries


def row_work_of(newton: NewtonStep) -> RowWork:
    """That of a recurrence. Raises Unsupported, as `row_work` does, of what has no such kernels."""
    steps = row_steps(newton, gradients=True)
    return row_work(newton, steps, row_stages(with_residual(steps.look, newton.nearer.count(-1))))


def row_work(newton: NewtonStep, steps: RowSteps, look: Sequence[Stage]) -> RowWork:
    """The same where the stages of a round are known."""
    groups = together(steps.block)
    if (most := max(map(len, groups))) > _MOST_SLOTS:
        raise Unsupported(f"a block of {most} values a channel")
    of_scans = (len(members) * 3 + sum(steps.block[i][j] >= 0 for i in members for j in members) for members in groups)
    scanned = (_entries(newton.step.carries[members[0]][0].shape) * Dim.of(count) for members, count in zip(groups, of_scans, strict=True))
    moved = _total([*map(_moved, look), *scanned]) * Dim.of(_BYTES)
    launches, matrices = _of_steps(newton, steps)
    return RowWork(launches, matrices, _launches(look) + len(groups), moved, _held(look[-1].step))


def parts_of(step: Step) -> RowParts | None:
    """The parts of a step, None of what has none."""
    try:
        return row_parts(step)
    except Unsupported:
        return None


def _of_steps(newton: NewtonStep, steps: RowSteps) -> tuple[Dim, Dim]:
    """The launches of a step by stages, 0 where there are none, and the entries of matrices that it multiplies by."""
    if steps.gradients is not None:
        advance = row_stages(steps.advance)
        return Dim.of(_launches(advance)), _multiplied(advance)
    launches = matrices = Dim.of(0)
    if (chain := parts_of(newton.step)) is not None:
        for part in chain.parts:
            advance = row_stages(part.steps.advance)
            rounds = Dim.of(1) if part.ends is None else part.ends[1] - part.ends[0] + Dim.of(1)
            launches, matrices = launches + rounds * Dim.of(_launches(advance)), matrices + rounds * _multiplied(advance)
    return launches, matrices


def _multiplied(stages: Sequence[Stage]) -> Dim:
    """The entries of the matrices of products between stages."""
    return _total(_entries(stages[0].step.statics[k].shape) for k in sorted({p.matrix for stage in stages for p in stage.products}))


def together(block: Block) -> list[tuple[int, ...]]:
    """The carried values that D has entries between, directly or by way of others; all of them have one shape."""
    groups = [{i} for i in range(len(block))]
    for i, row in enumerate(block):
        for j, n in enumerate(row):
            a, b = (next(g for g in groups if k in g) for k in (i, j))
            if n >= 0 and a is not b:
                groups.remove(b)
                a |= b
    return [tuple(sorted(g)) for g in groups]


def _launches(stages: Sequence[Stage]) -> int:
    return sum(bool(stage.step.outputs) + len(stage.products) for stage in stages)


def _moved(stage: Stage) -> Dim:
    """The values that a stage reads and writes, and those of its products."""
    nodes, outputs = stage.step.builder.nodes, stage.step.outputs
    read = {nodes[n].leaf: nodes[n].shape for n in reachable(nodes, [n for _, n in outputs]) if nodes[n].op in ("stream", "old")}
    return _total([*map(_entries, read.values()), *(_entries(a.shape) for a, _ in outputs), *(_of_product(stage, p) for p in stage.products)])


def _held(step: Step) -> tuple[Shape, ...]:
    """The shapes of static matrices that are multiplied by within a stage."""
    nodes = step.builder.nodes
    products = (n for n in reachable(nodes, [n for _, n in step.outputs]) if nodes[n].op == "product")
    return tuple(nodes[a].shape for a in sorted({a for n in products for a in nodes[n].args if nodes[a].op == "static"}))


def _of_product(stage: Stage, p: RowProduct) -> Dim:
    """The value and the result of a product."""
    kind, number = p.value
    step = stage.step
    value = step.streams[number] if kind == "stream" else step.carries[number][0] if kind == "old" else step.outputs[number][0]
    sizes = dict(zip(p.maps[0], step.statics[p.matrix].shape, strict=True)) | dict(zip(p.maps[1], value.shape, strict=True))
    return _entries(value.shape) + _entries(tuple(sizes[k] for k in range(p.rank)))


def _entries(shape: Shape) -> Dim:
    return reduce(mul, shape, Dim.of(1))


def _total(counts: Iterable[Dim]) -> Dim:
    return sum(counts, Dim.of(0))
