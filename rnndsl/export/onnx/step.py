"""The model of one step: inputs and state [batch, ...] to outputs and new state."""

import numpy as np
from onnx import GraphProto

from rnndsl.export.onnx.boundary import Boundary, Outside
from rnndsl.export.onnx.given import Given
from rnndsl.export.onnx.values import Tensor
from rnndsl.export.onnx.writer import FLOAT

Named = dict[str, list[Tensor]]  # real arrays, one or two a name


def step_graph(of: Given, doc: str) -> GraphProto:
    """The graph of a step of a layer."""
    g = Boundary(of, Outside(1))
    outputs, new = one_step(g, g.streams(), g.state())
    for name, parts in outputs.items():
        g.outside.returns(f"output.{name}", parts, 1)
    g.returns_state(new)
    return g.outside.graph(f"{of.plan.cell.name}_step", doc)


def one_step(g: Boundary, streams: Named, state: Named) -> tuple[Named, Named]:
    """Outputs and new state of a layer."""
    of, step = g.of, g.of.step
    clocks = [t for c in of.plan.carries if c.role == "clock" for t in state[c.field]]
    real = [t for name in of.inputs for t in streams[name]] + [Tensor(g.main.op("Cast", t.name, to=FLOAT), 1, ()) for t in clocks]
    old = [t for c in of.plan.carries if c.role != "clock" for t in state[c.field]]
    leaves = {"stream": real, "old": old}
    values = g.values(g.main, {n: leaves[node.op][node.leaf.index] for n, node in enumerate(step.builder.nodes) if node.op in leaves}, {})
    outputs = iter([values.full(n, 1) for _, n in step.outputs])
    new: Named = {c.field: [] for c in of.plan.carries}
    for c, n in zip(of.carries, step.updates, strict=True):
        new[c.field].append(values.full(n, 1))
    for c in of.plan.carries:
        if c.role == "clock":
            new[c.field] = [Tensor(g.main.op("Add", t.name, g.main.constant(1, np.int64)), 1, ()) for t in clocks]
    return {name: [next(outputs) for _ in range(1 + t.is_complex)] for name, t in of.outputs.items()}, new
