"""The table of functions: each row is whole, each line of the prelude is what its row says, and what a user sees of a function of the prelude is its call."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

import rnndsl
from rnndsl.checks.cell import Apply, Ref, Type
from rnndsl.checks.definitions import definition
from rnndsl.checks.dims import Dim
from rnndsl.checks.prelude import body_of
from rnndsl.checks.shapes.rules import RULES
from rnndsl.functions import COMPOUNDS, ENTRIES, FUNCTIONS, OPERATIONS, compounds
from tests.probe import applied, cell, needs_triton, probe

LANES = (Path(__file__).parents[1] / "rnndsl" / "runtime" / "cpp" / "lanes.h").read_text(encoding="utf-8")
SMOOTH = {
    "rsqrt": "rsqrt({0}^2 + 0.5)", "expm1": "expm1({0})", "log1p": "log1p({0}^2)", "erf": "erf({0})", "sinh": "sinh({0})", "cosh": "cosh({0})",
    "atan": "atan({0})", "mish": "mish({0})", "selu": "selu({0})", "gelu_exact": "gelu_exact({0})", "leaky_relu": "leaky_relu({0}, {1})",
    "hardsigmoid": "hardsigmoid({0}) * {0}^2", "hardtanh": "hardtanh({0}) * {0}", "clamp": "clamp({0}, {1} - 1, {1} + 1) * {0}",
}  # fmt: skip
BACKENDS = ["reference", "cpu", pytest.param("triton", marks=needs_triton)]


def test_importing_the_table_takes_nothing_large():
    code = "import sys, rnndsl.functions; print([m for m in ('sympy', 'torch', 'triton', 'lark', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_are_whole(name):
    row = FUNCTIONS[name]
    assert row.means and row.form.startswith(f"{name}(") and row.shape in {*RULES, "heads", "reshape", "split", "eye", "ones"}
    if row.shape == "elementwise" and not row.definition:
        assert row.number is not None and row.torch
        assert len(row.slopes) in (0, len(row.parameters)) and (row.slopes or row.formula or row.linear)
    if row.definition:
        assert not (row.slopes or row.formula or row.number or row.cpp or row.triton), "its definition says so"


@pytest.mark.parametrize("op", OPERATIONS)
def test_operations_of_kernels_have_functions(op):
    row = OPERATIONS[op]
    if "{" not in row.cpp and op not in ("neg", "+", "-", "*", "/", "re", "im", "conj"):
        assert f" {row.cpp or op}(" in LANES
    if row.triton.isidentifier():
        functions = pytest.importorskip("rnndsl.runtime.triton.functions")
        assert hasattr(functions, row.triton)


@pytest.mark.parametrize("name", COMPOUNDS)
def test_lines_of_the_prelude_have_the_type_of_their_row(name):
    row, h, n = COMPOUNDS[name], Dim.of("H"), Dim.of("N")
    assert tuple(p.id for p in definition(name).parameters) == row.parameters
    for t in (Type((), (h,)), Type((n,), (h,)), *([Type(), Type((n,)), Type((), (h, n))] if row.shape == "elementwise" else [])):
        for is_complex in (False, True) if row.domain == "any" else (False,):
            types = [Type(t.heads, t.axes, is_complex), *(Type() for _ in row.parameters[1:])]
            call = Apply(name, tuple(Ref(p, "input", u) for p, u in zip(row.parameters, types, strict=True)), RULES[row.shape](types))
            assert body_of(call).type == call.type


def test_rows_of_compounds_are_lines_of_the_prelude():
    assert {row.name for row in compounds.ROWS} <= set(COMPOUNDS)


CELL = "cell C(D, H):\n  input x: [D]\n  input y: [H]\n  input z: complex [H]\n  state h: [H]\n  param W: [H, D]\n  {0}\n  output h\n"


@pytest.mark.parametrize(
    ("line", "code", "title", "word"),
    [
        ("h[t] = clamp(h[t-1], 0, W @ x) + silu(x)", "shape-mismatch", "do not fit", None),
        ("h[t] = mod(h[t-1], x)", "shape-mismatch", "the shapes in `mod(h[t-1], x)` do not fit", "x"),
        ("h[t] = leaky_relu(y)", "arity", "`leaky_relu` takes 2 arguments", "leaky_relu(y)"),
        ("h[t] = h[t-1] + sum(layernorm(W))", "shape-mismatch", "`layernorm` does not take a matrix", "W"),
        ("h[t] = re(mish(z)) + h[t-1]", "complex", "`mish` takes real values", "z"),
        ("h[t] = re(erf(z)) + h[t-1]", "complex", "`erf` takes real values", "z"),
        ("h[t] = stop_gradient(z) + h[t-1]", "complex", "`stop_gradient` takes real values", "z"),
    ],
)
def test_errors_are_about_the_call(line, code, title, word):
    text = CELL.format(line)
    found = [d for d in rnndsl.check(text) if d.severity == "error"]
    assert found and found[0].code == code and title in found[0].title
    assert word is None or text[found[0].span.start : found[0].span.end] == word
    assert "prelude" not in rnndsl.render(found[0], rnndsl.Source("cell.rnn", text))


def test_new_names_are_known():
    assert "`clamp`" in str(rnndsl.check(CELL.format("h[t] = clip(y, 0, 1)"))[0].hints)


def test_calls_are_kept_where_pytorch_has_them_and_arguments_are_computed_once():
    text = rnndsl.compile(CELL.format("h[t] = 0.5 * h[t-1] + gelu(W @ x) + leaky_relu(W @ x, 0.1) + hardtanh(y) + 0 * re(z)"))
    assert 'F.gelu(' in text and "F.hardtanh(" in text and "torch.where(leaky_relu_v_wide > 0, leaky_relu_v_wide, 0.1 * leaky_relu_v_wide)" in text.replace("_1", "")


# Numbers and derivatives


@cache
def _points(count: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(7, dtype=torch.float64, generator=generator) for _ in range(count))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_second_derivatives_and_tangents(backend):
    text = cell(tuple(SMOOTH.values()))
    layer = rnndsl.load(text).P(H=3, dtype=torch.float64, backend=backend)
    x = torch.linspace(-1.4, 1.3, 6, dtype=torch.float64).reshape(1, 2, 3)
    given = (x.requires_grad_(), (0.3 + 0.1 * x.detach()).requires_grad_())
    state = tuple((x.detach()[:, 0] + 0.05 * k).requires_grad_() for k in range(len(SMOOTH)))

    def run(u: Tensor, v: Tensor, *s: Tensor) -> Tensor:
        y, _ = layer(u, v, state=s)
        return torch.stack(tuple(y)).sum(0)

    assert torch.autograd.gradcheck(run, (*given, *state), check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (*given, *state), fast_mode=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_stop_gradient(backend):
    """The value goes through, no gradient does, not even through an infinite slope; neither does a tangent."""
    u, v = torch.tensor([0.5, -2.0, 0.0], dtype=torch.float64), torch.tensor([1.0, 3.0, -1.0], dtype=torch.float64)
    text = cell(("stop_gradient({0} * {1})", "stop_gradient({0})^2 + {0}", "stop_gradient(sqrt(abs({0}))) + 0 * {1}"))
    whole, part, root = probe(text, backend, (u, v))
    assert torch.equal(whole[0], u * v) and not whole[1].any() and not whole[2].any()
    torch.testing.assert_close(part[:2], (u**2 + u, torch.ones_like(u)))
    torch.testing.assert_close(root[0], u.abs().sqrt())
    assert not root[1].any()


def test_a_solver_keeps_the_true_derivative():
    """Newton's Jacobian has the derivative that the backward pass leaves out."""
    text = "cell S(H):\n  input x: [H]\n  state h: [H]\n  h[t] = stop_gradient(0.9 * tanh(h[t-1])) + x\n  output h\n"
    page = str(rnndsl.explain(text))
    assert "tanh" in page.split("∂h[t]/∂h[t-1]")[1].splitlines()[0]
    layer = rnndsl.load(text).S(H=4, dtype=torch.float64, backend="reference")
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0][:, -1].sum(), x)
    assert torch.equal(gradient, torch.cat([torch.zeros(1, 2, 4), torch.ones(1, 1, 4)], 1).double())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "truth"), [("sinh", torch.sinh), ("cosh", torch.cosh), ("angle", torch.angle), ("rsqrt", torch.rsqrt)])
def test_functions_of_complex_values(backend, name, truth):
    z = torch.complex(torch.tensor([0.3, -1.2, 2.0, -0.7, 1e-3, 5.0, 0.0, -3.0]), torch.tensor([1.0, 0.4, -2.5, -0.1, 1e-4, 0.0, 1.5, 0.0])).to(torch.complex128)
    (found,) = probe(cell((applied(name, "{0}"),), "complex [H]"), backend, (z,))
    leaf = z.clone().requires_grad_()
    torch.testing.assert_close(found[0], truth(z).to(z.dtype))
    torch.testing.assert_close(found[1], torch.autograd.grad(truth(leaf).real.sum(), leaf)[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_angle_of_zero_has_no_gradient(backend):
    z = torch.zeros(3, dtype=torch.complex128)
    ((value, slope),) = probe(cell(("angle({0})",), "complex [H]"), backend, (z,))
    assert torch.equal(value, z) and torch.equal(slope, z)


def test_every_function_of_entries_is_reached_by_tests_of_functions():
    from tests.probe import ARITY

    assert set(ARITY) == set(ENTRIES) - {"neg"}
