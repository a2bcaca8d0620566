"""What a generated module says of rounds of Newton's method in PyTorch's operations."""

from dataclasses import dataclass, field

from rnndsl.runtime.kernels import KernelText


@dataclass(frozen=True)
class Round:
    """What the runtime knows of one recurrence: the name of its function; how many real arrays (two for a complex value) each stream, static and
    carried value is; and of each carried array the number of the one that it was a step ago, -1 of states of the step before."""

    name: str
    streams: tuple[int, ...]
    statics: tuple[int, ...]
    carries: tuple[int, ...]
    nearer: tuple[int, ...]

    @property
    def lags(self) -> tuple[int, ...]:
        """The lag of each carried array."""
        found: list[int] = []
        for near in self.nearer:
            found.append(1 if near < 0 else found[near] + 1)
        return tuple(found)


@dataclass(frozen=True)
class Rounds(KernelText):
    """The rounds of a cell: Python source, its recurrences, and why a recurrence has none."""

    COMMENT = "#"
    source: str = ""
    kernels: dict[str, Round] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
