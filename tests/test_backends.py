"""A third backend, written here: no file of the package is touched for it."""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

import pytest
import torch

import rnndsl
from rnndsl import backends
from rnndsl.backends import NAMES, TABLE, Entry
from rnndsl.emit.carried import Carried
from rnndsl.emit.labels import labels_of
from rnndsl.runtime import recurrence
from rnndsl.runtime.backend import BACKENDS, Backend, Plan
from rnndsl.runtime.kernels import KernelText
from rnndsl.runtime.key import Key, made_of
from rnndsl.runtime.plain import reference_of

CELL = """
cell Gated(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param a: [H]
  z = sigmoid(a * h[t-1])
  h[t] = (1 - z) * h[t-1] + z * tanh(W @ x)
  output h, y = 2 * h[t]
"""
AFFINE = """
cell Carried(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param a: [H]
  h[t] = a * h[t-1] + W @ x
  output h, y = 2 * h[t]
"""


class Looped(Backend):
    """Without kernels of its own: a loop over time around the step that every generated class has."""

    name = "looped"
    devices = ("cpu",)

    def __init__(self):
        self.ran: list[str] = []

    def refusal(self, cls):
        return "it has more than one recurrence" if len(cls._states) > 1 else None

    def misplaced(self, device):
        return None if device.type == "cpu" else f"'looped' runs on a CPU, but the inputs are on {device}"

    def chosen(self, cls, name):
        return self.refusal(cls) is None

    def run(self, layer, name, call, kind):
        self.ran.append(name)
        streams = getattr(layer, f"_enter_{name}")(kind, *call.streams, *call.statics)
        carry, kept = call.first, []
        for t in range(call.steps):
            if call.reset is not None:
                carry = tuple(torch.where(call.reset[:, t].view(-1, *(1 for _ in i.shape)), i, c) for c, i in zip(carry, call.initial, strict=True))
            carry = getattr(layer, f"_step_{name}")(kind, *carry, *(s[:, t] for s in streams), *call.statics)
            kept.append(carry[: len(layer._states[name])])
        return tuple(torch.stack(s, 1) for s in zip(*kept, strict=True)), carry, ()

    def plan_for(self, layer, name, batch, steps, kind):
        return Plan(name, self.name, "sequential", f"a loop of {steps} steps")

    def report(self, layer):
        return tuple(f"{name}: looped" for name in self.ran)


@pytest.fixture
def looped(monkeypatch):
    backend = Looped()
    monkeypatch.setitem(BACKENDS, backend.name, backend)
    return backend


def same_layers(cls, **settings):
    torch.manual_seed(0)
    layer = cls(D=3, H=4, dtype=torch.float64, **settings)
    torch.manual_seed(0)
    return layer, cls(D=3, H=4, dtype=torch.float64, backend="reference")


def gradients_of(layer, x, reset):
    y, state = layer(x, reset=reset)
    found = torch.autograd.grad(sum(v.square().sum() for v in (*y, *state)), [x, *layer.parameters()])
    return [*y, *state, *found]


