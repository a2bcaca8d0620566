"""The words of the language by what an editor makes of them, all taken from the tables that the compiler itself uses."""

from rnndsl import functions
from rnndsl.checks.draws import DISTRIBUTIONS, INITIALISERS
from rnndsl.syntax.keywords import KEYWORDS, TIME

ITEMS = ("cell", "def")  # open what stands at the left margin
CONSTANTS = ("inf", "pi")
MODIFIERS = ("complex", "grad", "in")  # stand inside a statement
OPENERS = tuple(w for w in KEYWORDS if w not in (*ITEMS, *CONSTANTS, *MODIFIERS))  # begin a statement of a cell
FUNCTIONS = tuple(functions.FUNCTIONS)
DRAWS = tuple(dict.fromkeys((*INITIALISERS, *DISTRIBUTIONS)))  # what may stand after `~`

# As in grammar/rnn.lark; both Python and the Oniguruma of editors read them.
NAME = r"[^\W\d][\w\u0300-\u036f]*"
NUMBER = r"(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][+-]?\d+)?j?"
OPERATOR = r"\*\*|\.\.|[<>=!]=|[-+*/@^<>=~]"
_BEHIND = r"(?![\w\u0300-\u036f])"
_BEFORE = r"(?<![\w\u0300-\u036f])"


def one_of(words: tuple[str, ...]) -> str:
    """A pattern for any of some words, as whole words."""
    return f"{_BEFORE}(?:{'|'.join(sorted(words, key=lambda w: (-len(w), w)))}){_BEHIND}"


__all__ = ["CONSTANTS", "DRAWS", "FUNCTIONS", "ITEMS", "MODIFIERS", "NAME", "NUMBER", "OPENERS", "OPERATOR", "TIME", "one_of"]
