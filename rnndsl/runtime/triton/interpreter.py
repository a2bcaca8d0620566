"""Launches in Triton's interpreter.

At each call of a function inside a kernel it gives everything in triton.language its meaning in NumPy again, which takes a third of the time of kernels that
call many. Within a launch once is enough.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any


def is_interpreted(kernel: Any) -> bool:
    """Whether a kernel is interpreted: then its programs run one behind the other, and none can wait for another."""
    from triton.runtime.interpreter import InterpretedFunction

    return isinstance(kernel, InterpretedFunction)


@contextmanager
def meanings_given_once() -> Iterator[None]:
    """Around a launch. Another version of Triton, which does it otherwise, does what it does."""
    from triton.runtime import interpreter

    give: Callable[[Any], Any] | None = getattr(interpreter, "_patch_lang", None)
    if give is None:
        yield
        return
    given = set()

    def once(function: Any) -> Any:
        if (reads := _reads(function)) in given:
            return None
        given.add(reads)
        return give(function)

    interpreter._patch_lang = once  # type: ignore[assignment]
    try:
        yield
    finally:
        interpreter._patch_lang = give


@cache
def _reads(function: Any) -> frozenset[str]:
    """Which modules of Triton's a function has among its globals."""
    return frozenset(m.__name__ for m in function.__globals__.values() if isinstance(m, ModuleType) and m.__name__.startswith("triton."))
