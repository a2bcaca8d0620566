"""One line on a terminal that says what is being timed."""

import sys
import time


class Progress:
    """Writes over its own line on standard error; writes nothing where that is no terminal."""

    def __init__(self, shown: bool | None = None):
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._start = time.perf_counter()
        self._last = 0.0

    def __call__(self, task: str, name: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if not self._shown or (now - self._last < 0.1 and done):
            return
        self._last = now
        count = f"{done}/{total}" if total else "warm-up"
        filled = 20 * done // total if total else 0
        line = f"[{'#' * filled}{'.' * (20 - filled)}] {task}: {name} {count}, {now - self._start:.0f} s"
        print(f"\r\033[K{line[:100]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the line away."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
