"""Triton's sigmoid and tanh in float32 on a processor whose exp2 and rsqrt are off by as much as those of GPUs, over millions of points."""

import numpy
import pytest
import torch

triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")

from triton.runtime.interpreter import InterpreterBuilder  # noqa: E402

from rnndsl.runtime.triton.functions import sigmoid, tanh  # noqa: E402

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="takes Triton's interpreter")
BLOCK = 1 << 16


@triton.jit
def _apply(function: tl.constexpr, x, out, BLOCK: tl.constexpr):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + n, function(tl.load(x + n)))


def results(function, x: torch.Tensor) -> torch.Tensor:
    """Of as many points as are given."""
    whole = torch.nn.functional.pad(x, (0, -len(x) % BLOCK))
    out = torch.empty_like(whole)
    _apply[(len(whole) // BLOCK,)](function, whole, out, BLOCK)
    return out[: len(x)]


def shake(monkeypatch, name: str, truth, units: int, random: numpy.random.Generator) -> None:
    """Makes an operation of Triton's interpreter wrong in the last place, by up to so many units."""

    def shaken(self, arg):
        right = truth(arg.data.astype(numpy.float64)).astype(numpy.float32)
        bits = right.view(numpy.int32) + random.integers(-units, units + 1, right.shape, dtype=numpy.int32)
        exact = ~numpy.isfinite(right) | (right == 0)
        return type(arg)(numpy.where(exact, right, bits.view(numpy.float32)), arg.dtype.scalar)

    monkeypatch.setattr(InterpreterBuilder, name, shaken)


def points() -> torch.Tensor:
    spread = 2 * torch.randn(2_000_000, generator=torch.Generator().manual_seed(0))
    near = torch.logspace(-6, 0, 500_000, dtype=torch.float64)
    return torch.cat([torch.linspace(-30, 30, 2_000_001, dtype=torch.float64), spread.double(), near]).float()


BOUNDS = [(sigmoid, torch.sigmoid, 1.6e-7, None), (tanh, torch.tanh, 1.8e-7, 2.9e-7)]  # absolute, and relative


@pytest.mark.parametrize(("function", "truth", "absolute", "relative"), BOUNDS, ids=("sigmoid", "tanh"))
def test_accuracy_with_units_that_are_a_little_wrong(monkeypatch, function, truth, absolute, relative):
    """exp2 2 units in the last place off, rsqrt 1."""
    random = numpy.random.default_rng(0)
    shake(monkeypatch, "create_exp2", numpy.exp2, 2, random)
    shake(monkeypatch, "create_rsqrt", lambda v: 1 / numpy.sqrt(v), 1, random)
    x = points()
    got = results(function, x).double()
    want = truth(x.double())
    error = (got - want).abs()
    assert 1e-7 < error.max() <= absolute, "the noise is seen, and no more"
    if relative is not None:
        known = want != 0
        assert (error[known] / want[known].abs()).max() <= relative


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_ends_zeros_and_nan(dtype):
    """Signs of zeros too; arguments so large that an exponential overflows, and so small that it is 1."""
    huge, tiny = torch.finfo(dtype).max, torch.finfo(dtype).smallest_normal
    x = torch.tensor([0.0, tiny, 89.0, 128.0, 800.0, huge, torch.inf], dtype=dtype)
    x = torch.cat([x, -x, torch.tensor([torch.nan], dtype=dtype)])
    got = results(tanh, x)
    assert torch.equal(got.nan_to_num(7), torch.tanh(x).nan_to_num(7))
    assert torch.equal(got.signbit()[:-1], x.signbit()[:-1])
    torch.testing.assert_close(results(sigmoid, x), torch.sigmoid(x), equal_nan=True, rtol=1e-5, atol=1e-37)
