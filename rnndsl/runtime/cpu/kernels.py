"""What a generated module says of its kernels in C++."""

from dataclasses import dataclass, field

from rnndsl.runtime.kernels import KernelText, Step


@dataclass(frozen=True)
class Kernel:
    """What the runtime knows of one recurrence: its C++ name; how many real arrays (two for a complex value) each stream, static and
    carried value is passed as; the lag of each carried array; the streams of which only a part has a gradient; and, where it makes what follows
    the recurrence too, how many streams and statics, first among them, are the recurrence's own, and how many real arrays each value is that follows;
    segments: whether the states of some steps are enough for the backward pass."""

    name: str
    streams: tuple[int, ...]
    statics: tuple[int, ...]
    carries: tuple[int, ...]
    lags: tuple[int, ...]
    partial: tuple[int, ...] = ()
    own: tuple[int, int] | None = None
    follows: tuple[int, ...] = ()
    segments: bool = False


@dataclass(frozen=True)
class Rows:
    """What the runtime knows of the rounds of Newton's method of one recurrence: what the names of their functions begin with; of each entry of D, the
    part of the Jacobian that stays in a channel, the number of its array, -1 where it is zero; and of each carried array the number of the one that
    it was a step ago, -1 of states of the step before."""

    name: str
    block: tuple[tuple[int, ...], ...]
    nearer: tuple[int, ...]


@dataclass(frozen=True)
class Kernels(KernelText):
    """The kernels of a cell: C++ source, the C++ name of each size, its recurrences, one step of the whole, and why a recurrence has
    no kernel; rows: C++ source of rounds of Newton's method, and rounds: those of recurrences."""

    COMMENT = "//"
    TEXTS = ("source", "rows")
    source: str = ""
    sizes: dict[str, str] = field(default_factory=dict)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    step: Step | None = None
    refused: dict[str, str] = field(default_factory=dict)
    rows: str = ""
    rounds: dict[str, Rows] = field(default_factory=dict)
