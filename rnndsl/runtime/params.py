"""What a layer holds: the sizes and hyperparameters of its header, its params and consts, and what PyTorch does with them."""

import numbers
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rnndsl.runtime.arguments import check_dense
from rnndsl.runtime.dtypes import HALF, complex_of, real_of, widest_dtype
from rnndsl.runtime.initialise import FIXED, Bounds, Draw, check_draw, default_draw, initialise, widest
from rnndsl.runtime.ops import fill
from rnndsl.runtime.sizes import Size, axes_text


@dataclass(frozen=True)
class _Declared:
    """A param or const as the cell declares it: its shape as it is written, and in whole numbers."""

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    is_complex: bool
    has_value: bool = field(default=True, compare=False)  # whether the cell says what it begins as: a const may be for the user to set


def header_text(sizes: dict[str, int], hypers: dict[str, float]) -> str:
    """The values of a header, written so that they read back as they are, -0.0 as itself. Tracers take a text for a constant, and not every number."""
    return ",".join(f"{n}={v!r}" for n, v in (sizes | hypers).items())


class ParamModule(nn.Module):
    """A module of a header, params and consts. Constrained params are stored without their constraint, under a name of their own."""

    _header: ClassVar[tuple[str, ...]] = ()  # the sizes and hyperparameters that are attributes
    _raw: ClassVar[dict[str, str]] = {}  # of each constrained param: the name under which it is stored

    # Construction

    def _hold(self, sizes: dict[str, Any], hypers: dict[str, Any], device: Any, dtype: Any) -> dict[str, Any]:
        """Begins with what a constructor was given; returns the values of the header as shapes read them. Raises TypeError or ValueError for a
        size, a hyperparameter or a dtype that cannot be."""
        nn.Module.__init__(self)
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, numbers.Integral):
                raise TypeError(f"{name}: expected a whole number, got {value!r}")
            if value < 1:
                raise ValueError(f"{name}: expected a positive size, got {value}")
        for name, value in hypers.items():
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"{name}: expected a number, got {value!r}")
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise TypeError(f"dtype: expected a real floating type, got {dtype}")
        self._sizes = {n: int(v) for n, v in sizes.items()}
        self._hypers = {n: float(v) for n, v in hypers.items()}
        self._header_text = header_text(self._sizes, self._hypers)
        self._tensors: dict[str, _Declared] = {}  # params and consts
        self._bounds: dict[str, Bounds] = {}  # of constrained params
        self._kind: dict[str, Any] = {
            "dtype": dtype,
            "device": torch.device(device) if device is not None else torch.get_default_device(),
        }
        return {n: Size(v, n) for n, v in self._sizes.items()} | self._hypers

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._header and not _is_same(value, getattr(self, name)):
            kind = "size" if name in self._sizes else "hyperparameter"
            raise AttributeError(f"{name}: a {kind} is fixed when a layer is made; make another with {name}={value!r}")
        if name in self._raw:
            object.__setattr__(self, name, value)  # torch would take a Parameter for a new one
        elif name not in self._header:
            super().__setattr__(name, value)

    def _param(
        self,
        name: str,
        shape: tuple[int, ...],
        rank: int,
        draw: Draw | None = None,
        above: Any = None,
        between: Any = None,
        is_complex: bool = False,
    ) -> None:
        """A learnable tensor; `rank` of its axes are what the equations see, the rest are head axes."""
        plain = tuple(int(s) for s in shape)
        self._require_positive(name, shape)
        dtype, device = self._kind["dtype"], self._kind["device"]
        self._tensors[name] = _Declared(shape, plain, is_complex)
        explicit = draw is not None
        chosen = default_draw(name, rank, plain[-1] if plain else 1) if draw is None else (draw[0], tuple(float(a) for a in draw[1]))
        try:
            check_draw(chosen)
            if above is not None or between is not None:
                self._bounds[name] = Bounds(*map(float, (above,) if between is None else between))
        except ValueError as e:
            raise ValueError(f"{name}: {e}") from None
        bounds = self._bounds.get(name)
        if bounds is None:
            kind = complex_of(dtype) if is_complex else dtype
            self.register_parameter(name, nn.Parameter(initialise(plain, rank, chosen, kind, device)))
            return
        if explicit:
            value = initialise(plain, rank, chosen, widest(device), device)
            value = value if chosen[0] in FIXED else bounds.moved_inside(value)
            stored = self._stored(name, value, dtype, "the initial value")
        else:  # what is stored has the usual default
            stored = initialise(plain, rank, chosen, dtype, device)
        self.register_parameter(self._raw[name], nn.Parameter(stored))

    def _stored(self, name: str, value: Tensor, dtype: torch.dtype, what: str) -> Tensor:
        """What is stored of a constrained param for a value. Raises ValueError, with the value, where it is out of bounds or of range."""
        bounds = self._bounds[name]
        has_entries = not value.is_meta and torch._guards.detect_fake_mode(value) is None
        if has_entries and not bool((inside := bounds.holds(value)).all()):
            wrong = value[~inside].flatten()[0].item()
            raise ValueError(f"{name}: {what} {wrong:.9g} is out of bounds: every value must be {bounds}")
        stored = bounds.stored(value).to(dtype)
        if has_entries and not bool((finite := stored.isfinite()).all()):
            wrong = value[~finite].flatten()[0].item()
            raise ValueError(f"{name}: {what} {wrong:.9g} is too large to be stored in {dtype}")
        return stored

    def _const(self, name: str, shape: tuple[int, ...], value: Any = None, is_complex: bool = False) -> Tensor:
        """A buffer, zero where no value is given; returns it."""
        self._require_positive(name, shape)
        plain = tuple(int(s) for s in shape)
        dtype = complex_of(self._kind["dtype"]) if is_complex else self._kind["dtype"]
        buffer = fill(0.0 if value is None else value, plain, dtype, self._kind["device"]).clone()
        self._tensors[name] = _Declared(shape, plain, is_complex, value is not None)
        self.register_buffer(name, buffer)
        return buffer

    @staticmethod
    def _require_positive(name: str, shape: tuple[int, ...]) -> None:
        if any(s < 1 for s in shape):
            raise ValueError(f"{name}: [{', '.join(axes_text(shape))}] has an axis that is not positive")

    @staticmethod
    def _require_rounds(name: str, low: int, high: int) -> None:
        """Raises ValueError where a repeat that gives a local its value never runs."""
        if high < low:
            raise ValueError(f"{name}: it has no value, since the repeat from {int(low)} to {' = '.join(axes_text([high]))} never runs")

    @staticmethod
    def _require_slices(name: str, first: int, last: int, there: int, rounds: int) -> None:
        """Raises ValueError where the rounds of a repeat, or an index outside of one, select a slice that is not there."""
        for number in (first, last):
            if rounds > 0 and not 1 <= number <= there:
                raise ValueError(f"{name}: there is no slice {int(number)}, it has {' = '.join(axes_text([there]))}, counted from 1")

    def _take(self, drawn: "ParamModule") -> None:
        """Takes over what another of the same class and sizes begins with: its params, and those consts that the cell gives a value."""
        with torch.no_grad():
            for name, declared in drawn._tensors.items():
                stored = type(self)._raw.get(name, name)
                if declared.has_value:
                    value, held = getattr(drawn, stored), getattr(self, stored)
                    if stored in self._parameters or stored in self._buffers:
                        held.copy_(value)
                    else:  # made of something else, by a parametrization of torch's
                        setattr(self, stored, value.detach().to(held.device, held.dtype))

    # What is held

    def _held(self) -> tuple[tuple[Tensor, ...], set[torch.dtype]]:
        """Params and consts as they are stored, in declared order, and their dtypes. Raises what `_checked` does for one that was replaced or changed."""
        params, device = self._parameters, None
        found: list[Tensor] = []
        dtypes: set[torch.dtype] = set()
        for name, declared in self._tensors.items():
            stored = type(self)._raw.get(name, name)
            t: Any = params.get(stored)
            if t is None:
                t = getattr(self, stored)
            if (
                (type(t) is not nn.Parameter and type(t) is not Tensor)
                or t.shape != declared.sizes
                or t.layout is not torch.strided
                or not (t.dtype.is_complex if declared.is_complex else t.dtype.is_floating_point)
                or (device is not None and t.device != device)
            ):
                t = self._checked(name, t, declared, device)
            if device is None:
                device = t.device
            dtypes.add(t.dtype)
            found.append(t)
        return tuple(found), dtypes

    def _as_stored(self) -> tuple[Tensor, ...] | None:
        """Params and consts as they are stored, in declared order; nothing is asked of them. None where one is made of something else."""
        params, buffers, raw = self._parameters, self._buffers, self._raw
        names = [raw.get(name, name) for name in self._tensors] if raw else self._tensors
        try:
            return tuple([params[n] if n in params else buffers[n] for n in names])  # type: ignore[misc]
        except KeyError:
            return None

    def _valued(self, stored: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Of params and consts as they are stored: the values that the equations see, of constrained ones in `dtype`."""
        return tuple(self._bounds[n].value(t, dtype) if n in self._bounds else t for n, t in zip(self._tensors, stored, strict=True))

    def _checked(self, name: str, value: Any, declared: _Declared, device: torch.device | None) -> Tensor:
        """A param or const that is not all that was expected of it, or that something must be made of. Raises TypeError or ValueError, with
        its name, for none at all, another shape, a complex one where it is real, another device than that of the first."""
        check_dense(name, value)
        if tuple(value.shape) != declared.sizes:
            raise ValueError(f"{name}: expected [{', '.join(axes_text(declared.shape))}], got {list(value.shape)}")
        if value.is_complex() and not declared.is_complex:
            raise TypeError(f"{name}: expected real values, got {value.dtype}")
        if device is not None and value.device != device:
            raise ValueError(f"{name}: expected on {device} as {next(iter(self._tensors))}, got {value.device}")
        if not value.is_floating_point() and not value.is_complex():  # whole numbers do not say how finely to compute
            value = value.to(torch.get_default_dtype())
        return value.to(complex_of(value.dtype)) if declared.is_complex else value

    def _own_dtype(self) -> torch.dtype:
        """The widest of params and consts."""
        _, dtypes = self._held()
        return widest_dtype([real_of(d) for d in dtypes]) if dtypes else self._kind["dtype"]

    def _own_device(self) -> torch.device:
        held, _ = self._held()
        return held[0].device if held else self._kind["device"]

    # torch.nn.Module's machinery

    def _apply(self, fn: Any, recurse: bool = True) -> "ParamModule":
        """Moves and casts; a complex tensor is cast as its pair of real ones, so that `.double()` keeps it complex."""

        def apply(t: Tensor) -> Tensor:
            if not t.is_complex():
                return fn(t)
            pair = fn(torch.view_as_real(t.resolve_conj()))
            return torch.view_as_complex((pair.float() if pair.dtype in HALF else pair).contiguous())

        if not self._tensors:  # nothing else tells where it went, and in which dtype
            probe = fn(torch.empty(0, **self._kind))
            self._kind = {"dtype": probe.dtype, "device": probe.device}
        return super()._apply(apply, recurse)

    def __setstate__(self, state: dict) -> None:
        sizes, hypers = state["_sizes"], state["_hypers"]
        known = {"_bounds": {}, "_order": (*sizes, *hypers), "_header_text": header_text(sizes, hypers)} | state  # earlier pickles have none, and of params and consts the shapes alone
        held = {**state["_parameters"], **state["_buffers"]}
        known["_tensors"] = {n: d if isinstance(d, _Declared) else _Declared(d, tuple(map(int, d)), held[n].is_complex()) for n, d in state["_tensors"].items()}
        super().__setstate__(known)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *further: Any) -> None:
        """Takes checkpoints of earlier versions too, which stored a constrained param `tau` as `parametrizations.tau.original`."""
        for name, raw in self._raw.items():
            earlier = f"{prefix}parametrizations.{name}.original"
            if earlier in state_dict:
                state_dict[prefix + raw] = state_dict.pop(earlier)
        super()._load_from_state_dict(state_dict, prefix, *further)


def constrained_param(name: str) -> property:
    """The attribute of a constrained param: it reads and takes the constrained value. What is trained is `raw_` and its name."""

    def read(layer: ParamModule) -> Tensor:
        stored = getattr(layer, layer._raw[name])
        return layer._bounds[name].value(stored, stored.dtype)

    def write(layer: ParamModule, value: Any) -> None:
        raw = layer._raw[name]
        stored = getattr(layer, raw)
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
        if value.shape != stored.shape:
            raise ValueError(f"{name}: expected [{', '.join(axes_text(layer._tensors[name].shape))}], got {list(value.shape)}")
        if value.is_complex():
            raise TypeError(f"{name}: expected real values, got {value.dtype}")
        if _loses_derivative(value, stored):
            raise ValueError(f"{name}: a value is assigned without derivatives: assign it detached, or tie or give to functional_call {raw!r}, which is trained")
        with torch.no_grad():
            wanted = layer._stored(name, value, stored.dtype, "the value")
            if isinstance(stored, nn.Parameter):
                stored.copy_(wanted)
            else:  # made of something else, by a parametrization of torch's
                setattr(layer, raw, wanted.to(stored.device))

    return property(read, write)


def header_value(name: str) -> property:
    """A size or hyperparameter as an attribute."""
    return property(lambda layer: layer._sizes[name] if name in layer._sizes else layer._hypers[name])


def _loses_derivative(value: Tensor, stored: Tensor) -> bool:
    """Whether a derivative is asked for in what a value is made of, as where functional_call assigns it, and that is neither a param, whose value is
    meant, nor what is stored."""
    if torch._C._functorch.is_functorch_wrapped_tensor(value) or torch.autograd.forward_ad.unpack_dual(value).tangent is not None:
        return True
    if isinstance(value, nn.Parameter) or not (torch.is_grad_enabled() and value.requires_grad):
        return False
    return not _leaves(value) <= _leaves(stored)


def _leaves(made: Tensor) -> set[Tensor]:
    """The tensors whose gradients autograd computes from that of one that is made of them."""
    if made.grad_fn is None:
        return {made}
    found, seen, left = set(), set(), [made.grad_fn]
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            if hasattr(node, "variable"):
                found.add(node.variable)
            left += [before for before, _ in node.next_functions if before is not None]
    return found


def _is_same(value: Any, number: float) -> bool:
    return isinstance(value, numbers.Real) and repr(float(value)) == repr(float(number))
