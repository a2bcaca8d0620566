"""The functions that generated modules call: what the language defines and torch does not have as such.

All take and return tensors laid out as [..., heads, axes], are differentiable twice, and keep the dtype of their arguments.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rnndsl.runtime.dtypes import complex_of


def scalar(value: complex, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number as a tensor of no axes; a complex number is complex of the same precision."""
    return torch.full((), value, dtype=complex_of(dtype) if isinstance(value, complex) else dtype, device=device)


def fill(value: Tensor | complex, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A value broadcast to a shape, in a dtype. A number is made on the device: copying it there would wait for the device."""
    if not isinstance(value, Tensor):
        value = torch.full((), value, dtype=dtype, device=device)
    return value.to(device=device, dtype=dtype).expand(shape)


def cast_complex(x: Tensor) -> Tensor:
    """A real tensor as a complex one of the same precision."""
    return x if x.is_complex() else x.to(complex_of(x.dtype))


def imag(x: Tensor) -> Tensor:
    """The imaginary part; zero of real values. vmap has no rule for the lazy sign that a lazy conjugate leaves on it."""
    return x.resolve_conj().imag if x.is_complex() else torch.zeros_like(x)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), right to the last digits in float64 (torch's default cuts off at 20)."""
    return F.softplus(x, threshold=40.0)


def heaviside(x: Tensor) -> Tensor:
    """1 where x > 0, else 0."""
    return (x > 0).to(x.dtype)


def floor(x: Tensor) -> Tensor:
    """The whole number below. It has no derivative, rather than one of 0: what is inside may have an infinite one."""
    return torch.floor(x.detach())


def nearest(x: Tensor) -> Tensor:
    """The nearest whole number, of two the even one. It has no derivative, as `floor`."""
    return torch.round(x.detach())


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; 0 of NaN. It has no derivative, as `floor`."""
    return torch.sign(x.detach())


def mod(a: Tensor, b: Tensor) -> Tensor:
    """a - b floor(a / b), as it stands; the derivatives are 1 and -floor(a / b)."""
    return a - b * floor(a / b)


def logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) + exp(b)); its gradients stay finite where both are -inf."""
    same = (a == b) & torch.isinf(a)
    difference = torch.where(same, 0.0, a - b)
    return torch.maximum(a, b) + F.softplus(-difference.abs(), threshold=40.0)


def normalize(v: Tensor) -> Tensor:
    """v / sqrt(v·v + 1e-12), along the last axis."""
    return v / torch.sqrt(torch.sum(v * v, -1, keepdim=True) + 1e-12)


def layernorm(v: Tensor) -> Tensor:
    """(v - mean) / sqrt(variance + 1e-5), along the last axis."""
    return F.layer_norm(v, v.shape[-1:], eps=1e-5)


def rmsnorm(v: Tensor) -> Tensor:
    """v / sqrt(mean(v²) + 1e-5), along the last axis."""
    return v * torch.rsqrt(torch.mean(v * v, -1, keepdim=True) + 1e-5)


def matvec(matrix: Tensor, vector: Tensor) -> Tensor:
    """[..., m, n] times [..., n] to [..., m], leading axes broadcasting."""
    return torch.einsum("...ij,...j->...i", matrix, vector)


def vecmat(vector: Tensor, matrix: Tensor) -> Tensor:
    """[..., m] times [..., m, n] to [..., n], leading axes broadcasting."""
    return torch.einsum("...i,...ij->...j", vector, matrix)


def biased_product(x: Tensor, matrix: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """A product of a sequence and a param in a dtype, and a bias in its own, which is that of the result; `cpu.products` has kernels for large ones."""
    x, matrix = x.to(dtype), matrix.to(dtype)
    return F.linear(x, matrix, bias) if dtype == bias.dtype else F.linear(x, matrix).to(bias.dtype) + bias


def join_vectors(*vectors: Tensor) -> Tensor:
    """Vectors end to end along the last axis, leading axes broadcasting."""
    lead = torch.broadcast_shapes(*(v.shape[:-1] for v in vectors))
    return torch.cat([v.expand(*lead, v.shape[-1]) for v in vectors], -1)


def select(heads: Tensor, k: int) -> Tensor:
    """Slice `k`, counted from 1, of the leading axis."""
    return heads[int(k) - 1]


class _Surrogate(torch.autograd.Function):
    """The value of one function with the derivative of another."""

    generate_vmap_rule = True

    @staticmethod
    def forward(argument: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(inputs[2])
        ctx.save_for_forward(inputs[2])

    @staticmethod
    def backward(ctx, grad: Tensor):
        (slope,) = ctx.saved_tensors
        return grad * slope, None, None


class _SurrogateBothWays(_Surrogate):
    """In forward mode too, of which torch.compile traces no functions."""

    @staticmethod
    def jvp(ctx, argument_t: Tensor, value_t: Tensor, slope_t: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return argument_t * slope


def surrogate(argument: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """`value` going forward; going backward the derivative in `argument` is `slope`."""
    argument, value, slope = torch.broadcast_tensors(argument, value, slope)
    function = _Surrogate if torch.compiler.is_compiling() else _SurrogateBothWays
    return function.apply(argument, value.detach(), slope)


def draw_noise(
    name: str, args: tuple, shape: tuple[int, ...], training: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """A noise of the given shape: drawn from torch's generator in training, its mean elsewhere.

    bernoulli(p); normal(mean, std); uniform(lo, hi). Gradients flow through mean, std, lo and hi.
    Raises ValueError for a number that is no probability; PyTorch does for a tensor of them.
    """
    if name == "bernoulli" and not isinstance(args[0], Tensor) and not 0 <= args[0] <= 1:
        raise ValueError(f"bernoulli: a probability lies between 0 and 1, got {args[0]:g}")
    a, *rest = (fill(x, shape, dtype, device) for x in args)
    if name == "bernoulli":
        return torch.bernoulli(a) if training else a
    (b,) = rest
    if name == "normal":
        return a + b * torch.randn(shape, dtype=dtype, device=device) if training else a
    return a + (b - a) * torch.rand(shape, dtype=dtype, device=device) if training else (a + b) / 2


def _at_resets(reset: Tensor, value: Tensor) -> Tensor:
    """A mask [B, T] or [B] with axes of length one for the axes of `value` [B, T, ...] or [B, ...]."""
    return reset.reshape(reset.shape + (1,) * (value.dim() - reset.dim()))


def lagged(sequence: Tensor, first: Tensor, initial: Tensor, reset: Tensor | None) -> Tensor:
    """The sequence one step late.

    sequence: [B, T, ...]; first: [B, ...], what the first step sees; initial: [...], what a step with a reset sees; reset: bool [B, T].
    """
    first = _here(first, sequence)
    late = torch.cat([first.unsqueeze(1), sequence], 1)[:, : sequence.shape[1]]
    return late if reset is None else torch.where(_at_resets(reset, late), initial, late)


def _here(first: Any, sequence: Tensor) -> Tensor:
    """What the first step sees of a sequence one step late: a tensor, or what asks the rank before for it."""
    return first if isinstance(first, Tensor) else first.before(sequence)


def _apart(value: Tensor) -> Tensor:
    """The same value in memory of its own, every entry in its own place: a later change of what it was made of does not reach it."""
    return value.clone(memory_format=torch.contiguous_format)


def last(sequence: Tensor, before: Tensor) -> Tensor:
    """The last step of a sequence [B, T, ...], in memory of its own; `before` [B, ...] where T = 0."""
    before = _here(before, sequence)
    return _apart(sequence[:, -1] if sequence.shape[1] else before)


def expand_to(value: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A value broadcast to a full [B, T, heads, axes]; itself, rather than a view, where it is that: FSDP2 loses its hook where a view is changed in place."""
    value = value.to(dtype)
    asks = torch.compiler.is_compiling() or not torch.jit.is_tracing()  # which takes an answer for that of all sizes
    return value if asks and value.shape == shape else value.expand(shape)


def expand_own(value: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A value broadcast to a full [B, T, heads, axes], in memory of its own."""
    return _apart(value.to(dtype).expand(shape))


def clock(first: Tensor, reset: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
    """The number of each step since the start of its sequence, int64 [B, T], and the number that follows, [B].

    first: int64 [B], the number of the first step; a reset starts again from 0.
    """
    first = first if isinstance(first, Tensor) else first.count(reset, steps)  # of a shard, by what its ranks tell each other
    here = torch.arange(steps, device=first.device).expand(first.shape[0], steps)
    count = first.unsqueeze(1) + here
    if reset is not None and steps:
        at = torch.where(reset, here, -1).cummax(1).values
        count = torch.where(at >= 0, here - at, count)
    return count, last(count + 1, first)


def once(drawn: Tensor, state: Any) -> Tensor:
    """What is drawn once a sequence, as the first of its ranks has drawn it. state: what the first step sees."""
    return drawn if type(state) is tuple else state.once(drawn)


def _slices(sequence: Tensor, steps: int) -> Sequence[Tensor]:
    """The steps of a sequence [B, T, ...]. Not by `unbind` in a graph: where the backward pass reads a sequence and a slice of it, Inductor sees no alias
    and writes one into the memory of the other."""
    return [sequence.select(1, t) for t in range(steps)] if torch.compiler.is_compiling() else sequence.unbind(1)


def scan(
    step: Callable[..., tuple[Tensor, ...]],
    streams: Sequence[Tensor],
    carry: Sequence[Tensor],
    initial: Sequence[Tensor],
    reset: Tensor | None,
    keep: int,
    steps: int,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Runs `step(*carry, *streams)` over time; returns the first `keep` carried values of all steps and the last carry, each in memory of its own.

    streams: [B, T, ...] each; carry: [B, ...] each, what the first step sees; initial: [...] each, what a step with a reset sees.
    """
    sliced = [_slices(s, steps) for s in streams]
    masks = _slices(reset, steps) if reset is not None else None
    kept: list[list[Tensor]] = [[] for _ in range(keep)]
    for t in range(steps):
        if masks is not None:
            mask = masks[t]
            carry = tuple(torch.where(_at_resets(mask, c), i, c) for c, i in zip(carry, initial, strict=True))
        new = step(*carry, *(s[t] for s in sliced))
        carry = tuple(n.to(c.dtype).expand(c.shape) for n, c in zip(new, carry, strict=True))
        for values, value in zip(kept, carry, strict=False):
            values.append(value)
    stacked = tuple(torch.stack(v, 1) if v else _apart(c.unsqueeze(1)[:, :0]) for v, c in zip(kept, carry, strict=False))
    return stacked, tuple(_apart(c) for c in carry)
