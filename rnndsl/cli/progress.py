"""One line on a terminal that says what is being done, from the first second on."""

import sys
import time

from rnndsl.cli.terminal import width


class Progress:
    """Writes over its own line on standard error; writes nothing where that is no terminal."""

    def __init__(self, shown: bool | None = None):
        self.is_shown = sys.stderr.isatty() if shown is None else shown
        self._start = time.perf_counter()
        self._last = 0.0

    def say(self, what: str) -> None:
        """Says what takes a while and has no parts that could be counted."""
        self._write(f"{what} …")

    def __call__(self, task: str, name: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if now - self._last < 0.1 and done:
            return
        self._last = now
        count = f"{done}/{total}" if total else "warm-up"
        self.share(done, total, f"{task}: {name} {count}, {now - self._start:.0f} s")

    def share(self, done: int, total: int, what: str) -> None:
        """Says how much of something is done."""
        filled = 20 * done // total if total else 0
        self._write(f"[{'#' * filled}{'.' * (20 - filled)}] {what}")

    def clear(self) -> None:
        """Takes the line away."""
        self._write("")

    def _write(self, line: str) -> None:
        if self.is_shown:
            print(f"\r\033[K{line[: width(sys.stderr, 100) - 1]}", end="", file=sys.stderr, flush=True)
