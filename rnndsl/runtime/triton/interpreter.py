"""Launches in Triton's interpreter, in half of its time.

At every operation it finds anew what it has found before: what everything in triton.language means in NumPy, what a type is called there, what is known
of a tensor by its type, that two shapes are the same. Within a launch it is found once. Scans go along their axis, with all that lies across at once.
A comparison of scalars is one of booleans beside tensors too: the interpreter takes it for a number.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import ModuleType
from typing import Any

Function = Callable[..., Any]


def is_interpreted(kernel: Any) -> bool:
    """Whether a kernel is interpreted: then its programs run one behind the other, and none can wait for another."""
    from triton.runtime.interpreter import InterpretedFunction

    return isinstance(kernel, InterpretedFunction)


@contextmanager
def found_once() -> Iterator[None]:
    """Around a launch. Another version of Triton, which does it otherwise, does what it does."""
    from triton.language import core, semantic
    from triton.runtime import interpreter

    quicker = (
        (interpreter, "_patch_lang", _meanings),
        (interpreter, "_get_np_dtype", _by_names),
        (core.block_type, "with_element_ty", _by_names),
        (core.tensor, "__init__", _tensors),
        (core.block_type, "to_ir", _itself),
        (core, "_unwrap_if_constexpr", _values),
        (getattr(semantic, "TritonSemantic", None), "broadcast_impl_value", _alike),
        (getattr(interpreter, "ScanOps", None), "generic_scan", _scans),
        (getattr(interpreter, "InterpreterBuilder", None), "create_splat", _spread),
    )
    with ExitStack() as undo:
        for owner, name, quick in quicker:
            real = getattr(owner, name, None)
            if real is not None:
                undo.callback(setattr, owner, name, real)
                setattr(owner, name, quick(real))
        yield


def _meanings(give: Function) -> Function:
    """Gives the names that a function reads their meaning, once."""
    given = set()

    def once(function: Any) -> Any:
        if (reads := _reads(function)) in given:
            return None
        given.add(reads)
        return give(function)

    return once


@cache
def _reads(function: Any) -> frozenset[str]:
    """Which modules of Triton's a function has among its globals."""
    return frozenset(m.__name__ for m in function.__globals__.values() if isinstance(m, ModuleType) and m.__name__.startswith("triton."))


def _by_names(find: Function) -> Function:
    """A function of types, which are as their names are."""
    known: dict[str, Any] = {}

    def found(*types: Any) -> Any:
        names = " ".join([t.name for t in types])
        if names not in known:
            known[names] = find(*types)
        return known[names]

    return found


def _tensors(make: Function) -> Function:
    """Makes a tensor, of whose attributes all but the first are its type's."""
    known: dict[str, dict[str, Any]] = {}

    def init(self: Any, handle: Any, type: Any) -> None:
        if type.name not in known:
            make(self, handle, type)
            known[type.name] = dict(vars(self))
        vars(self).update(known[type.name])
        self.handle, self.type = handle, type

    return init


def _values(unwrap: Function) -> Function:
    """The value of a constant; what is neither one nor holds any is itself."""
    from triton.language import core

    hold = (list, tuple, core.tuple)
    return lambda o: o.value if isinstance(o, core.constexpr) else unwrap(o) if isinstance(o, hold) else o


def _itself(_: Function) -> Function:
    """What a type is called in the interpreter's language, which is Triton's."""
    return lambda type, builder: type


def _alike(broadcast: Function) -> Function:
    """Two tensors in one shape."""

    def both(self: Any, a: Any, b: Any) -> Any:
        same = a.type.is_block() and b.type.is_block() and [*a.type.shape] == [*b.type.shape]
        return (a, b) if same else broadcast(self, a, b)

    return both


def _spread(_: Function) -> Function:
    """A scalar as a tensor, of the type that its value has."""
    import numpy as np
    from triton.runtime.interpreter import TensorHandle

    return lambda self, type, scalar: TensorHandle(np.full(type.shape, scalar.data.reshape(-1)[0], dtype=scalar.data.dtype), scalar.dtype.scalar)


def _scans(_: Function) -> Function:
    """A scan of one combination a step."""
    from triton.language.core import tensor

    def scan(self: Any, given: Any) -> Any:
        results = [g.handle.data.copy() for g in given]
        old: tuple[Any, ...] = ()
        for i in range(results[0].shape[self.axis]):
            at = (slice(None),) * self.axis + (i,)
            if old:
                new = self.combine_fn.fn(*old, *(self.to_tensor(r[at], g.dtype) for r, g in zip(results, given, strict=True)))
                for r, value in zip(results, new if isinstance(new, tuple) else (new,), strict=True):
                    data = value.handle.data if isinstance(value, tensor) else value
                    r[at] = data.item() if r.ndim == 1 and isinstance(value, tensor) else data
            old = tuple(self.to_tensor(r[at], g.dtype) for r, g in zip(results, given, strict=True))
        return [self.to_tensor(r, g.dtype) for r, g in zip(results, given, strict=True)]

    return scan
