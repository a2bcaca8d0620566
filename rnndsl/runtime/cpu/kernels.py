"""What a generated module says of its kernels in C++."""

from dataclasses import dataclass, field

from rnndsl.runtime.kernels import KernelText, Step


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
class Kernels(KernelText):
    """The kernels of a cell: C++ source, the C++ name of each size, its recurrences, one step of the whole, and why a recurrence has
    no kernel."""

    COMMENT = "//"
    source: str = ""
    sizes: dict[str, str] = field(default_factory=dict)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    step: Step | None = None
    refused: dict[str, str] = field(default_factory=dict)
