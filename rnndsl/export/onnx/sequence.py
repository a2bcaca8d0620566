"""The model of a sequence: inputs [batch, time, ...] and a state [batch, ...] to outputs and the state that is left. Its recurrence is a Scan."""

from dataclasses import dataclass, field

import numpy as np
import torch
from onnx import GraphProto, ValueInfoProto, helper

from rnndsl.export.onnx.boundary import BATCH, Boundary, Outside, kind_of
from rnndsl.export.onnx.given import Given, free
from rnndsl.export.onnx.marks import Marks, marks, spread
from rnndsl.export.onnx.parts import STATIC, Parts, parts_of
from rnndsl.export.onnx.step import Named
from rnndsl.export.onnx.values import Tensor, Values
from rnndsl.export.onnx.writer import BOOL, FLOAT, Writer, read_by, value_info
from rnndsl.kernel.graph import Node
from rnndsl.plan.ir import Carry


def sequence_graph(of: Given, doc: str, has_reset: bool, has_lengths: bool) -> GraphProto:
    """The graph of a sequence of a layer; whether it takes where sequences restart, and where they end."""
    g = Boundary(of, Outside(2))
    streams, state = g.streams(), g.state()
    taken = [*(v.name for v in of.plan.cell.variables), *(a.name for a in of.step.statics)]
    found = marks(g.outside, free("reset", taken) if has_reset else None, free("lengths", taken) if has_lengths else None)
    outputs, new = whole_sequence(g, streams, state, found)
    for name, parts in outputs.items():
        g.outside.returns(f"output.{name}", parts, 2)
    g.returns_state(new)
    return g.outside.graph(of.plan.cell.name, doc)


def whole_sequence(g: Boundary, streams: Named, state: Named, marks: Marks) -> tuple[Named, Named]:
    """Outputs of a layer, zero behind the end of a sequence, and the state that each sequence ends with."""
    of, step = g.of, g.of.step
    nodes = step.builder.nodes
    lagged, new = _earlier_inputs(g, streams, state, marks)

    def scanned(node: Node) -> bool:
        return of.is_clock(node) or (node.op == "old" and of.carries[node.leaf.index].role == "state")

    real = [t for name in of.inputs for t in streams[name]]
    given = {n: real[node.leaf.index] for n, node in enumerate(nodes) if node.op == "stream" and not of.is_clock(node)}
    given |= {n: lagged[node.leaf.index] for n, node in enumerate(nodes) if node.op == "old" and not scanned(node)}
    outputs = [n for _, n in step.outputs]
    updates = [n for n, c in zip(step.updates, of.carries, strict=True) if c.role == "state"]
    parts = parts_of(nodes, scanned, updates, outputs, of.dims)
    ahead = g.values(g.main, given, {})
    for n in parts.ahead:
        ahead(n)
    carried = [c for c in of.plan.carries if c.role != "input"]
    if carried:
        scan = _Scan(g, parts, ahead, {n: t for n, t in ahead.made.items() if parts.rates[n] == STATIC}, marks, real[0])
        new |= scan.run(carried, state, updates)
        given |= scan.left
    late = g.values(g.main, given, ahead.made)
    made = iter([_masked(g.main, late.full(n, 2), marks) for n in outputs])
    return {name: [next(made) for _ in range(1 + t.is_complex)] for name, t in of.outputs.items()}, new


def _masked(w: Writer, y: Tensor, marks: Marks) -> Tensor:
    """An output, zero behind the end of a sequence."""
    return y if marks.real is None else Tensor(w.op("Where", spread(w, marks.real, 2, y), y.name, w.number(0)), y.lead, y.dims)


