"""What PyTorch asks of the two ops beside their numbers: derivatives of every order, backwards and forwards, and vmap.

First derivatives backwards are kernels. All others are those of the recurrence in plain PyTorch.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._functorch.autograd_function import VmapInfo
from torch.autograd import forward_ad

from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import without_autocast
from rnndsl.runtime.lags import kept

Function = Callable[..., tuple[Tensor, ...]]


class Site(NamedTuple):
    """A call of the op `rnndsl::recurrence`, but for its tensors. kernels: what `key` names, a `recurrence.Runnable`; counts: how many streams,
    statics, first and initial values there are. These follow one another wherever a function here takes `inputs`."""

    key: str
    kernels: Any
    counts: tuple[int, ...]
    steps: int

    @property
    def kept(self) -> int:
        """How many sequences come out, before the other results."""
        return kept(self.kernels.lags)

    @property
    def saved(self) -> int:
        """How many arrays come out behind the results, for the gradients alone. They have no derivatives."""
        return len(getattr(self.kernels, "saves", ()))

    def results(self, found: Sequence[Any]) -> Sequence[Any]:
        """The results, without what is saved."""
        return found[: len(found) - self.saved]

    @property
    def by_rows(self) -> list[bool]:
        """Of each input, whether it has a row for each sequence, rather than one for all: streams and first values have."""
        return [n in (0, 2) for n, count in enumerate(self.counts) for _ in range(count)]

    @property
    def inputs(self) -> int:
        """How many inputs there are. Behind them may stand a guess of the states, which has no part in derivatives."""
        return sum(self.counts)

    def grouped(self, inputs: Sequence[Tensor]) -> list[list[Tensor]]:
        left = iter(inputs)
        return [list(itertools.islice(left, n)) for n in self.counts]

    def plain(self, inputs: Sequence[Tensor], reset: Tensor | None) -> tuple[Tensor, ...]:
        """The results in plain PyTorch."""
        streams, statics, first, initial = self.grouped(inputs)
        return tuple(itertools.chain.from_iterable(self.kernels.reference(Call(streams, statics, first, initial, reset, self.steps))))

    def plain_gradients(self, inputs: Sequence[Tensor], reset: Tensor | None, grads: Sequence[Tensor | None], wanted: Sequence[bool]) -> tuple[Tensor, ...]:
        """The gradients of the inputs that are wanted, in plain PyTorch."""

        def given(*inputs: Tensor) -> tuple[Tensor, ...]:
            return tuple(o for o, g in zip(self.plain(inputs, reset), grads, strict=True) if g is not None)

        return pulled_back(given, inputs, wanted, [g for g in grads if g is not None])


class Recurrence(torch.autograd.Function):
    """The op `rnndsl::recurrence`: a call, its reset, its inputs and perhaps a guess of its states to its results."""

    @staticmethod
    def forward(site: Site, reset: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            guess = list(tensors[site.inputs :]) or None
            return tuple(torch.ops.rnndsl.recurrence(site.key, *site.grouped(tensors), reset, site.steps, guess, site.saved > 0))

    @staticmethod
    def setup_context(ctx: Any, arguments: tuple, results: tuple[Tensor, ...]) -> None:
        ctx.site, *given = arguments
        ctx.guesses = len(given) - 1 - ctx.site.inputs
        given = given[: 1 + ctx.site.inputs]
        saved = results[len(ctx.site.results(results)) :]
        ctx.mark_non_differentiable(*saved)
        ctx.save_for_backward(*given, *results[: ctx.site.kept], *saved)
        ctx.save_for_forward(*given)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        site = ctx.site
        wanted = ctx.needs_input_grad[2 : 2 + site.inputs]
        reset, *saved = ctx.saved_tensors
        inputs, sequences = saved[: len(wanted)], saved[len(wanted) :]
        found = torch.ops.rnndsl.recurrence_backward(site.key, *site.grouped(inputs), reset, site.steps, sequences, site.results(grads), wanted)
        return None, None, *_put(found, wanted), *[None] * ctx.guesses

    @staticmethod
    def jvp(ctx: Any, _site: None, _reset: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        reset, *inputs = ctx.saved_tensors
        found = _pushed_forward(lambda *inputs: ctx.site.plain(inputs, reset), inputs, tangents[: len(inputs)])
        return *found, *[None] * ctx.site.saved

    @staticmethod
    def vmap(info: Any, axes: tuple, site: Site, *tensors: Tensor | None) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        by_rows = [True, *site.by_rows, *(True for _ in tensors[1 + site.inputs :])]
        return _over(info.batch_size, lambda *tensors: Recurrence.apply(site, *tensors), tensors, axes[1:], by_rows, True)


class Gradient(torch.autograd.Function):
    """The op `rnndsl::recurrence_backward`: a call, which inputs' gradients are wanted, reset, inputs, sequences and the gradients of the results
    to these gradients. The sequences, and what is saved behind them, are what the inputs make of them, so no derivative goes by them."""

    @staticmethod
    def forward(site: Site, wanted: tuple[bool, ...], reset: Tensor | None, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        inputs, sequences, grads = _apart(site, tensors)
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(torch.ops.rnndsl.recurrence_backward(site.key, *site.grouped(inputs), reset, site.steps, sequences, grads, wanted))

    @staticmethod
    def setup_context(ctx: Any, arguments: tuple, results: tuple[Tensor, ...]) -> None:
        ctx.site, ctx.wanted, *given = arguments
        ctx.save_for_backward(*given)
        ctx.save_for_forward(*given)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        reset, *tensors = ctx.saved_tensors
        inputs, sequences, seeds = _apart(ctx.site, tensors)
        needed = ctx.needs_input_grad[3:]
        needed = [*needed[: len(inputs)], *needed[len(inputs) + len(sequences) :]]

        def given(*values: Tensor | None) -> tuple[Tensor, ...]:
            found = ctx.site.plain_gradients(values[: len(inputs)], reset, values[len(inputs) :], ctx.wanted)
            return tuple(o for o, g in zip(found, grads, strict=True) if g is not None)

        found = _put(pulled_back(given, [*inputs, *seeds], needed, [g for g in grads if g is not None]), needed)
        return None, None, None, *found[: len(inputs)], *(None for _ in sequences), *found[len(inputs) :]

    @staticmethod
    def jvp(ctx: Any, _site: None, _wanted: None, _reset: None, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        reset, *tensors = ctx.saved_tensors

        def given(*tensors: Tensor | None) -> tuple[Tensor, ...]:
            inputs, _, seeds = _apart(ctx.site, tensors)
            return ctx.site.plain_gradients(inputs, reset, seeds, ctx.wanted)

        return _pushed_forward(given, tensors, tangents)

    @staticmethod
    def vmap(info: Any, axes: tuple, site: Site, wanted: tuple[bool, ...], *tensors: Tensor | None) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        by_rows = [True, *site.by_rows, *(True for _ in tensors[1 + len(wanted) :])]
        alone = all(by for by, is_wanted in zip(site.by_rows, wanted, strict=True) if is_wanted)
        return _over(info.batch_size, lambda *tensors: Gradient.apply(site, wanted, *tensors), tensors, axes[2:], by_rows, alone)


def _apart(site: Site, tensors: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """Inputs, sequences, and gradients of results, which stand one behind the other."""
    behind = site.inputs + site.kept + site.saved
    return tensors[: site.inputs], tensors[site.inputs : behind], tensors[behind:]


def _put(values: Sequence[Tensor], where: Sequence[bool]) -> list[Tensor | None]:
    """Values at the places that are true, None at the others."""
    left = iter(values)
    return [next(left) if here else None for here in where]


def _in_plain_torch(rule: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
    """A rule that computes by torch's operations, in the dtypes of what it is given: autocast around a backward pass has no part in it."""

    @functools.wraps(rule)
    def plainly(function: Function, values: Sequence[Any], *rest: Any) -> tuple[Tensor, ...]:
        with without_autocast(next(v.device for v in values if v is not None)):
            return rule(function, values, *rest)

    return plainly


