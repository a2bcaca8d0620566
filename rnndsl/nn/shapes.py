"""What layers of a stack must know of each other: which sizes a cell's header has, what goes in, what comes out."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rnndsl.runtime.sizes import Size, axes_text


def cell_class(cell: Any) -> type:
    """A generated class, given as such or as the module of a program with one cell. Raises TypeError for anything else."""
    found = [cell]
    if inspect.ismodule(cell):
        found = list(cells_of(cell).values())
        if len(found) != 1:
            raise TypeError(f"cell: expected a program of one cell, got one of {len(found)}: {', '.join(c.__name__ for c in found)}; name it, as rnndsl.load(…).{found[0].__name__ if found else 'MyCell'}")
    if not _is_cell(found[0]):
        kind = found[0].__name__ if isinstance(found[0], type) else f"an object of {type(found[0]).__name__}"
        raise TypeError(f"cell: expected a class made by rnndsl, as rnndsl.load(…).MyCell, got {kind}")
    return found[0]


def cells_of(module: Any) -> dict[str, type]:
    """The classes of the cells of a program, by name."""
    return {n: c for n, c in vars(module).items() if _is_cell(c) and c.__module__ == module.__name__}


def _is_cell(value: Any) -> bool:
    """Whether it is a generated class, also of a standalone module, whose base is not ours."""
    return isinstance(value, type) and issubclass(value, torch.nn.Module) and hasattr(value, "State") and hasattr(value, "_declare") and "_states" in dir(value)


def header_of(cell: type) -> dict[str, bool]:
    """The names of a cell's header, and whether one must be given."""
    found = [p for p in inspect.signature(cell).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    return {p.name: p.default is p.empty for p in found}


def outputs_of(cell: Any, sizes: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], bool]]:
    """The outputs of a cell of given sizes, the axes of one step each, and whether it is complex. One without a name is called y."""
    probe = cell(**sizes, device="meta", backend="reference").eval()
    inputs = [torch.empty(1, 1, *shape, device="meta", dtype=torch.complex64 if c else torch.float32) for _, shape, c in probe._inputs]
    with torch.no_grad():
        y, _ = probe(*inputs)
    named = {"y": y} if probe.Output is None else y._asdict()
    return {name: (tuple(o.shape[2:]), o.is_complex()) for name, o in named.items()}


def input_size_of(cell: Any, sizes: Mapping[str, Any]) -> str:
    """The name of the size of a cell's first input: D where it writes `input x: [D]`. Raises ValueError where it is none of the header's."""
    name, written = _first_input(cell, sizes)
    found = _name_of(cell, written)
    if found is None:
        raise ValueError(f"cell: expected one whose input is a vector of a size of its header, as in input x: [D]; {cell.__name__} has {name}: [{', '.join(axes_text(written))}]")
    return found


def _first_input(cell: Any, sizes: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    """The name of a cell's first input, and its axes as they are written; sizes that are not given are taken for 1."""
    tried = {n: sizes.get(n, 1) for n, is_needed in header_of(cell).items() if is_needed or n in sizes}
    probe = cell(**tried, device="meta", backend="reference")
    name = probe._inputs[0][0]
    return name, probe._written[name]


def _name_of(cell: Any, written: tuple[int, ...]) -> str | None:
    """What the header calls the one axis of an input."""
    return written[0].text if len(written) == 1 and isinstance(written[0], Size) and written[0].text in header_of(cell) else None


def _fitted(cell: Any, sizes: Mapping[str, Any], axes: Sequence[int], place: str) -> dict[str, Any]:
    """Sizes of a cell whose first input has given axes: where the cell writes `input x: [D]`, D is what comes in. Raises ValueError where that
    cannot be."""
    name, written = _first_input(cell, sizes)
    size, found = _name_of(cell, written), dict(sizes)
    if size is not None and len(axes) == 1:
        found[size] = int(axes[0])
    elif written != tuple(axes):
        wanted = ", ".join(axes_text(written))
        raise ValueError(f"{place}: {cell.__name__} takes {name}: [{wanted}], and [{', '.join(map(str, axes))}] comes from below; give sizes as a list, a dict for each layer")
    return found


def sizes_of(sizes: Any, cells: list[type]) -> list[dict[str, Any]]:
    """The sizes of each layer's header. Raises TypeError or ValueError where they are none."""
    each = [sizes] * len(cells) if isinstance(sizes, Mapping) else sizes
    if not isinstance(each, list | tuple) or not all(isinstance(s, Mapping) for s in each):
        example = ", ".join(f'"{n}": …' for n, is_needed in header_of(cells[0]).items() if is_needed)
        raise TypeError(f"sizes: expected {cells[0].__name__}'s sizes by name, {{{example}}}, or a list of such dicts, got {sizes!r}")
    if len(each) != len(cells):
        raise ValueError(f"sizes: expected a dict for each of {len(cells)} layers, got {len(each)}")
    known = set().union(*map(header_of, cells))
    found = []
    for i, (cell, given) in enumerate(zip(cells, each, strict=True)):
        header = header_of(cell)
        wrong = [n for n in given if n not in (known if isinstance(sizes, Mapping) else header)]
        missing = [n for n, is_needed in header.items() if is_needed and n not in given] if i == 0 else []
        if wrong or missing:
            problem = f"there is no {wrong[0]!r}" if wrong else f"{missing[0]!r} is missing"
            raise ValueError(f"sizes: {problem}; {cell.__name__} has {', '.join(header) or 'none'}")
        found.append({n: v for n, v in given.items() if n in header})
    return found


def sizes_above(cell: type, sizes: dict[str, Any], axes: tuple[int, ...], place: str, is_explicit: bool) -> dict[str, Any]:
    """Sizes of a layer above another. Raises ValueError where they were given for that layer and do not fit, or one is missing."""
    found = _fitted(cell, sizes, axes, place)
    wrong = [n for n, v in sizes.items() if found[n] != v] if is_explicit else []
    if wrong:
        raise ValueError(f"{place}: {wrong[0]} was given as {sizes[wrong[0]]}, and {found[wrong[0]]} comes from below")
    missing = [n for n, is_needed in header_of(cell).items() if is_needed and n not in found]
    if missing:
        raise ValueError(f"{place}: sizes: {missing[0]!r} is missing; {cell.__name__} has {', '.join(header_of(cell))}")
    return found
