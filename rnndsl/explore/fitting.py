"""From the sizes that were asked for to those of a model: those that follow, and those that give a number of parameters."""

from collections.abc import Callable, Mapping, Sequence

from rnndsl.explore.candidates import Candidate
from rnndsl.explore.models import model
from rnndsl.explore.recipe import Training
from rnndsl.explore.shapes import HEADS, Request, Shape
from rnndsl.nn.shapes import header_of, input_size_of
from rnndsl.tasks import Task
from rnndsl.tools import Unfit

WIDEST = 8192
REPEATS = 2  # of what a step repeats


def shape_of(candidate: Candidate, task: Task, training: Training, request: Request, among: Sequence[Candidate]) -> Shape:
    """The shape of a model around a candidate. A baseline gets as many parameters as the model around the first of `among` that is a cell. Raises Unfit for
    sizes that do not fit."""
    given = dict(request.sizes)
    dim = request.dim or given.get("H", 64)
    cells = [c for c in among if c.source]
    if candidate.source is None:
        wanted = request.parameters
        if cells:
            like = shape_of(cells[0], task, training, request, among)
            dim, wanted = like.dim, parameters(cells[0], task, training, like)
        if candidate.cell == "transformer":
            return _transformer(candidate, task, training, dim, wanted)
        shape = Shape(dim, (("H", given.get("H", dim)),))
        return shape if wanted is None else _matched(candidate, task, training, wanted, lambda n: Shape(dim, (("H", n),)))
    if request.parameters is None:
        return _of_cell(candidate, training, dim, given)
    return _matched(candidate, task, training, request.parameters, lambda n: _of_cell(candidate, training, HEADS * n, given))


def parameters(candidate: Candidate, task: Task, training: Training, shape: Shape) -> int:
    """How many parameters a model has. Raises Unfit where there is none of this shape."""
    return sum(p.numel() for p in model(candidate, task, training, shape, device="meta").parameters())


def _of_cell(candidate: Candidate, training: Training, dim: int, given: Mapping[str, int]) -> Shape:
    """Sizes that were not given: H is dim, as that of the inputs is, but 1 where these are zero since it is forced; N is 4 heads, what counts repeats 2, any other a fourth of dim."""
    header = header_of(candidate.cls)
    own = {n: v for n, v in given.items() if n in header}
    try:
        name = input_size_of(candidate.cls, {n: own.get(n, 1) for n, is_needed in header.items() if is_needed})
    except (TypeError, ValueError) as e:
        raise Unfit(f"{candidate.label}: {str(e).removeprefix('cell: ')}") from None
    default = {**dict.fromkeys(candidate.counts, REPEATS), "N": HEADS, name: dim if training.forcing is None else 1, "H": dim}
    sizes = {n: own.get(n, default.get(n, max(1, dim // HEADS))) for n, is_needed in header.items() if is_needed or n in own}
    return Shape(dim, tuple(sizes.items()))


def _transformer(candidate: Candidate, task: Task, training: Training, dim: int, wanted: int | None) -> Shape:
    """The widest with so many parameters whose MLP is at least twice as wide as it is; its heads need pairs of channels."""
    step = 2 * HEADS

    def of(wide: int, mlp: int) -> Shape:
        return Shape(wide, (("mlp", mlp),))

    if wanted is None:
        wide = max(step, round(dim / step) * step)
        return of(wide, 2 * wide)
    wide = step
    while parameters(candidate, task, training, of(wide + step, 2 * (wide + step))) <= wanted:
        wide += step
    return _matched(candidate, task, training, wanted, lambda n: of(wide, n))


def _matched(candidate: Candidate, task: Task, training: Training, wanted: int, shape: Callable[[int], Shape]) -> Shape:
    """The shape whose model has as many parameters as wanted, or nearly; they rise with its number."""

    def off(n: int) -> int:
        return parameters(candidate, task, training, shape(n)) - wanted

    low, high = 1, 2
    while off(high) < 0:
        low, high = high, 2 * high
        if high > WIDEST:
            raise Unfit(f"{candidate.label}: {wanted} parameters are more than sizes up to {WIDEST} give")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if off(middle) < 0 else (low, middle)
    return shape(min((low, high), key=lambda n: abs(off(n))))
