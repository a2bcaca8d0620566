"""The model of one step: inputs and state [batch, ...] to outputs and new state."""

import numpy as np
from onnx import GraphProto

from rnndsl.export.onnx.boundary import Boundary
from rnndsl.export.onnx.given import Given
from rnndsl.export.onnx.values import Tensor
from rnndsl.export.onnx.writer import FLOAT


def step_graph(of: Given, doc: str) -> GraphProto:
    """The graph of a step."""
    g, step = Boundary(of, 1), of.step
    streams, state = g.streams(), g.state()
    clocks = [t for c in of.plan.carries if c.role == "clock" for t in state[c.field]]
    streams += [Tensor(g.main.op("Cast", t.name, to=FLOAT), 1, ()) for t in clocks]
    old = [t for c in of.plan.carries if c.role != "clock" for t in state[c.field]]
    leaves = {"stream": streams, "old": old}
    values = g.values(g.main, {n: leaves[node.op][node.leaf.index] for n, node in enumerate(step.builder.nodes) if node.op in leaves}, {})
    outputs = [values.full(n, 1) for _, n in step.outputs]
    new: dict[str, list[Tensor]] = {c.field: [] for c in of.plan.carries}
    for c, n in zip(of.carries, step.updates, strict=True):
        new[c.field].append(values.full(n, 1))
    for c in of.plan.carries:
        if c.role == "clock":
            new[c.field] = [Tensor(g.main.op("Add", t.name, g.main.constant(1, np.int64)), 1, ()) for t in clocks]
    g.returns_all(outputs, new)
    return g.graph(f"{of.plan.cell.name}_step", doc)
