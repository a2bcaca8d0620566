"""What a generated module says of its kernels, and the classes that have some."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from rnndsl.runtime.backend import BACKENDS


class KernelText:
    """What a module says of the kernels of a class for one backend. Its digest is of all that is said, but for the comments of the text, which name
    lines of the program."""

    source: str
    COMMENT: ClassVar[str]  # what a comment begins with
    TEXTS: ClassVar[tuple[str, ...]] = ("source",)

    @cached_property
    def digest(self) -> str:
        texts = {name: re.sub(rf"^[ \t]*{self.COMMENT}.*\n", "", getattr(self, name), flags=re.M) for name in self.TEXTS}
        return hashlib.sha256(repr(replace(self, **texts)).encode()).hexdigest()[:32]  # type: ignore[type-var]


def reasons_text(reasons: Mapping[str, str]) -> str:
    """Why recurrences lack something, each by its name."""
    return "; ".join(f"{label}: {reason}" for label, reason in reasons.items())


@dataclass(frozen=True)
class Step:
    """What the runtime knows of the function of one step of a whole cell: its name, and how many real arrays each input (and the step number, where
    the cell has one), param or const, carried value and output is."""

    name: str
    streams: tuple[int, ...]
    statics: dict[str, int]
    carries: tuple[int, ...]
    nearer: tuple[int, ...]  # of each carried value: the one that it was a step ago, -1 where it is made anew
    outputs: tuple[int, ...]


CELLS: dict[str, Any] = {}  # the generated classes, by the digests of their kernels


def bind_kernels(cls: Any, backend: str, **said: Any) -> None:
    """Gives a generated class its kernels for a backend, and makes it known by their digest. said: what `carried` of the backend takes."""
    kernels = BACKENDS[backend].carried(**said)
    cls._kernels = cls._kernels | {backend: kernels}
    CELLS[kernels.digest] = cls
