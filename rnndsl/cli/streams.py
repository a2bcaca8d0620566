"""Standard output and standard error as a process finds them: closed, full, or a pipe that nobody reads any more."""

import errno
import os
import sys
from contextlib import suppress
from typing import Any


class _Closed:
    """Standard output where there is none: it cannot be written."""

    encoding = "utf-8"
    closed = False

    @property
    def buffer(self) -> "_Closed":
        return self

    def write(self, text: Any) -> int:
        raise OSError(errno.EBADF, "it is closed")

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def open_streams() -> None:
    """Python has None for a stream that was closed before it began."""
    if sys.stdout is None:
        sys.stdout = _Closed()  # type: ignore[assignment]
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def silence() -> None:
    """Lets what is still waiting to be written go nowhere, so that Python does not fail over it when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        sys.stdout.flush()
