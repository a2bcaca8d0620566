"""What a stream is like that people look at: how wide it is, and whether it shows colours."""

import os
import shutil
from typing import Any

NARROWEST, WIDEST = 48, 140
WIDTH = 118  # of what goes to no terminal


def width(stream: Any, otherwise: int = WIDTH) -> int:
    """Columns of the terminal that a stream is, within reason; `otherwise` for a file or a pipe, whose text is the same everywhere."""
    if stream is None or not stream.isatty():
        return otherwise
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((otherwise, 24)).columns))


def has_colour(stream: Any) -> bool:
    """Whether to write colours: as NO_COLOR or FORCE_COLOR say, else on a terminal that is not dumb."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
