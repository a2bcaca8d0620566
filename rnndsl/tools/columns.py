"""How wide the pages are that tools write: a setting of who asks for one, in force while it is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_COLUMNS: ContextVar[int | None] = ContextVar("columns", default=None)


def columns(otherwise: int) -> int:
    """The columns of a page; `otherwise` where nobody asked for a width."""
    return _COLUMNS.get() or otherwise


@contextmanager
def of_width(wide: int) -> Iterator[None]:
    """Pages that are written inside have so many columns."""
    token = _COLUMNS.set(wide)
    try:
        yield
    finally:
        _COLUMNS.reset(token)
