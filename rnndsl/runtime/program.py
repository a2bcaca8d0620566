"""The program that a generated class was made from: what checkpoints keep of it, and exports begin with."""

from collections.abc import Iterable
from typing import Any, NamedTuple


class Program(NamedTuple):
    """The name of its file, its text, and what the cell is called there."""

    file: str
    text: str
    cell: str


def bind_program(classes: Iterable[Any], file: str, text: str) -> None:
    """Gives the classes of a generated module their program."""
    for cls in classes:
        cls._program = Program(file, text, cls.__name__)


def program_of(cls: type) -> Program:
    """The program of a generated class, or of one that inherits from it. Raises TypeError where it is not known."""
    program = getattr(cls, "_program", None)
    if program is None:
        raise TypeError(f"{cls.__name__}: the text of its program is not known, as that of a standalone module or of one that an earlier version made; take a class of rnndsl.load(…), or of a module that this version compiles")
    return program
