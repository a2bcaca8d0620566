"""What a generated module says of rounds of Newton's method, and of normal forms of matrix states, in PyTorch's operations."""

from dataclasses import dataclass, field

from rnndsl.runtime.kernels import KernelText


@dataclass(frozen=True)
class Round:
    """What the runtime knows of one recurrence: the name of its function; how many real arrays (two for a complex value) each stream, static and
    carried value is; of each carried array the number of the one that it was a step ago, -1 of states of the step before; and the semiring of its exact
    scan, where it has one."""

    name: str
    streams: tuple[int, ...]
    statics: tuple[int, ...]
    carries: tuple[int, ...]
    nearer: tuple[int, ...]
    semiring: str = ""


@dataclass(frozen=True)
class Chunks:
    """What the runtime knows of the normal form of one recurrence: the name of its function, and of that of what follows; how many real arrays each stream,
    static and carried value is, those for what follows the last; how many streams and statics are the recurrence's own; along which axis of the states,
    behind so many axes of heads, rows run; whether decays are along rows; whether the states are asked for; whether decays are known to be in [-1, 1];
    whether its function gives several changes a step."""

    name: str
    after: str
    streams: tuple[int, ...]
    statics: tuple[int, ...]
    carries: tuple[int, ...]
    own: tuple[int, int]
    follows: tuple[int, ...]
    axis: int
    heads: int
    rows: bool
    whole: bool
    bounded: bool
    changes: bool = False


@dataclass(frozen=True)
class Rounds(KernelText):
    """The rounds of a cell, and its normal forms: Python source, its recurrences, and why a recurrence has none. work: of each, the name of the function
    that counts what a step asks for."""

    COMMENT = "#"
    source: str = ""
    kernels: dict[str, Round] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    chunks: dict[str, Chunks] = field(default_factory=dict)
    unchunked: dict[str, str] = field(default_factory=dict)
    work: dict[str, str] = field(default_factory=dict)
