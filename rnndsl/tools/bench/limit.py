"""A limit on how long something may take."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TookTooLong(Exception):
    """The limit was reached."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises TookTooLong in the block after so many seconds. No limit for None, off the main thread, or where there are no timers."""
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    reached = False

    def ring(*_: Any) -> None:
        nonlocal reached
        reached = True
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 5.0)  # again, where somebody catches it
    try:
        yield
    except Exception:
        if reached:  # whatever became of it on its way up
            raise TookTooLong(f"it took more than {seconds:g} s") from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
