"""`repeat` in a step: unrolled where its length is a number."""

from typing import TYPE_CHECKING

from rnndsl.checks.cell import SCALAR, Repeat
from rnndsl.kernel.values import Unsupported, Value

if TYPE_CHECKING:
    from rnndsl.kernel.lowering import Lowering


def lower_repeat(low: "Lowering", repeat: Repeat) -> None:
    """Binds what a repeat leaves behind."""
    first, last = repeat.low.number, repeat.high.number
    if first is None or last is None:
        raise Unsupported("repeat")
    for k in range(int(first), int(last) + 1):
        low.locals[repeat.counter] = Value((low.builder.number(float(k)),), SCALAR)
        for let in repeat.body:
            low.operation(let, {})
    del low.locals[repeat.counter]
