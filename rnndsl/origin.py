"""The line that files begin with that rnndsl makes of a program, and by which it knows them again."""

import re

from rnndsl.version import VERSION

MADE = "Made by rnndsl "
_WARNING = ". Change the equations there, not here."


def made_from(program: str) -> str:
    """The line, without what makes a comment of it."""
    return f"{MADE}{VERSION} from {program}{_WARNING}"


def is_made(line: str) -> bool:
    """Whether a line without its comment is such a one, of any version."""
    return re.fullmatch(rf"{MADE}\d[\w.+-]* from .+{re.escape(_WARNING)}", line) is not None
