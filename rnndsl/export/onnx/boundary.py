"""What a graph takes and returns, by name, and the weights that it holds. A complex value is real and imaginary part, along a last axis of two.

An input has its own name, a field of the state is `state.h` and then `new_state.h`, an output is `output.y`. In a stack, fields are `state.0.h`, and
weights `cells.0.W`, by the number of the layer and direction that has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from onnx import GraphProto, ValueInfoProto, helper

from rnndsl.checks.cell import Apply, Let, Ref, Type
from rnndsl.export.onnx.given import Given
from rnndsl.export.onnx.values import Tensor, Values
from rnndsl.export.onnx.writer import FLOAT, INT64, Store, Writer, read_by, value_info
from rnndsl.kernel.graph import Node
from rnndsl.plan.ir import Carry
from rnndsl.runtime.complex_parts import real_view

BATCH, TIME, STATES = "batch", "time", "state_batch"  # sizes that a model leaves open; a state may be that of one sequence, for all
LEADS = {1: (BATCH,), 2: (BATCH, TIME)}  # of what goes in and out; inside, time comes first, as a Scan wants it


@dataclass
class Outside:
    """What a graph takes and returns so far. `lead` axes stand before those of an input: a batch, or a batch and steps."""

    lead: int
    inputs: list[ValueInfoProto] = field(default_factory=list)
    outputs: list[ValueInfoProto] = field(default_factory=list)
    leads: dict[int, str] = field(default_factory=dict)
    main: Writer = field(default_factory=lambda: Writer(Store()))

    def takes(self, name: str, kind: int, shape: Sequence[int | str], default: np.ndarray | None = None) -> None:
        """One more input; with a default it need not be given."""
        self.inputs.append(value_info(name, kind, shape))
        if default is not None:
            self.main.store.initializer(name, default)

    def sizes(self, lead: int, dims: Sequence[int]) -> str:
        """The sizes of a lead, and these behind them, as a tensor."""
        w, first = self.main, self.inputs[0].name
        if lead not in self.leads:
            batch = w.op("Shape", first, start=0, end=1)
            self.leads[lead] = batch if lead == 1 else w.op("Concat", w.op("Shape", first, start=1, end=2), batch, axis=0)
        return w.op("Concat", self.leads[lead], w.ints(*dims), axis=0) if dims else self.leads[lead]

    def returns(self, name: str, parts: Sequence[Tensor], lead: int, kind: int = FLOAT) -> None:
        """One more output, of one real array or two."""
        w = self.main
        w.stem, w.doc = "", ""
        dims, value = parts[0].dims, parts[0].name
        if len(parts) == 2:
            dims, value = (*dims, 2), w.op("Concat", *(w.op("Unsqueeze", p.name, w.ints(-1)) for p in parts), axis=-1)
        if lead == 2:
            w.op("Transpose", value, named=name, perm=turned(len(dims)))
        else:
            w.op("Identity", value, named=name)
        self.outputs.append(value_info(name, kind, (*LEADS[lead], *dims)))

    def graph(self, name: str, doc: str) -> GraphProto:
        """The whole, but for what nothing reads."""
        nodes, read = read_by(self.main.nodes, self.outputs)
        given = {i.name for i in self.inputs}
        weights = [t for n, t in self.main.store.initializers.items() if n in read or n in given]
        return helper.make_graph(nodes, name, self.inputs, self.outputs, weights, doc)


@dataclass
class Boundary:
    """A layer in a graph. place: in a stack its number and a dot, which names of its state and weights have before them."""

    of: Given
    outside: Outside
    place: str = ""

    @property
    def main(self) -> Writer:
        return self.outside.main

    def streams(self) -> dict[str, list[Tensor]]:
        """The real arrays of each input."""
        return {name: self.stream(name, t) for name, t in self.of.inputs.items()}

    def stream(self, name: str, t: Type) -> list[Tensor]:
        """The real arrays of an input of this name."""
        lead, shape = self.outside.lead, self.of.shape(t)
        self.outside.takes(name, FLOAT, (*LEADS[lead], *shape))
        return self._real(name if lead == 1 else self.main.op("Transpose", name, perm=turned(len(shape))), t, lead)

    def state(self) -> dict[str, list[Tensor]]:
        """The real arrays of each field that a call begins with."""
        return {c.field: self._begins(c, value) for c, value in zip(self.of.plan.carries, self.of.initial, strict=True)}

    def _begins(self, c: Carry, initial: torch.Tensor) -> list[Tensor]:
        """A field, which need not be given, and may be that of one sequence, for all."""
        name, shape, w = f"state.{self.place}{c.field}", self.of.shape(c.type), self.main
        value = real_view(initial)
        self.outside.takes(name, kind_of(c), (STATES, *shape), value.numpy().astype(np.int64 if c.role == "clock" else np.float64)[None])
        return self._real(w.op("Expand", name, self.outside.sizes(1, [1] * len(shape))), c.type, 1)

    def _real(self, name: str, t: Type, lead: int) -> list[Tensor]:
        """A value of the outside as the real arrays that a step knows."""
        dims = self.of.dims(t.heads + t.axes)
        if not t.is_complex:
            return [Tensor(name, lead, dims)]
        return [Tensor(self.main.op("Gather", name, self.main.constant(part, np.int64), axis=lead + len(dims)), lead, dims) for part in (0, 1)]

    # Weights

    def weight(self, node: Node) -> Tensor:
        """A static of the step."""
        array, leaf = self.of.step.statics[node.leaf.index], node.leaf
        return self._weight(array.name, array.part, self.of.dims(node.shape), None if leaf.select is None else self._number(leaf.select))

    def _weight(self, name: str, part: str, dims: tuple[int, ...], slice_: int | None) -> Tensor:
        stacked = next((c.value for c in self.of.plan.constants if isinstance(c, Let) and c.name == name), None)
        if isinstance(stacked, Apply) and stacked.op == "rows" and all(isinstance(a, Ref) for a in stacked.args):
            parts = [self._weight(a.name, part, self.of.dims(a.type.heads + a.type.axes), None).name for a in stacked.args if isinstance(a, Ref)]
            return Tensor(self.main.op("Concat", *parts, axis=-2), 0, dims)
        value = self.of.values[name]
        if part:
            value = value.real if part == "re" else value.imag
        if slice_ is not None:
            value = value[slice_ - 1]
        own = "/".join(map(str, filter(None, (*name.split("."), part, slice_))))  # what the plan has named has dots in it, as results of nodes have
        return Tensor(self.main.store.initializer(f"cells.{self.place}{own}" if self.place else own, value.expand(dims).numpy()), 0, dims)

    def _number(self, n: int) -> int:
        """The number of a slice."""
        node = self.of.step.builder[n]
        match node.op:
            case "number":
                return int(node.of(float))
            case "hyper":
                return int(self.of.hypers[node.of(str)])
        (number,) = self.of.dims((node.data,))  # type: ignore[arg-type]
        return number

    # What is computed

    def values(self, writer: Writer, given: Mapping[int, Tensor], made: Mapping[int, Tensor]) -> Values:
        """What computes nodes in this graph, or in one inside it; given: those that are there, of a lead; made: those of none that are there."""
        nodes = self.of.step.builder.nodes

        def there(n: int) -> Tensor | None:
            return self.weight(nodes[n]) if nodes[n].op == "static" else given.get(n)

        return Values(writer, self.main, nodes, self.of, there, self.outside.sizes, dict(made))

    # What is returned

    def returns_state(self, state: Mapping[str, Sequence[Tensor]]) -> None:
        """The fields of the state, as they are left."""
        for c in self.of.plan.carries:
            self.outside.returns(f"new_state.{self.place}{c.field}", state[c.field], 1, kind_of(c))


def turned(rank: int) -> list[int]:
    """The order of axes that has time and batch the other way round, before axes of a value."""
    return [1, 0, *range(2, 2 + rank)]


def kind_of(c: Carry) -> int:
    """The type of a field: the number of a step is a whole one."""
    return INT64 if c.role == "clock" else FLOAT
