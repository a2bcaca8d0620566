"""What torch.compile does not look into."""

from typing import Any


def constant_in_graphs(function: Any) -> Any:
    """A function that a tracer calls once, and takes what it returns for a constant.

    torch.compiler.assume_constant_result says the same, but imports the compiler first, and so doubles the time that importing a cell takes.
    """
    function._dynamo_marked_constant = True
    return function
