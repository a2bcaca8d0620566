"""The table of what is known: a rule for each kind of instruction. Whatever no rule knows is an error that names it."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.ptx.types import SIZE
from tests.ptx.writer import Writer

ALIKE, APART, WARP = "LANES", "EACH", ""  # how lanes run: all alike, one after the other, or as the body says


class Rule(NamedTuple):
    """`write` gives the C++ of an instruction; `knows` are the parts of its name that it takes, types apart; `together`: all lanes of a
    warp must be there."""

    write: Callable[[Writer], str]
    how: str
    knows: frozenset[str]
    together: bool


RULES: dict[str, Rule] = {}


def rule(*names: str, knows: str = "", how: str = ALIKE, together: bool = False) -> Callable:
    def add(write: Callable[[Writer], str]) -> Callable[[Writer], str]:
        for name in names:
            RULES[name] = Rule(write, how, frozenset(knows.split()), together)
        return write

    return add


def strangers(parts: Iterable[str], known: frozenset[str]) -> list[str]:
    """The parts of a name that a rule does not take."""
    return [p for p in parts if p not in known and p not in SIZE]
