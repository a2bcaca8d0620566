"""Stacks of recurrent layers, in one direction or both, over sequences of any lengths."""

import numbers
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnndsl.nn import ragged
from rnndsl.nn.layout import Laid, as_given, laid_out
from rnndsl.nn.parts import heard, sequences_of
from rnndsl.nn.ragged import EndToEnd, Whole
from rnndsl.nn.shapes import cell_class, outputs_of, sizes_above, sizes_of
from rnndsl.nn.states import States
from rnndsl.runtime.arguments import check_dense
from rnndsl.runtime.sharded import shards_of
from rnndsl.runtime.sizes import axes_text


class Recurrent(nn.Module):
    """A stack of generated cells with the calls of `torch.nn.GRU`.

    cell: a generated class, or a list of one for each layer. sizes: the names of the first layer's header, `{"D": 8, "H": 16}`, hyperparameters
    among them; further layers have the same, but for the size of what comes from below, `D` where a cell writes `input x: [D]`. Or a list of
    such dicts, one for each layer. dropout: of what goes from layer to layer, in training. output: the name of what goes from layer to layer
    where cells have several outputs; the first if None. stacked_states: states as tensors [layers · directions, B, ...], one a field, as
    torch.nn has them. Raises TypeError or ValueError for what makes no stack.

    A cell's first input is the sequence that goes up the stack; further ones, as the time since the last step, go to every layer.
    """

    def __init__(
        self, cell: Any, sizes: Any, num_layers: int = 1, bidirectional: bool = False, dropout: float = 0.0, batch_first: bool = True,
        *, output: str | None = None, stacked_states: bool = False, device: Any = None, dtype: Any = None, backend: str = "auto", schedule: str = "auto",
    ):  # fmt: skip
        super().__init__()
        _check_options(num_layers, dropout)
        if dropout and num_layers == 1 and not isinstance(cell, Sequence):
            warnings.warn("dropout: it stands between layers, and there is only one", stacklevel=2)
        cells = [cell_class(c) for c in (cell if isinstance(cell, list | tuple) else [cell] * num_layers)]
        if isinstance(cell, list | tuple):
            if num_layers not in (1, len(cells)) or not cells:
                raise ValueError(f"cell: expected one for each of {num_layers} layers, got {len(cells)}")
            num_layers = len(cells)
        self.num_layers, self.bidirectional, self.dropout, self.batch_first = int(num_layers), bool(bidirectional), float(dropout), bool(batch_first)
        self.output, self.stacked_states = output, bool(stacked_states)
        self.directions = 2 if bidirectional else 1
        settings = {"device": device, "dtype": dtype, "backend": backend, "schedule": schedule}
        self.cells: Any = nn.ModuleList()  # a layer's forward one, then its backward one
        self.outputs: list[tuple[str, ...]] = []  # the names of each layer's outputs
        below: Any = None
        for i, (cls, given) in enumerate(zip(cells, sizes_of(sizes, cells), strict=True)):
            own = given if below is None else sizes_above(cls, given, below[0], f"layer {i}", is_explicit=not isinstance(sizes, Mapping))
            self.cells.extend(cls(**own, **settings) for _ in range(self.directions))
            found = outputs_of(cls, own)
            self._check_input(i, below)
            self.outputs.append(tuple(found))
            below = self._passed_on(i, found)
        self.out = below  # the axes of what comes out at the top, in one step, and whether it is complex
        self._declared = self._declared_inputs()
        self.inputs = tuple(name for name, *_ in self._declared)
        self._states.check()

    # What the layers are

    def _check_input(self, i: int, below: tuple[tuple[int, ...], bool] | None) -> None:
        """Raises ValueError where complex values come from below a layer that takes real ones."""
        name, _, is_complex = self._cell(i)._inputs[0]
        if below is not None and below[1] and not is_complex:
            raise ValueError(f"layer {i}: {name} is real, and complex values come from below; output re(…) or abs(…) of them")

    def _passed_on(self, i: int, outputs: dict[str, tuple[tuple[int, ...], bool]]) -> tuple[tuple[int, ...], bool]:
        """The axes of what layer i gives to the next, and whether it is complex. Raises ValueError where there is no such output."""
        name = next(iter(outputs))
        if self.output is not None and len(outputs) > 1:
            if self.output not in outputs:
                raise ValueError(f"output: layer {i} has no {self.output!r}; its outputs are {', '.join(outputs)}")
            name = self.output
        axes, is_complex = outputs[name]
        if self.bidirectional:
            axes = (*axes[:-1], 2 * axes[-1]) if axes else (2,)
        return axes, is_complex

    def _declared_inputs(self) -> tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]:
        """The inputs of a call, their axes, and these as they are written: the first layer's first one, then all further ones in the order in which layers
        have them. Raises ValueError where two layers differ in the axes of a further one."""
        first = self.cells[0]._inputs[0]
        found: dict[str, tuple[int, tuple[int, ...]]] = {}
        for i in range(self.num_layers):
            for name, shape, _ in self._cell(i)._inputs[1:]:
                j, known = found.setdefault(name, (i, shape))
                if known != shape:
                    there, here = (", ".join(axes_text(self._cell(k)._written[name])) for k in (j, i))
                    raise ValueError(f"{name}: it goes to every layer, and is [{there}] in layer {j}, [{here}] in layer {i}")
        declared = [(0, first[0], first[1]), *((i, name, shape) for name, (i, shape) in found.items())]
        return tuple((name, shape, self._cell(i)._written[name]) for i, name, shape in declared)

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._declared = self._declared_inputs()  # in pickles of earlier versions it had less

    def _cell(self, layer: int, backward: bool = False) -> Any:
        return self.cells[layer * self.directions + backward]

    @property
    def _states(self) -> States:
        return States(self.cells, self.directions, self.stacked_states)

    def reset_parameters(self) -> None:
        """Draws the params of all layers anew."""
        for cell in self.cells:
            cell.reset_parameters()

    def flatten_parameters(self) -> None:
        """Nothing: torch.nn's layers need it where they are split or copied, and models call it."""

    def extra_repr(self) -> str:
        shown: dict[str, Any] = {"num_layers": (self.num_layers, 1), "bidirectional": (self.bidirectional, False), "dropout": (self.dropout, 0.0)}
        shown |= {"batch_first": (self.batch_first, True), "output": (self.output, None), "stacked_states": (self.stacked_states, False)}
        return ", ".join(f"{n}={v!r}" for n, (v, default) in shown.items() if v != default)

    # Calls

    @heard
    def forward(
        self, *inputs: Any, state: Any = None, lengths: Any = None, cu_seqlens: Any = None, reset: Tensor | None = None, group: Any = None
    ) -> tuple[Any, Any]:
        """Runs the stack over sequences.

        inputs: [B, T, ...] each, or [T, B, ...] without `batch_first`, or [T, ...] of one sequence; or PackedSequences of them. The state may
        follow them. state: what an earlier call returned. lengths: whole numbers [B] from 0 to T, of sequences with padding behind them.
        cu_seqlens: [N + 1], where each of N sequences begins that stand end to end in a batch of one, and where the last one ends. reset: bool
        [B, T] in the layout of the inputs; where true, a sequence starts anew before that step.

        group: ranks over which time is divided, as a layer takes it; lengths and cu_seqlens are then those of whole sequences, and a state is given with
        neither cu_seqlens nor, in both directions, lengths; to the backward direction the last rank gives it.
        Returns (output, state): the outputs of the last layer, both directions side by side along the last axis, zero at padding; the state of each
        layer and direction where each sequence ends, in a tuple: layer 0, its backward direction, layer 1 and so on. The backward
        direction starts at each sequence's end. Raises TypeError or ValueError for what does not fit.
        """
        inputs, state = self._parted(inputs, state)
        if any(isinstance(x, PackedSequence) for x in inputs):
            if shards_of(self, group) is not None:
                raise ValueError("group: over ranks there are no PackedSequences, which cannot hold rows that end on an earlier rank; pad_packed_sequence gives rows, of which a rank takes its steps, and lengths=")
            return self._packed(inputs, state, lengths, cu_seqlens, reset)
        laid = laid_out(inputs, self._declared, reset, self.batch_first)
        if laid.is_single and lengths is not None:
            raise ValueError("lengths: expected a batch, got one sequence")
        x = laid.inputs[0]
        sequences = sequences_of(self, group, lengths, cu_seqlens, x, state)
        if self.bidirectional and sequences.is_ragged and sequences.shards is not None and state is not None:
            raise ValueError("state: over ranks it cannot be given to sequences of different lengths in both directions")
        is_single = laid.is_single and cu_seqlens is None
        states = self._states.taken(state, sequences.count, is_single)
        y, ended = self._joined(laid, sequences, states)
        y = _each(y, lambda o: as_given(sequences.attached(o), laid.is_single, self.batch_first))
        return y, None if None in ended else self._states.shown(ended, is_single)  # None: another rank has it

    def step(self, *inputs_and_state: Any, state: Any = None) -> tuple[Any, Any]:
        """One step of every layer, `step(*inputs, state)`: inputs [B, ...] each, the numbers of `forward`. Raises TypeError for a stack that
        runs in both directions."""
        if self.bidirectional:
            raise TypeError("step: the backward direction begins at the end, so there is no next step")
        inputs, state = self._parted(inputs_and_state, state)
        check_dense(self.inputs[0], inputs[0])
        further = dict(zip(self.inputs[1:], inputs[1:], strict=True))
        ended: list[Any] = []
        x, y = inputs[0], None
        for i, before in enumerate(self._states.taken(state, inputs[0].shape[0] if inputs[0].dim() else 1, False)):
            cell = self._cell(i)
            x = self._dropped(x, i)
            y, after = cell.step(x, *(further[n] for n, _, _ in cell._inputs[1:]), before)
            ended.append(after)
            x = self._going_up(y, i)
        return y, self._states.shown(ended, False)

    def initial_state(self, batch_size: int) -> Any:
        """The state that `forward` starts from."""
        return self._states.shown([cell.initial_state(batch_size) for cell in self.cells], False)

    # What a call is made of

    def _joined(self, laid: Laid, sequences: Whole, states: list) -> tuple[Any, list]:
        """A call over a batch [B, T, ...]. A state cannot be given to a sequence inside a row: where there is one, sequences are set apart."""
        if isinstance(sequences, EndToEnd) and any(s is not None for s in states):
            batch = [sequences.apart(x) for x in laid.inputs]
            reset = None if laid.reset is None else sequences.apart(laid.reset)
            y, ended = self._run(batch, sequences.padded(), states, reset)
            return _each(y, sequences.joined), ended
        return self._run(laid.inputs, sequences, states, laid.reset)

    def _run(self, inputs: Sequence[Tensor], sequences: Whole, states: list, reset: Tensor | None) -> tuple[Any, list]:
        """All layers over a batch [B, T, ...]: the outputs of the last one, and the state of each layer and direction."""
        further = dict(zip(self.inputs[1:], inputs[1:], strict=True))
        ended: list[Any] = []
        x, y = inputs[0], None
        for i in range(self.num_layers):
            x = self._dropped(x, i)
            found: list[Any] = []
            for backward in range(self.directions):
                cell = self._cell(i, bool(backward))
                own = [x, *(further[n] for n, _, _ in cell._inputs[1:])]
                out, after = _directed(cell, own, sequences, states[len(ended)], reset, bool(backward))
                found.append(out)
                ended.append(after)
            y = found[0] if len(found) == 1 else _side_by_side(*found)
            x = self._going_up(y, i)
        return y, ended

    def _dropped(self, x: Tensor, layer: int) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if layer and self.dropout else x

    def _going_up(self, y: Any, layer: int) -> Tensor:
        """What goes from a layer to the next, of its outputs."""
        names = self.outputs[layer]
        return y if len(names) == 1 else y[names.index(self.output) if self.output else 0]

    def _parted(self, given: tuple, state: Any) -> tuple[tuple, Any]:
        """Inputs, and the state, which may stand behind them."""
        if len(given) == len(self.inputs) + 1:
            if state is not None:
                raise TypeError("the state was given twice, by position and by name")
            given, state = given[:-1], given[-1]
        if len(given) != len(self.inputs):
            raise TypeError(f"expected {len(self.inputs)} input{'s' * (len(self.inputs) != 1)} ({', '.join(self.inputs)}) and perhaps a state, got {len(given)}")
        return given, state

    def _packed(self, inputs: Sequence[Any], state: Any, lengths: Any, cu_seqlens: Any, reset: Any) -> tuple[Any, Any]:
        """A call on PackedSequences, which gives PackedSequences of the same order. States are in the order before packing, as torch.nn has them."""
        if lengths is not None or cu_seqlens is not None or reset is not None:
            raise TypeError("lengths, cu_seqlens, reset: a PackedSequence says where sequences end")
        for name, x in zip(self.inputs, inputs, strict=True):
            if not isinstance(x, PackedSequence) or not torch.equal(x.batch_sizes, inputs[0].batch_sizes):
                raise TypeError(f"{name}: expected a PackedSequence of the same lengths as {self.inputs[0]}, got {type(x).__name__}")
        apart = [pad_packed_sequence(x, batch_first=True) for x in inputs]
        batch, found = [x for x, _ in apart], apart[0][1]
        sequences = ragged.padded(found, batch[0].shape[0], batch[0].shape[1], batch[0].device)
        y, ended = self._joined(Laid(tuple(batch)), sequences, self._states.taken(state, sequences.count, False))
        order, back = inputs[0].sorted_indices, inputs[0].unsorted_indices

        def packed(o: Tensor) -> PackedSequence:
            o, n = (o, found) if order is None else (o.index_select(0, order), found[order.cpu()])
            return PackedSequence(*pack_padded_sequence(o, n, batch_first=True)[:2], order, back)

        return _each(y, packed), self._states.shown(ended, False)


