"""What is asked of the arguments of a constructor, and of a call: shapes, dtypes, devices. Errors are in the words of the cell."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnndsl.runtime.dtypes import NUMBERS, cast_to, complex_of, is_narrower
from rnndsl.runtime.sizes import axes_text


def check_dense(name: str, value: Any) -> None:
    """Raises TypeError for what is no tensor of entries in a row: sparse ones and their like have no recurrence, and of a DTensor only a part is here."""
    if not isinstance(value, Tensor):
        hint = "; rnndsl.nn.Recurrent takes one" if isinstance(value, PackedSequence) else ""
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}{hint}")
    if hasattr(value, "placements"):
        raise TypeError(f"{name}: expected a plain tensor, got a {type(value).__name__}; a layer takes one that is Shard(1) over the ranks of group=, anything takes its to_local()")
    if value.layout is not torch.strided or value.is_nested or value.is_quantized:
        kind = "a nested one" if value.is_nested else "a quantized one" if value.is_quantized else f"one of layout {value.layout}"
        hint = "; rnndsl.nn.Recurrent takes sequences of different lengths, by lengths= or cu_seqlens=" if value.is_nested else ""
        raise TypeError(f"{name}: expected a dense tensor, got {kind}{hint}")


OF_STACKS = frozenset(("num_layers", "bidirectional", "dropout", "batch_first"))


def with_hints(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor whose complaints of arguments that it does not have say which it has."""
    signature = inspect.signature(init)
    own = [p for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    header = ", ".join(f"{p.name}=" if p.default is p.empty else f"{p.name}={p.default!r}" for p in own)

    @functools.wraps(init)
    def checked(self: Any, *given: Any, **named: Any) -> None:
        try:
            signature.bind(self, *given, **named)
        except TypeError as e:
            unknown = [n for n in named if n not in signature.parameters]
            problem = f"there is no {unknown[0]}=" if unknown else str(e)
            further = "; rnndsl.nn.Recurrent stacks layers and runs them in both directions" if OF_STACKS & set(named) else ""
            raise TypeError(f"{type(self).__name__}: {problem}; this layer takes {header or 'no sizes'}, and device=, dtype=, backend=, schedule={further}") from None
        init(self, *given, **named)

    return checked


def parted(given: tuple, state: Any, declared: Sequence[tuple[str, tuple[int, ...], bool]]) -> tuple[tuple, Any]:
    """Inputs, and the state, which may stand behind them. Raises TypeError where it was given twice."""
    if len(given) == len(declared) + 1 and (given[-1] is None or isinstance(given[-1], (tuple, list))):
        if state is not None:
            raise TypeError("the state was given twice, by position and by name")
        return given[:-1], given[-1]
    return given, state


def check_inputs(
    inputs: tuple, declared: Sequence[tuple[str, tuple[int, ...], bool]], lead_names: tuple[str, ...], written: Mapping[str, Sequence[int]]
) -> tuple[int, ...]:
    """The leading axes, [B, T] or [B], of inputs. declared: of each its name, its further axes, and whether it may be complex; written: axes by name, as
    they are written. Raises TypeError for another number of them or another kind of values, ValueError for a shape that does not fit."""
    if len(inputs) != len(declared):
        names = ", ".join(n for n, _, _ in declared)
        hint = "; a state that follows them is a tuple of its fields" if len(inputs) == len(declared) + 1 else ""
        raise TypeError(f"expected {len(declared)} input{'s' * (len(declared) != 1)} ({names}), got {len(inputs)}{hint}")
    lead: tuple[int, ...] | None = None
    for x, (name, shape, is_complex) in zip(inputs, declared, strict=True):
        check_dense(name, x)
        n = len(lead_names)
        fits = x.dim() == n + len(shape) and tuple(x.shape[n:]) == shape
        if not fits or (lead is not None and tuple(x.shape[:n]) != lead):
            known = lead_names if lead is None else [f"{k}={v}" for k, v in zip(lead_names, lead, strict=True)]
            raise ValueError(f"{name}: expected [{', '.join([*known, *axes_text(written[name])])}], got {list(x.shape)}")
        if x.is_complex() and not is_complex:
            raise TypeError(f"{name}: expected real values, got {x.dtype}")
        if x.dtype not in NUMBERS:
            raise TypeError(f"{name}: expected floating-point values, got {x.dtype}; convert with {name}.float()")
        lead = tuple(x.shape[:n])
    assert lead is not None
    return lead


def sized_in_traces(t: Tensor, lead: int, shape: Sequence[int]) -> Tensor:
    """A tensor as torch.jit.trace is to take it, which keeps no checks: with these sizes behind the first `lead` axes, else it raises RuntimeError."""
    for axis, size in enumerate(shape, lead):
        t = t.split([size], axis)[0]
    return t


def check_reset(reset: Any, lead: tuple[int, ...], lead_names: tuple[str, ...], device: torch.device) -> None:
    """Raises TypeError or ValueError for what is no bool tensor [B, T], or of other leading axes, on the device of the inputs."""
    if not isinstance(reset, Tensor) or reset.dtype != torch.bool:
        hint = "; convert with reset.bool()" if isinstance(reset, Tensor) else ""
        raise TypeError(f"reset: expected a bool tensor, got {reset.dtype if isinstance(reset, Tensor) else type(reset).__name__}{hint}")
    _check_placed("reset", reset, lead, lead_names, (), (), device)


def _check_placed(
    name: str, value: Any, lead: tuple[int, ...], lead_names: tuple[str, ...], shape: tuple[int, ...], written: Sequence[int], device: torch.device
) -> None:
    """Raises TypeError or ValueError for what is no dense tensor of leading axes and then these, on the device of the inputs."""
    check_dense(name, value)
    if tuple(value.shape) != (*lead, *shape):
        wanted = [f"{n}={k}" for n, k in zip(lead_names, lead, strict=True)]
        raise ValueError(f"{name}: expected [{', '.join([*wanted, *axes_text(written)])}], got {list(value.shape)}")
    if value.device != device:
        raise ValueError(f"{name}: expected on {device} as the inputs, got {value.device}")


def dtypes_of_fields(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Of each kind of number that a field of the state may hold: its dtype, where a call computes in a real one."""
    return {"real": dtype, "complex": complex_of(dtype), "int": torch.int64}


def check_state(
    state: Any, wanted: str, fields: Sequence[tuple[str, tuple[int, ...], str]], written: Mapping[str, Sequence[int]], batch: int, kind: dict[str, Any]
) -> tuple[Tensor, ...]:
    """The fields of a state, in what a call computes in. wanted: the name of the named tuple; fields: of each its name, its axes, and real,
    complex or int; written: axes by name, as they are written. Raises TypeError or ValueError for what does not fit."""
    names = ", ".join(n for n, _, _ in fields)
    if not isinstance(state, tuple | list):
        raise TypeError(f"state: expected {wanted}({names}), got {type(state).__name__}")
    if len(state) != len(fields):
        raise ValueError(f"state: expected {len(fields)} fields ({names}), got {len(state)}")
    dtypes = dtypes_of_fields(kind["dtype"])
    checked = []
    for v, (name, shape, number) in zip(state, fields, strict=True):
        _check_placed(f"state.{name}", v, (batch,), ("B",), shape, written[name], kind["device"])
        if v.dtype is not dtypes[number] and not is_narrower(v.dtype, dtypes[number]):
            hint = "; a step number is counted in whole numbers" if number == "int" else ""
            raise TypeError(f"state.{name}: expected {dtypes[number]}, got {v.dtype}{hint}")
        checked.append(cast_to(v, dtypes[number]))
    return tuple(checked)


def check_guess(
    guess: Any, fields: Sequence[tuple[str, tuple[int, ...], str]], states: Sequence[tuple[str, tuple[int, ...], str]], written: Mapping[str, Sequence[int]],
    lead: tuple[int, ...], kind: dict[str, Any],
) -> dict[str, Tensor]:
    """A guess of states over all steps, [B, T, ...] by name, in what a call computes in, without gradients. fields: of each of the state its
    name, its axes, and real, complex or int; states: those that a recurrence solves for, the others are left aside; written: axes by name, as they
    are written. Raises TypeError or ValueError for what does not fit."""
    known = {name: (shape, number) for name, shape, number in states}
    names = ", ".join(known) or "none"
    if not isinstance(guess, Mapping):
        raise TypeError(f"guess: expected tensors by the names of states ({names}), got {type(guess).__name__}")
    found = {}
    aside = {name for name, _, _ in fields} - set(known)
    for name, v in guess.items():
        if name in aside:
            continue
        if name not in known:
            raise ValueError(f"guess: {name!r} is no state of a recurrence; these are: {names}")
        shape, number = known[name]
        _check_placed(f"guess[{name!r}]", v, lead, ("B", "T"), shape, written[name], kind["device"])
        if not (v.is_floating_point() or (v.is_complex() and number == "complex")):
            raise TypeError(f"guess[{name!r}]: expected {number} floating-point values, got {v.dtype}")
        found[name] = cast_to(v.detach(), dtypes_of_fields(kind["dtype"])[number])
    return found
