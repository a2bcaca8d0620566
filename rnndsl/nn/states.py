"""The states of a stack, as calls take and return them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.sizes import axes_text


class States:
    """The states of layers in torch.nn's order: layer 0, its backward direction, layer 1 and so on.

    is_stacked: whether they come and go as tensors [layers · directions, B, ...], one a field of the cells' states, instead of a tuple with a state
    for each.
    """

    def __init__(self, cells: Sequence[Any], directions: int, is_stacked: bool):
        self.cells, self.directions, self.is_stacked = tuple(cells), directions, is_stacked

    def check(self) -> None:
        """Raises ValueError where states are to be one tensor and cannot."""
        first = self.cells[0]._fields
        if self.is_stacked and any(c._fields != first for c in self.cells):
            raise ValueError("stacked_states: layers have states of different names or sizes, which are no one tensor")

    def taken(self, state: Any, count: int, is_single: bool) -> list:
        """The state of each, [count, ...] or, of a single sequence, [...] a field; None where it is the initial one. Raises TypeError or ValueError,
        with the layer, for what does not fit."""
        if state is None:
            return [None] * len(self.cells)
        given = self._apart(state) if self.is_stacked else state
        if not isinstance(given, tuple | list) or hasattr(given, "_fields"):
            hint = "; torch.nn's tensors come and go with stacked_states=True" if isinstance(given, Tensor) else ""
            raise TypeError(f"state: expected a tuple of {self._places()}, got {type(given).__name__}{hint}")
        if len(given) != len(self.cells):
            raise ValueError(f"state: expected {self._places()}, got {len(given)}")
        return [None if fields is None else self._checked(i, fields, count, is_single) for i, fields in enumerate(given)]

    def shown(self, states: Sequence[Any], is_single: bool) -> Any:
        """States as a call returns them."""
        if is_single:
            states = [type(s)(*(f.squeeze(0) for f in s)) for s in states]
        if not self.is_stacked:
            return tuple(states)
        fields = tuple(torch.stack(f) for f in zip(*states, strict=True))
        return fields[0] if len(fields) == 1 else fields

    def _checked(self, i: int, fields: Any, count: int, is_single: bool) -> Any:
        """The state of one, with an axis for the batch."""
        cell = self.cells[i]
        names = cell.State._fields
        if not isinstance(fields, tuple | list) or len(fields) != len(names):
            got = f"{type(fields).__name__}{f' of {len(fields)}' if isinstance(fields, tuple | list) else ''}"
            raise TypeError(f"state of {self._place(i)}: expected {cell.State.__name__}({', '.join(names)}), got {got}")
        lead = [] if is_single else [count]
        for value, (name, shape, _) in zip(fields, cell._fields, strict=True):
            if not isinstance(value, Tensor) or list(value.shape) != [*lead, *shape]:
                wanted = ", ".join([*(f"B={n}" for n in lead), *axes_text(cell._written[name])])
                got = f"{list(value.shape) if isinstance(value, Tensor) else type(value).__name__}"
                raise ValueError(f"state of {self._place(i)}: {name}: expected [{wanted}], got {got}")
        return cell.State(*(f.unsqueeze(0) if is_single else f for f in fields))

    def _apart(self, state: Any) -> list[tuple]:
        """The states of layers, from a tensor for each field."""
        names = self.cells[0].State._fields
        fields = (state,) if isinstance(state, Tensor) and len(names) == 1 else state
        if not isinstance(fields, tuple | list) or len(fields) != len(names):
            wanted = "a tensor" if len(names) == 1 else f"a tuple of tensors ({', '.join(names)})"
            raise TypeError(f"state: expected {wanted}, got {type(state).__name__}")
        for name, f in zip(names, fields, strict=True):
            if not isinstance(f, Tensor) or not f.dim() or f.shape[0] != len(self.cells):
                raise ValueError(f"state: {name}: expected [{len(self.cells)}, B, …], got {list(f.shape) if isinstance(f, Tensor) else type(f).__name__}")
        return [tuple(f[i] for f in fields) for i in range(len(self.cells))]

    def _place(self, i: int) -> str:
        layer, backward = divmod(i, self.directions)
        return f"layer {layer}{', backward' if backward else ''}"

    def _places(self) -> str:
        return f"{len(self.cells)} state{'s' * (len(self.cells) != 1)} ({'; '.join(self._place(i) for i in range(len(self.cells)))})"