def _directed(cell: Any, inputs: list[Tensor], sequences: Whole, state: Any, reset: Tensor | None, backward: bool) -> tuple[Any, Any]:
    """A layer over sequences in one direction of time: its outputs in the order of time, and the state that each sequence ends with."""
    inputs = [sequences.filled(x) for x in inputs]
    if backward:
        inputs = [sequences.turned(x) for x in inputs]
    over = sequences.over(backward)
    resets = sequences.resets(reset, backward)
    if sequences.is_ragged:
        y, left, after = cell(*inputs, state=state, reset=resets, all_states=True, **over)
        before = cell.initial_state(sequences.count) if state is None else state
        found = sequences.ended([after[n] for n in cell.State._fields], before, backward)
        ended = None if left is None else cell.State(*found)
    else:
        y, ended = cell(*inputs, state=state, reset=resets, **over)
    return _each(y, lambda o: sequences.masked(sequences.turned(o) if backward else o)), ended


def _each(y: Any, function: Any) -> Any:
    """A function of an output, or of each in a named tuple of them."""
    return function(y) if isinstance(y, Tensor) else type(y)(*(function(o) for o in y))


def _side_by_side(one: Any, other: Any) -> Any:
    """Outputs of both directions, along the last axis; scalars get one."""
    if not isinstance(one, Tensor):
        return type(one)(*(_side_by_side(a, b) for a, b in zip(one, other, strict=True)))
    return torch.stack([one, other], -1) if one.dim() == 2 else torch.cat([one, other], -1)


def _check_options(num_layers: Any, dropout: Any) -> None:
    if isinstance(num_layers, bool) or not isinstance(num_layers, numbers.Integral) or int(num_layers) < 1:
        raise ValueError(f"num_layers: expected a whole number from 1 on, got {num_layers!r}")
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Real) or not 0 <= float(dropout) <= 1:
        raise ValueError(f"dropout: expected a probability, got {dropout!r}")
