"""Triton's cache on disk: how many kernels of ours it had, and how many were compiled after all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OURS = ("rnndsl", "on_gpu")  # the modules that kernels of ours are in


class Counts:
    """Hits, misses, and the names of kernels that missed, each as `missed NAME`."""

    def __init__(self) -> None:
        self._found: Counter[str] = Counter()

    def __call__(self, *, src: Any, cache_hit: bool, **_: Any) -> None:
        """What Triton calls with each kernel that it has compiled or found."""
        function = getattr(src, "fn", None)
        if getattr(function, "__module__", "").startswith(OURS):
            self._found["hits" if cache_hit else "misses"] += 1
            if not cache_hit:
                self._found[f"missed {function.__name__}"] += 1

    def taken(self) -> dict[str, int]:
        """What was counted since this was asked last."""
        found, self._found = dict(self._found), Counter()
        return found


@contextmanager
def counted() -> Iterator[Counts]:
    """Counts in the block."""
    from triton import knobs

    counts, before = Counts(), knobs.compilation.listener
    knobs.compilation.listener = counts
    try:
        yield counts
    finally:
        knobs.compilation.listener = before
