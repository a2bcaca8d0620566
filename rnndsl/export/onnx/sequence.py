"""The model of a sequence: inputs [batch, time, ...] and a state [batch, ...] to outputs and the state that is left. Its recurrence is a Scan."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from onnx import GraphProto, ValueInfoProto, helper

from rnndsl.export.onnx.boundary import BATCH, Boundary, kind_of
from rnndsl.export.onnx.given import Given
from rnndsl.export.onnx.parts import STATIC, Parts, parts_of
from rnndsl.export.onnx.values import Tensor, Values
from rnndsl.export.onnx.writer import BOOL, FLOAT, Writer, read_by, value_info
from rnndsl.kernel.graph import Node
from rnndsl.plan.ir import Carry


def sequence_graph(of: Given, doc: str, reset: bool) -> GraphProto:
    """The graph of a sequence. reset: whether it takes where sequences restart."""
    g, step = Boundary(of, 2), of.step
    nodes = step.builder.nodes
    streams, state = g.streams(), g.state()
    resets = _resets(g) if reset else None
    lagged, new = _earlier_inputs(g, streams, state, resets)

    def scanned(node: Node) -> bool:
        return of.is_clock(node) or (node.op == "old" and of.carries[node.leaf.index].role == "state")

    given = {n: streams[node.leaf.index] for n, node in enumerate(nodes) if node.op == "stream" and not of.is_clock(node)}
    given |= {n: lagged[node.leaf.index] for n, node in enumerate(nodes) if node.op == "old" and not scanned(node)}
    outputs = [n for _, n in step.outputs]
    updates = [n for n, c in zip(step.updates, of.carries, strict=True) if c.role == "state"]
    parts = parts_of(nodes, scanned, updates, outputs, of.dims)
    ahead = g.values(g.main, given, {})
    for n in parts.ahead:
        ahead(n)
    made = {n: t for n, t in ahead.made.items() if parts.rates[n] == STATIC}
    carried = [c for c in of.plan.carries if c.role != "input"]
    if carried:
        scan = _Scan(g, parts, ahead, made, resets)
        new |= scan.run(carried, state, updates)
        given |= scan.left
    late = g.values(g.main, given, ahead.made)
    g.returns_all([late.full(n, 2) for n in outputs], new)
    return g.graph(of.plan.cell.name, doc)


def _resets(g: Boundary) -> str:
    """Where sequences restart, [batch, time], which need not be given."""
    name = g.of.reset
    g.inputs.append(value_info(name, BOOL, (f"{name}_batch", f"{name}_time")))
    g.main.store.initializer(name, np.zeros((1, 1), bool))
    return g.main.op("Expand", name, g.sizes(2, []))


def _spread(w: Writer, condition: str, lead: int, t: Tensor) -> str:
    """A condition with axes behind it for those of a value."""
    return w.op("Unsqueeze", condition, w.ints(*range(lead, lead + len(t.dims)))) if t.dims else condition


def _earlier_inputs(
    g: Boundary, streams: Sequence[Tensor], state: dict[str, list[Tensor]], resets: str | None
) -> tuple[dict[int, Tensor], dict[str, list[Tensor]]]:
    """Of each array that is carried of an input, by number: its sequence, as late as it is; and by field, what is left of it in the end."""
    w, axis = g.main, g.main.ints(1)
    left = iter(streams)
    sequences = {(name, 0): [next(left) for _ in range(1 + t.is_complex)] for name, t in g.of.inputs.items()}
    lasts: dict[str, list[Tensor]] = {}
    for c in g.of.plan.carries:
        if c.role != "input":
            continue
        sequences[c.source, c.lag], lasts[c.field] = [], []
        for first, before in zip(state[c.field], sequences[c.source, c.lag - 1], strict=True):
            whole = w.op("Concat", w.op("Unsqueeze", first.name, axis), before.name, axis=1)
            late = w.op("Slice", whole, w.ints(0), w.ints(-1), axis)
            if resets is not None:
                late = w.op("Where", _spread(w, resets, 2, before), w.number(0), late)
            sequences[c.source, c.lag].append(Tensor(late, 2, before.dims))
            lasts[c.field].append(Tensor(w.op("Gather", whole, w.constant(-1, np.int64), axis=1), 1, before.dims))
    of_arrays = iter([t for c in g.of.plan.carries if c.role == "input" for t in sequences[c.source, c.lag]])
    return {i: next(of_arrays) for i, c in enumerate(g.of.carries) if c.role == "input"}, lasts


@dataclass
class _Scan:
    """The recurrence. `ahead` computes what it is given of every step, `made` is what no step changes; `left`: what it hands on of every step, by node."""

    g: Boundary
    parts: Parts
    ahead: Values
    made: dict[int, Tensor]
    resets: str | None
    left: dict[int, Tensor] = field(default_factory=dict)
    inputs: list[ValueInfoProto] = field(default_factory=list)
    outputs: list[ValueInfoProto] = field(default_factory=list)
    scans: list[str] = field(default_factory=list)  # what it is given of every step, outside

    def __post_init__(self) -> None:
        self.body = Writer(self.g.main.store)

    def run(self, carried: list[Carry], state: dict[str, list[Tensor]], updates: list[int]) -> dict[str, list[Tensor]]:
        """Runs over all steps, from a state. Returns each field that it carries as it is in the end."""
        of, body = self.g.of, self.body
        begins = [(c, t) for c in carried for t in state[c.field]]
        old = [self._input(f"{c.field}.old", kind_of(c), t.dims) for c, t in begins]
        old = self._restarted(carried, old)
        given = self._given(carried, old)
        if not self.scans:  # whose number of steps it has
            name, of_input = next(iter(of.inputs.items()))
            self._stream(name, "unread", FLOAT, of.shape(of_input))
        values = self.g.values(body, given, self.made)
        new = iter(updates)
        for (c, _), before in zip(begins, old, strict=True):
            is_clock = c.role == "clock"
            after = Tensor(body.op("Add", before.name, body.constant(1, np.int64)), 1, ()) if is_clock else values.full(next(new), 1)
            self._output(after, f"{c.field}.new", kind_of(c))
        for n in self.parts.leaving:
            self._output(values.full(n, 1), of.provenance(n)[0], FLOAT)
        results = [body.store.name(o.name.rpartition(".")[0]) for o in self.outputs]
        graph = helper.make_graph(read_by(body.nodes, self.outputs)[0], f"{of.plan.cell.name}_recurrence", self.inputs, self.outputs)
        self.g.main.stem, self.g.main.doc = "", ""
        axes = {"scan_input_axes": [1] * len(self.scans)} | ({"scan_output_axes": [1] * len(self.parts.leaving)} if self.parts.leaving else {})
        self.g.main.several("Scan", [*(t.name for _, t in begins), *self.scans], results, body=graph, num_scan_inputs=len(self.scans), **axes)
        self.left = {n: Tensor(r, 2, values.full(n, 1).dims) for n, r in zip(self.parts.leaving, results[len(begins) :], strict=True)}
        finals: dict[str, list[Tensor]] = {c.field: [] for c in carried}
        for (c, t), name in zip(begins, results, strict=False):
            finals[c.field].append(Tensor(name, 1, t.dims))
        return finals

    def _input(self, stem: str, kind: int, dims: tuple[int, ...]) -> Tensor:
        name = self.body.store.name(stem)
        self.inputs.append(value_info(name, kind, (BATCH, *dims)))
        return Tensor(name, 1, dims)

    def _stream(self, outside: str, stem: str, kind: int, dims: tuple[int, ...]) -> Tensor:
        self.scans.append(outside)
        return self._input(stem, kind, dims)

    def _output(self, t: Tensor, stem: str, kind: int) -> None:
        self.body.stem, self.body.doc = stem, ""
        self.outputs.append(value_info(self.body.op("Identity", t.name), kind, (BATCH, *t.dims)))

    def _restarted(self, carried: list[Carry], old: list[Tensor]) -> list[Tensor]:
        """The state before a step: the initial one where a sequence restarts."""
        if self.resets is None:
            return old
        w, restart = self.body, self._stream(self.resets, "restart", BOOL, ())
        found = []
        left = iter(old)
        for c, value in zip(self.g.of.plan.carries, self.g.of.initial, strict=True):
            for part in _parts(value) if c in carried else ():
                t = next(left)
                initial = w.constant(part.numpy(), np.int64 if c.role == "clock" else np.float64)
                w.stem = f"{c.field}.before"
                found.append(Tensor(w.op("Where", _spread(w, restart.name, 1, t), initial, t.name), 1, t.dims))
        return found

    def _given(self, carried: list[Carry], old: list[Tensor]) -> dict[int, Tensor]:
        """What is there of a step when it begins: the old state, and what was computed ahead."""
        of, nodes = self.g.of, self.g.of.step.builder.nodes
        owners = [c for c in carried for _ in range(1 + c.type.is_complex)]
        states = iter([t for c, t in zip(owners, old, strict=True) if c.role == "state"])
        arrays = {i: next(states) for i, c in enumerate(of.carries) if c.role == "state"}
        clocks = [t for c, t in zip(owners, old, strict=True) if c.role == "clock"]
        given = {n: arrays[node.leaf.index] for n, node in enumerate(nodes) if node.op == "old" and node.leaf.index in arrays}
        for n, node in enumerate(nodes):
            if of.is_clock(node):
                given[n] = Tensor(self.body.op("Cast", clocks[0].name, to=FLOAT), 1, ())
        for n in self.parts.entering:
            t = self.ahead(n)
            given[n] = self._stream(t.name, of.provenance(n)[0] or nodes[n].op, FLOAT, t.dims)
        return given


def _parts(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return (value.real, value.imag) if value.is_complex() else (value,)
