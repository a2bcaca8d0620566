"""What torch.compile is told of functions."""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any


def constant_in_graphs(function: Any) -> Any:
    """A function that a tracer calls once, and takes what it returns for a constant.

    torch.compiler.assume_constant_result says the same, but imports the compiler first, and so doubles the time that importing a cell takes.
    """
    function._dynamo_marked_constant = True
    return function


def with_own_code(method: Callable) -> Any:
    """The same method, as code of its own. torch.compile keeps what it compiles by code, and at most eight of each: what all classes have from
    one base would be one code, and the ninth cell of a process refused."""
    again = FunctionType(method.__code__.replace(), method.__globals__, method.__name__, method.__defaults__, method.__closure__)
    again.__kwdefaults__ = method.__kwdefaults__
    return functools.update_wrapper(again, method)
