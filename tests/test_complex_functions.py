"""Functions of complex values in kernels, over all magnitudes and angles, against complex128 in PyTorch."""

import math

import pytest
import torch
from torch import Tensor

from tests.probe import cell, needs_triton, probe

# Relative to the modulus of the result (of a derivative: of the derivative), in units of the type's precision. A power magnifies the
# error of the logarithm by its exponent; a logarithm of tiny and huge values is about 90 in float32, 700 in float64.
FUNCTIONS: dict[str, tuple[str, float]] = {
    "abs": ("abs({0})", 4),
    "reciprocal": ("1 / {0}", 16),
    "quotient": ("(0.6 + 0.8j) / {0}", 16),
    "quotient by a number": ("{0} / (0.6 - 0.8j)", 16),
    "half": ("{0} / 2", 4),
    "sqrt": ("sqrt({0})", 16),
    "root": ("{0}^0.5", 16),
    "modrelu": ("{0} * (relu(abs({0}) - 0.1 * abs({0})) / (abs({0}) + 1e-30))", 64),
}
OF_A_LOGARITHM: dict[str, tuple[str, float]] = {
    "log": ("log({0})", 16),
    "power": ("{0}^(1/3)", 2000),
    "inverse square root": ("{0}^-0.5", 2000),
}
EXPONENTIALS: dict[str, tuple[str, float]] = {"exp": ("exp({0})", 400)}
PRECISION = {torch.complex64: 2.0**-23, torch.complex128: 2.0**-52}


def points(dtype: torch.dtype) -> Tensor:
    """Values of all magnitudes at all angles, on the axes and beside them."""
    most = 37 if dtype == torch.complex64 else 300
    sizes = torch.tensor([10.0**e for e in (*range(-most, most + 1, most // 6), -3, -1, 0, 1)], dtype=torch.float64)
    near = [s * a + d for a in (0, math.pi / 2, math.pi, -math.pi / 2) for d in (1e-2, 1e-3, 1e-4, -1e-4, 1e-6) for s in (1,)]
    angles = torch.tensor([*near, 0.3, 1.1, 2.0, -0.7, -2.9], dtype=torch.float64)
    z = torch.polar(*torch.broadcast_tensors(sizes[:, None], angles)).flatten()
    axes = torch.cat([torch.complex(sizes, 0 * sizes), torch.complex(-sizes, 0 * sizes), torch.complex(0 * sizes, sizes), torch.complex(0 * sizes, -sizes)])
    return torch.cat([z, axes]).to(dtype)


def compare(formulas: dict[str, tuple[str, float]], backend: str, z: Tensor) -> None:
    text = cell(tuple(f for f, _ in formulas.values()), "complex [H]")
    want = probe(text, "reference", (z.to(torch.complex128),))
    smallest = torch.finfo(z.dtype).tiny
    largest = torch.finfo(z.dtype).max
    wrong = []
    for (name, (_, bound)), values, exact in zip(formulas.items(), probe(text, backend, (z,)), want, strict=True):
        for what, a, b in zip(("value", "slope"), values, exact, strict=True):
            inside = (b.abs() > 16 * smallest) & (b.abs() < largest / 4)  # what the type can hold
            error = (a.to(torch.complex128) - b).abs() / b.abs() / PRECISION[z.dtype]
            for i in (inside & ~(error <= bound)).nonzero().flatten().tolist()[:3]:
                wrong.append(f"{name}: {what} at {z[i].item()} is {a[i].item()}, not {b[i].item()}: {error[i].item():.3g} units")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("backend", ["cpu", pytest.param("triton", marks=needs_triton)])
def test_all_magnitudes_and_angles(backend, dtype):
    compare(FUNCTIONS, backend, points(dtype))


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("backend", ["cpu", pytest.param("triton", marks=needs_triton)])
def test_logarithms_and_powers(backend, dtype):
    compare(OF_A_LOGARITHM, backend, points(dtype))


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("backend", ["cpu", pytest.param("triton", marks=needs_triton)])
def test_exponentials(backend, dtype):
    """Up to where the size of the result overflows, though the real exponential would do so before."""
    most = 89.0 if dtype == torch.complex64 else 709.9
    a = torch.linspace(-most, most, 41, dtype=torch.float64)
    b = torch.tensor([0.0, 1e-4, 1.0, 1.5, 3.1, -2.0], dtype=torch.float64)
    compare(EXPONENTIALS, backend, torch.complex(*torch.broadcast_tensors(a[:, None], b)).flatten().to(dtype))


@pytest.mark.parametrize("backend", ["cpu", pytest.param("triton", marks=needs_triton)])
def test_a_modulus_of_zero(backend):
    """Its derivative is 0, as PyTorch's."""
    z = torch.zeros(3, dtype=torch.complex64)
    ((value, slope),) = probe(cell(("abs({0})",), "complex [H]"), backend, (z,))
    assert torch.equal(value, z) and torch.equal(slope, z)
