"""How states would cross the borders between ranks, of each recurrence of a cell: what its layer says, for people."""

from functools import partial
from typing import Any

from rnndsl import programs
from rnndsl.checks.cell import Cell
from rnndsl.diagnostics import Source
from rnndsl.tools import Unfit
from rnndsl.tools.arguments import do_not_fit
from rnndsl.tools.explain import Over


def over_ranks(ranks: int) -> Over:
    """`ways` of so many ranks. Raises Unfit where that is no number of them."""
    if ranks < 2:
        raise Unfit(f"ranks: give a number from 2 on, not {ranks}")
    return partial(ways, ranks=ranks)


def ways(source: Source, cell: Cell, shape: tuple[int, int] | None, sizes: dict[str, int], *, ranks: int) -> list[dict[str, Any]]:
    """Of each recurrence, in the order in which they are solved, as plain data; values are in float32. Raises Unfit where a shape or a size is missing, or
    does not fit the cell."""
    missing = [n for n in cell.sizes if n not in sizes]
    if shape is None or missing:
        raise Unfit(f"what ranks send depends on shape and sizes; {cell.name} needs --shape B,T{' and --size ' if missing else ''}{' '.join(f'{n}=…' for n in missing)}")
    import torch

    from rnndsl.runtime.ranks.choice import planned

    try:
        layer = getattr(programs.load(source), cell.name)(**{n: sizes[n] for n in cell.sizes}, device="meta", dtype=torch.float32)
    except ValueError as e:
        raise do_not_fit(cell.name, sizes, e) from None
    return [planned(layer, name, shape[0], ranks, torch.float32).data(ranks) for name in layer._states]
