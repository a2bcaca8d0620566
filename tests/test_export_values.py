"""What every export of a layer begins with: its step as evaluation has it, and the values that it holds."""

import torch

import rnndsl
from rnndsl.compiler import compiled
from rnndsl.diagnostics import Source
from rnndsl.export.evaluation import evaluation
from rnndsl.export.step import planned_step
from rnndsl.export.values import values_of
from rnndsl.kernel.verify import verify
from rnndsl.plan.build import make_plan

CELL = """
cell Parts(D, H, L, dt = 0.5):
  input x: [D]
  state h, g: [H] = c
  param A: [H, H]
  param B: [L; H, D]
  param c: [H]
  param tau: [H] > 0
  noise m: [H] ~ uniform(0.2, 0.4)
  noise n: [] ~ bernoulli(dt / 2)
  E = expm(dt * A)
  s = tau
  repeat k in 1..L:
    s = s * E @ s
  end
  v = s * m
  repeat k in 1..L:
    v = tanh(v + B[k] @ x[t-1])
  end
  g[t] = 0.9 * g[t-1] + n * v
  h[t] = E @ h[t-1] + g[t]
  output h
"""


def test_constants_are_what_the_plan_computes_once_a_call():
    source = Source("parts.rnn", CELL)
    layer = rnndsl.load(CELL).Parts(D=2, H=3, L=2, dtype=torch.float64)
    plan = make_plan(evaluation(compiled(source).program.cells[0], layer._sizes))
    values, initial = values_of(layer, plan, source)
    e = torch.linalg.matrix_exp(0.5 * layer.A)
    s = layer.tau
    for _ in range(2):
        s = s * (e @ s)
    found = {name: t for name, t in values.items() if name not in layer._tensors}
    assert any(torch.equal(t, e) for t in found.values()) and any(torch.allclose(t, s * 0.3) or torch.allclose(t, s) for t in found.values())
    assert [tuple(t.shape) for t in initial] == [(3,), (3,), (2,)] and torch.equal(initial[0], layer.c)
    step = planned_step(plan, unroll=True)
    verify(step.builder.nodes, "the step")
    assert {a.name for a in step.statics} <= values.keys()
    assert not {n.op for n in step.builder.nodes} & {"loop", "round", "counter"} and len(step.outputs) == 1
    assert [a.name for a, _ in step.carries] == ["h", "g", "x"]


def test_conjugates_of_params_are_exported(tmp_path):
    """PyTorch's are lazy, and NumPy does not take their parts."""
    text = "cell A(H):\n  input z: complex [H]\n  state h: complex [H] = conj(p)\n  param p: complex [H]\n  param W: complex [H, H]\n  h[t] = conj(p) * h[t-1] + conj(W) @ z\n  output h\n"
    layer = rnndsl.load(text).A(H=2)
    rnndsl.export_onnx(layer, tmp_path)
    rnndsl.export_c(layer, tmp_path / "a.h")