def _earlier_inputs(g: Boundary, streams: Named, state: Named, marks: Marks) -> tuple[dict[int, Tensor], Named]:
    """Of each array that is carried of an input, by number: its sequence, as late as it is; and by field, what is left of it in the end."""
    w, axis = g.main, g.main.ints(0)
    sequences = {(name, 0): parts for name, parts in streams.items()}
    lasts: Named = {}
    for c in g.of.plan.carries:
        if c.role != "input":
            continue
        sequences[c.source, c.lag], lasts[c.field] = [], []
        for first, before in zip(state[c.field], sequences[c.source, c.lag - 1], strict=True):
            whole = w.op("Concat", w.op("Unsqueeze", first.name, axis), before.name, axis=0)
            late = w.op("Slice", whole, w.ints(0), w.ints(-1), axis)
            if marks.resets is not None:
                late = w.op("Where", spread(w, marks.resets, 2, before), w.number(0), late)
            sequences[c.source, c.lag].append(Tensor(late, 2, before.dims))
            if marks.lengths is None:
                last = w.op("Gather", whole, w.constant(-1, np.int64), axis=0)
            else:
                last = w.op("GatherND", whole, marks.ends())
            lasts[c.field].append(Tensor(last, 1, before.dims))
    of_arrays = iter([t for c in g.of.plan.carries if c.role == "input" for t in sequences[c.source, c.lag]])
    return {i: next(of_arrays) for i, c in enumerate(g.of.carries) if c.role == "input"}, lasts


@dataclass
class _Scan:
    """The recurrence. `ahead` computes what it is given of every step, `made` is what no step changes, `timed` has a step for each of its own; `left`: what
    it hands on of every step, by node."""

    g: Boundary
    parts: Parts
    ahead: Values
    made: dict[int, Tensor]
    marks: Marks
    timed: Tensor
    left: dict[int, Tensor] = field(default_factory=dict)
    inputs: list[ValueInfoProto] = field(default_factory=list)
    outputs: list[ValueInfoProto] = field(default_factory=list)
    scans: list[str] = field(default_factory=list)  # what it is given of every step, outside

    def __post_init__(self) -> None:
        self.body = Writer(self.g.main.store)

    def run(self, carried: list[Carry], state: Named, updates: list[int]) -> Named:
        """Runs over all steps, from a state. Returns each field that it carries as it is in the end."""
        of, body = self.g.of, self.body
        begins = [(c, t) for c in carried for t in state[c.field]]
        left = [self._input(f"{c.field}.old", kind_of(c), t.dims) for c, t in begins]
        is_real = None if self.marks.real is None else self._stream(self.marks.real, "real", BOOL, ())
        old = self._restarted(carried, left)
        given = self._given(carried, old)
        if not self.scans:  # whose number of steps it has
            self._stream(self.timed.name, "unread", FLOAT, self.timed.dims)
        values = self.g.values(body, given, self.made)
        new = iter(updates)
        for (c, _), before, kept in zip(begins, old, left, strict=True):
            is_clock = c.role == "clock"
            after = Tensor(body.op("Add", before.name, body.constant(1, np.int64)), 1, ()) if is_clock else values.full(next(new), 1)
            if is_real is not None:
                after = Tensor(body.op("Where", spread(body, is_real.name, 1, after), after.name, kept.name), 1, after.dims)
            self._output(after, f"{c.field}.new", kind_of(c))
        for n in self.parts.leaving:
            self._output(values.full(n, 1), of.provenance(n)[0], FLOAT)
        results = [body.store.name(o.name.rpartition(".")[0]) for o in self.outputs]
        graph = helper.make_graph(read_by(body.nodes, self.outputs)[0], f"{of.plan.cell.name}_recurrence", self.inputs, self.outputs)
        self.g.main.stem, self.g.main.doc = "", ""
        self.g.main.several("Scan", [*(t.name for _, t in begins), *self.scans], results, body=graph, num_scan_inputs=len(self.scans))
        self.left = {n: Tensor(r, 2, values.full(n, 1).dims) for n, r in zip(self.parts.leaving, results[len(begins) :], strict=True)}
        finals: Named = {c.field: [] for c in carried}
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
        if self.marks.resets is None:
            return old
        w, restart = self.body, self._stream(self.marks.resets, "restart", BOOL, ())
        found = []
        left = iter(old)
        for c, value in zip(self.g.of.plan.carries, self.g.of.initial, strict=True):
            for part in _parts(value) if c in carried else ():
                t = next(left)
                initial = w.constant(part.numpy(), np.int64 if c.role == "clock" else np.float64)
                w.stem = f"{c.field}.before"
                found.append(Tensor(w.op("Where", spread(w, restart.name, 1, t), initial, t.name), 1, t.dims))
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