def assert_same(layer, reference):
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    reset = torch.rand(2, 5) < 0.3
    for a, b in zip(gradients_of(layer, x, reset), gradients_of(reference, x, reset), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    return x


def test_a_backend_without_kernels(looped):
    layer, reference = same_layers(rnndsl.load(CELL).Gated, backend="looped")
    x = assert_same(layer, reference)
    assert looped.ran == ["h"] and layer.solve_report() == ("h: looped",)
    (plan,) = layer.plan_for(x)
    assert str(plan) == "h: sequential on looped; a loop of 5 steps\n  nonlinear, diagonal, 1 slot"
    with torch.no_grad():
        y, _ = layer.step(x[:, 0], layer.initial_state(2))
        torch.testing.assert_close(y.h, layer(x)[0].h[:, 0])


def test_auto_asks_backends_in_their_order(looped, monkeypatch):
    monkeypatch.delenv("RNNDSL_BACKEND")
    layer, _ = same_layers(rnndsl.load(CELL).Gated)
    x = torch.randn(2, 5, 3)
    monkeypatch.setattr(BACKENDS["cpu"], "devices", ())
    layer(x)
    assert looped.ran == ["h"]
    monkeypatch.setattr(looped, "devices", ("cuda",))
    layer(x)
    assert looped.ran == ["h"] and layer.plan_for(x)[0].backend == "reference"


def test_what_a_backend_refuses_is_raised_in_its_words(looped):
    two = rnndsl.load("cell Two(H):\n input x: [H]\n state a, b: [H]\n a[t] = tanh(a[t-1] + x)\n b[t] = tanh(b[t-1] * a[t])\n output b\n").Two
    with pytest.raises(ValueError, match="'looped' cannot run this cell: it has more than one recurrence; use 'auto' or 'reference'"):
        two(H=2, backend="looped")
    with pytest.raises(ValueError, match="backend: expected one of auto, reference, cpu, triton, torch, looped, got 'loop'"):
        two(H=2, backend="loop")
    layer = rnndsl.load(CELL).Gated(D=3, H=4, backend="looped", device="meta")
    with pytest.raises(ValueError, match="'looped' runs on a CPU, but the inputs are on meta; use 'auto'"):
        layer(torch.ones(1, 2, 3, device="meta"))
    assert list(BACKENDS) == ["reference", *NAMES, "looped"]


# One that a module carries something for


@dataclass(frozen=True)
class Said(KernelText):
    COMMENT: ClassVar[str] = "#"
    source: str = ""
    is_affine: bool = False


@dataclass(frozen=True)
class Affine:
    """h[t] = a * h[t-1] + u[t], with a derivative by hand; see `recurrence.Runnable`."""

    reference: object
    forms = ((1,), (1,), (1,))
    lags = (1,)
    follows = ()

    def cast(self, t, is_stream):
        return t

    def before(self, call, t, h):
        """What a step sees, of the value of the step before."""
        return h if call.reset is None else torch.where(call.reset[:, t, None], call.initial[0], h)

    def forward(self, call):
        (u,), (a,), h, kept = call.streams, call.statics, call.first[0], []
        for t in range(call.steps):
            h = a * self.before(call, t, h) + u[:, t]
            kept.append(h)
        return [torch.stack(kept, 1), h.clone()]

    def backward(self, call, sequences, grads, wanted):
        (h,), (a,), (first,) = sequences, call.statics, call.first
        dh, dlast = (torch.zeros_like(v) if g is None else g for g, v in zip(grads, (h, first), strict=True))
        carried, du, da, dinitial = dlast, torch.empty_like(h), torch.zeros_like(a), torch.zeros_like(a)
        for t in reversed(range(call.steps)):
            g = dh[:, t] + carried
            du[:, t], da = g, da + (g * self.before(call, t, h[:, t - 1] if t else first)).sum(0)
            carried = a * g
            if call.reset is not None:
                at = call.reset[:, t, None]
                dinitial, carried = dinitial + torch.where(at, carried, 0.0).sum(0), torch.where(at, 0.0, carried)
        return [du, da, carried, dinitial]


class Carrying(Backend):
    """Runs affine recurrences, where the module says that one is."""

    name = "carrying"

    def carried(self, **said):
        return Said(**said)

    def refusal(self, cls):
        return None if cls._kernels[self.name].is_affine else "its recurrence is not affine"

    def run(self, layer, name, call, kind):
        return recurrence.run(_key(layer, name, kind["dtype"]), call)

    def plan_for(self, layer, name, batch, steps, kind):
        return Plan(name, self.name, "sequential", "as the module says")

    def made(self, key):
        return Affine(reference_of(key.cls, key.name, Affine.forms, Affine.lags, key.sizes, key.hypers, key.dtype))


@torch.compiler.assume_constant_result
def _key(layer, name, dtype):
    key = Key.text_of("carrying", made_of(layer), name, dtype)
    recurrence.known(key)
    return key


def carried(kernels, source):
    plan, (r,) = kernels.plan, kernels.recurrences
    return Carried(f"The recurrence {labels_of(plan)[r.recurrence.scan.states]}, carried", {"is_affine": plan.cell.name == "Carried"}, "# nothing\nrun\n")


def test_a_backend_for_which_modules_carry_something(monkeypatch):
    """Its line in the table, its emitter, and what runs it: gradients of every order, torch.compile and torch.func follow."""
    emitter = ModuleType("third_emitter")
    emitter.carried = carried  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "third_emitter", emitter)
    monkeypatch.setattr(backends, "TABLE", (*TABLE, Entry("carrying", "third_emitter", "third_runtime")))
    monkeypatch.setitem(BACKENDS, "carrying", Carrying())
    text = rnndsl.compile(AFFINE)
    assert '# Carried: the recurrence h, carried.\nbind_kernels(\n    Carried,\n    "carrying",\n    is_affine=True,\n' in text
    assert 'source=r"""\n# nothing\nrun\n""",\n)\n' in text
    module = ModuleType("third")
    monkeypatch.setitem(sys.modules, "third", module)
    exec(compile(text, "third.py", "exec"), module.__dict__)
    cls = module.Carried
    assert cls._kernels["carrying"].source == "\n# nothing\nrun\n" and set(cls._kernels) == {*NAMES, "carrying"}
    layer, reference = same_layers(cls, backend="carrying")
    x = assert_same(layer, reference)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x)[0].h, reference(x)[0].h)
    total = torch.func.vmap(torch.func.grad(lambda x: layer(x)[0].y.sum()))
    torch.testing.assert_close(total(torch.stack([x, x]))[1], torch.autograd.grad(reference(x)[0].y.sum(), x)[0])
