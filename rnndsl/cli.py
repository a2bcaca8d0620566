"""The command line as a process: where its output goes, Ctrl-C, and the exit status. The commands are in `commands`.

Nothing here imports anything that takes time: Ctrl-C is understood from the first moment on.
"""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

STAGES = ("ast", "cell", "plan", "system", "kernels", "triton", "module")  # of the compiler, for --dump
JSON_VERSION = 1  # of what --json prints
INTERRUPTED = 130  # the exit status that a shell expects after Ctrl-C
MISUSE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 1 for errors in a program, 2 for misuse, 130 after Ctrl-C."""
    _open_streams()
    try:
        try:
            from rnndsl.commands import run

            return run(arguments)
        finally:
            if not sys.stdout.closed:  # as the language server does
                sys.stdout.flush()  # what cannot be written is told below, not when Python ends
    except KeyboardInterrupt:
        return _ended("interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read it has read enough
        _silence()
        return 1
    except OSError as e:  # a file's is told by its command
        return _ended(f"{e.filename or 'standard output'}: {(e.strerror or str(e)).lower()}", MISUSE)
    except MemoryError:
        return _ended("there is not enough memory for this", MISUSE)


def _parser() -> Any:
    from rnndsl.commands import parser

    return parser()


def _ended(why: str, status: int) -> int:
    _silence()
    with suppress(OSError, ValueError):
        print(f"rnndsl: {why}", file=sys.stderr, flush=True)
    return status


def _silence() -> None:
    """Lets what is still waiting to be written go nowhere, so that Python does not fail over it when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        sys.stdout.flush()


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


def _open_streams() -> None:
    """Python has None for a stream that was closed before it began."""
    if sys.stdout is None:
        sys.stdout = _Closed()  # type: ignore[assignment]
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
