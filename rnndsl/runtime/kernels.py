"""What a generated module says of its kernels, so that the runtime can build and call them."""

import hashlib
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar


class _Text:
    """What both kinds of kernels have: a digest of all that they say, but for the comments of their text, which name lines of the program."""

    source: str
    COMMENT: ClassVar[str]

    @cached_property
    def digest(self) -> str:
        source = re.sub(rf"^[ \t]*{self.COMMENT}.*\n", "", self.source, flags=re.M)
        return hashlib.sha256(repr(replace(self, source=source)).encode()).hexdigest()[:32]  # type: ignore[type-var]


@dataclass(frozen=True)
class Kernel:
    """What the runtime knows of one recurrence: its C++ name; how many real arrays (two for a complex value) each stream, static and
    carried value is passed as; the lag of each carried array; and the streams of which only a part has a gradient."""

    name: str
    streams: tuple[int, ...]
    statics: tuple[int, ...]
    carries: tuple[int, ...]
    lags: tuple[int, ...]
    partial: tuple[int, ...] = ()

    @property
    def kept(self) -> int:
        """How many real arrays are states of the step before, and so have a sequence."""
        return self.lags.count(1)

    @property
    def states(self) -> tuple[int, ...]:
        """The carried values that are states of the step before."""
        count, n = 0, 0
        while count < self.kept:
            count += self.carries[n]
            n += 1
        return self.carries[:n]


@dataclass(frozen=True)
class Step:
    """What the runtime knows of the function of one step: its C++ name, and how many real arrays each input (and the step number, where
    the cell has one), param or const, carried value and output is."""

    name: str
    streams: tuple[int, ...]
    statics: dict[str, int]
    carries: tuple[int, ...]
    nearer: tuple[int, ...]  # of each carried value: the one that it was a step ago, -1 where it is made anew
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Kernels(_Text):
    """The kernels of a cell: C++ source, the C++ name of each size, its recurrences, one step of the whole, and why a recurrence has
    no kernel."""

    COMMENT = "//"
    source: str = ""
    sizes: dict[str, str] = field(default_factory=dict)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    step: Step | None = None
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TritonKernels(_Text):
    """The Triton kernels of a cell: their text, the names in it of sizes, hyperparameters and the kernels of recurrences, whether one step of the
    whole is a kernel too (of the arguments of the C++ one), and why recurrences have none."""

    COMMENT = "#"
    source: str = ""
    sizes: dict[str, str] = field(default_factory=dict)
    hypers: dict[str, str] = field(default_factory=dict)
    kernels: dict[str, str] = field(default_factory=dict)
    decodes: bool = False
    refused: dict[str, str] = field(default_factory=dict)
