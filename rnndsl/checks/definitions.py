"""The lines of grammar/prelude.rnn, as trees."""

from functools import cache

from rnndsl.diagnostics import Source
from rnndsl.functions import COMPOUNDS
from rnndsl.syntax import ast


@cache
def definition(name: str) -> ast.FunctionDef:
    """The line of a function."""
    from rnndsl.syntax.parser import parse  # an editor's highlighting, which reads names alone, does without lark

    (function,) = parse(source_of(name)).functions
    return function


def source_of(name: str) -> Source:
    """The text that a function's line is read from."""
    return Source("prelude.rnn", COMPOUNDS[name].definition + "\n")