@_in_plain_torch
def pulled_back(function: Function, values: Sequence[Any], wanted: Sequence[bool], grads: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of a function in the values that are wanted, from those of its results. They are taken at values of their own, so that they
    go by no other way than through the function, however the values were made of one another."""
    if not grads:
        return tuple(torch.zeros_like(v) for v in itertools.compress(values, wanted))

    def of_wanted(*some: Tensor) -> tuple[Tensor, ...]:
        return function(*(v if s is None else s for v, s in zip(values, _put(some, wanted), strict=True)))

    if torch._C._are_functorch_transforms_active():  # within these, `requires_grad_` is forbidden
        back = torch.func.vjp(of_wanted, *itertools.compress(values, wanted))[1]
        return back(tuple(grads))
    with torch.enable_grad():
        own = [v.view_as(v) for v in itertools.compress(values, wanted)]
        results = of_wanted(*(v if v.requires_grad else v.requires_grad_() for v in own))
    pairs = [(o, g) for o, g in zip(results, grads, strict=True) if o.requires_grad]
    if not pairs:
        return tuple(torch.zeros_like(v) for v in own)
    return torch.autograd.grad([o for o, _ in pairs], own, [g for _, g in pairs], create_graph=torch.is_grad_enabled(), materialize_grads=True)


@_in_plain_torch
def _pushed_forward(function: Function, values: Sequence[Any], tangents: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """The tangents of a function's results, from those of values."""
    with forward_ad._set_fwd_grad_enabled(True):
        plain = [v if v is None else forward_ad.unpack_dual(v).primal for v in values]
        found = function(*(v if d is None else forward_ad.make_dual(v, d) for v, d in zip(plain, tangents, strict=True)))
        pairs = [forward_ad.unpack_dual(o) for o in found]
        return tuple(torch.zeros_like(p.primal) if p.tangent is None else p.tangent for p in pairs)


def _over(
    n: int, function: Function, tensors: Sequence[Tensor | None], axes: Sequence[int | None], by_rows: Sequence[bool], alone: bool
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """A function over a further axis of length n of some tensors, and where the results have it.

    by_rows: which tensors have a row for each sequence; where only these have the axis, and each result has rows too (`alone`), the axis goes into
    that of the rows. Else the function is called n times.
    """
    moved = [t if t is None or axis is None else t.movedim(axis, 0) for t, axis in zip(tensors, axes, strict=True)]
    if alone and all(by or axis is None for by, axis in zip(by_rows, axes, strict=True)):

        def folded(t: Tensor | None, axis: int | None) -> Tensor | None:
            return t if t is None else (t.expand(n, *t.shape) if axis is None else t).flatten(0, 1)

        (rows, *_) = (t.shape[0 if axis is None else 1] for t, axis, by in zip(moved, axes, by_rows, strict=True) if by and t is not None)
        found = function(*(folded(t, axis) if by else t for t, axis, by in zip(moved, axes, by_rows, strict=True)))
        whole = tuple(o.unflatten(0, (n, rows)) for o in found)
    else:
        # of nothing, a call with zeros has the shapes
        given = moved if n else [t if t is None or axis is None else t.new_zeros((1, *t.shape[1:])) for t, axis in zip(moved, axes, strict=True)]
        each = [function(*(t if t is None or axis is None else t[i] for t, axis in zip(given, axes, strict=True))) for i in range(max(1, n))]
        whole = tuple(torch.stack(o)[:n] for o in zip(*each, strict=True))
    return whole, (0,) * len(whole)


def over_grads(rule: Callable[..., tuple[tuple[Tensor, ...], Any]], *arguments: Any) -> list[Tensor]:
    """What a rule for vmap says of arguments with an axis from PyTorch's older vmap, by which `torch.autograd.grad` takes `is_grads_batched`."""
    innermost = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    for level in range(innermost, 0, -1):
        # a tensor without an axis of that level gets one of the length that is asked for
        whole = [torch._remove_batch_dim(a, level, 0, 0) if isinstance(a, Tensor) else None for a in arguments]
        axes = tuple(None if w is None or w.shape[0] == 0 else 0 for w in whole)
        lengths = [w.shape[0] for w, axis in zip(whole, axes, strict=True) if w is not None and axis is not None]
        if lengths:
            given = (a if axis is None else w for a, w, axis in zip(arguments, whole, axes, strict=True))
            found, _ = rule(VmapInfo(lengths[0], "error"), axes, *given)
            return [torch._add_batch_dim(o, 0, level) for o in found]
    raise RuntimeError("a tensor of torch.autograd.grad(is_grads_batched=True) was used after that call")


def one_by_one(backward: Callable[..., tuple]) -> Callable[..., tuple]:
    """The `backward` of an autograd Function, called for each gradient of `torch.autograd.grad(is_grads_batched=True)` alone: PyTorch's older vmap lacks
    some of the operations that it is made of."""

    @functools.wraps(backward)
    def looped(ctx: Any, *grads: Tensor | None) -> tuple:
        if not any(g is not None and torch._C._functorch.is_legacy_batchedtensor(g) for g in grads):
            return backward(ctx, *grads)
        there: list[bool] = []

        def rule(info: Any, axes: tuple, *grads: Any) -> tuple[tuple[Tensor, ...], Any]:
            each = [backward(ctx, *(g if axis is None else g[i] for g, axis in zip(grads, axes, strict=True))) for i in range(info.batch_size)]
            there[:] = [o is not None for o in each[0]]
            return tuple(torch.stack([o[n] for o in each]) for n, here in enumerate(there) if here), None

        return tuple(_put(over_grads(rule, *grads), there))

    return looped
