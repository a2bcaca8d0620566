"""A line on the terminal while something takes seconds, once, that nobody would expect to."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def notice(text: str) -> Iterator[None]:
    """Shows a line on standard error and takes it away at the end; nothing where standard error is no terminal."""
    shown = sys.stderr is not None and sys.stderr.isatty()
    if shown:
        print(f"\r\033[K{text} …", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
