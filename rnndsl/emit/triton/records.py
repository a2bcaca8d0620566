"""What the templates need of one recurrence: names, functions, and where each thing that a kernel reads lies."""

from dataclasses import dataclass

from rnndsl.emit.triton.layout import called


@dataclass(frozen=True)
class FunctionText:
    """One function of a channel: what it says of itself, its parameters and its lines."""

    name: str
    doc: str
    parameters: list[str]
    lines: list[str]

    @property
    def head(self) -> str:
        return called(f"def {self.name}", self.parameters, 0, ":")


def _seed_of(name: str) -> str:
    """Where the gradients of the values of every step are."""
    return called("seed_of", [f"{name}_seed_at", f"{name}_seed_rows", f"{name}_seed_times", "place"])


@dataclass(frozen=True)
class SlotText:
    """One value that a channel carries. `name` is its value, `old` that before the step."""

    index: int
    name: str
    old: str
    lag: int
    nearer: int  # the slot that it was a step ago, -1 where it is made anew
    low: float
    high: float

    @property
    def is_kept(self) -> bool:
        return self.lag == 1

    @property
    def is_boxed(self) -> bool:
        return self.low != float("-inf") or self.high != float("inf")

    # What kernels call what belongs to it.

    @property
    def all(self) -> str:
        return f"{self.name}_all" if self.is_kept else f"{self.name}_older"

    @property
    def seed(self) -> str:
        return _seed_of(self.name)

    @property
    def first(self) -> str:
        return f"{self.name}_first"

    @property
    def initial(self) -> str:
        return f"{self.name}_initial"

    @property
    def final(self) -> str:
        return f"{self.name}_final"

    @property
    def first_out(self) -> str:
        return f"{self.name}_first_out"

    @property
    def initial_out(self) -> str:
        return f"{self.name}_initial_out"

    @property
    def end(self) -> str:
        return f"if_any({self.final})"

    @property
    def restart_out(self) -> str:
        return f"if_any({self.initial_out})"

    @property
    def bounds(self) -> str:
        return f"({self.name}_low, {self.name}_high)" if self.is_boxed else "()"

    @property
    def box(self) -> str:
        return f'(float("{self.low}"), float("{self.high}"))'


@dataclass(frozen=True)
class FollowText:
    """One value that follows a step. `slopes` are the old slots in which it has derivatives that are not zero."""

    index: int
    name: str
    slopes: tuple[int, ...]

    @property
    def all(self) -> str:
        return f"{self.name}_all"

    @property
    def seed(self) -> str:
        return _seed_of(self.name)


@dataclass(frozen=True)
class ArrayText:
    """A real array that kernels are given."""

    index: int
    name: str


@dataclass(frozen=True)
class AccessText:
    """What a channel reads of an array. `entry` is where its entry lies; `has_gradient` tells whether anything comes back to it.

    `is_direct`: its gradient goes to where it was read; else to a place a channel, to be summed up."""

    index: int
    name: str
    array: str
    array_index: int
    entry: str
    has_gradient: bool
    is_direct: bool
    axes: tuple[int, ...]  # of the grid that it runs along
    place: str  # offset and strides along these axes, as Python

    @property
    def at(self) -> str:
        return f"{self.array} + row * {self.array}_rows + {self.entry}"

    @property
    def times(self) -> str:
        return f"{self.array}_times"

    @property
    def value(self) -> str:
        return f"tl.load({self.array} + {self.entry}, place.live, 0.0).to(REAL)"

    @property
    def out(self) -> str:
        return f"{self.name}_out"

    @property
    def out_at(self) -> str:
        return f"{self.out} + row * {self.out}_rows + {self.entry if self.is_direct else 'channel'}"

    @property
    def out_times(self) -> str:
        return f"{self.name}_out_times"


@dataclass(frozen=True)
class RecurrenceText:
    """What the templates need of one recurrence."""

    label: str
    name: str
    title: str
    family: str
    zero: str  # of the family's semiring
    grid: list[str]
    positions: list[str]
    positions_back: list[str]
    slots: list[SlotText]
    follows: list[FollowText]
    own: tuple[int, int]
    follow_forms: tuple[int, ...]
    stream_arrays: list[ArrayText]
    static_arrays: list[ArrayText]
    streams: list[AccessText]
    statics: list[AccessText]
    functions: list[FunctionText]
    is_parallel: bool
    forms: tuple[tuple[int, ...], ...]  # how many real arrays each stream, static and carried value is
    assumes: tuple[str, ...]  # hyperparameters whose defaults the box needs
    operations: dict[str, tuple[int, int]]  # of a function: elementary operations, and special functions among them

    @property
    def kernels(self) -> str:
        """What the file calls the kernels of the recurrence together."""
        return f"{self.name}_kernels"

    @property
    def is_exact(self) -> bool:
        return self.family != "nonlinear"

    @property
    def method(self) -> str:
        """What the kernel that is parallel over time does."""
        return "exact" if self.is_exact else "newton"

    @property
    def kept(self) -> list[SlotText]:
        return [s for s in self.slots if s.is_kept]

    @property
    def older(self) -> list[SlotText]:
        return [s for s in self.slots if not s.is_kept]

    @property
    def stream_gradients(self) -> list[AccessText]:
        return [a for a in self.streams if a.has_gradient]

    @property
    def static_gradients(self) -> list[AccessText]:
        return [a for a in self.statics if a.has_gradient]

    def functions_of(self, *kinds: str) -> list[str]:
        """What functions of the recurrence are called."""
        return [f"{self.name}_{kind}" for kind in kinds]

    # Parameters of kernels, in the order in which `runtime/triton/launch.py` gives them.

    @property
    def given(self) -> list[str]:
        """What every kernel reads."""
        return [
            *(n for a in self.stream_arrays for n in (a.name, f"{a.name}_rows", f"{a.name}_times")),
            *(a.name for a in self.static_arrays),
            *(n for s in self.slots for n in (f"{s.name}_first", f"{s.name}_initial")),
            "reset", "reset_rows", "reset_times",
        ]  # fmt: skip

    @property
    def written(self) -> list[str]:
        """What one that goes forwards writes."""
        return [*(f"{s.name}_all" for s in self.kept), *(f"{s.name}_final" for s in self.slots), *(f"{f.name}_all" for f in self.follows)]

    @property
    def bounds(self) -> list[str]:
        """What Newton's method is told of the slots that have bounds."""
        return [n for s in self.slots if s.is_boxed for n in (f"{s.name}_low", f"{s.name}_high")]

    @property
    def given_back_typed(self) -> list[str]:
        """The same as a kernel's own parameters. Gradients of streams are contiguous: how far apart steps are, a layer's sizes say."""
        apart = {f"{a.name}_out_times" for a in self.stream_gradients}
        return [f"{n}: tl.constexpr" if n in apart else n for n in self.given_back]

    @property
    def given_back(self) -> list[str]:
        """What one that goes backwards reads and writes besides."""
        seeded = [*(s.name for s in self.kept), *(f.name for f in self.follows)]
        return [
            *(f"{s.name}_all" if s.is_kept else f"{s.name}_older" for s in self.slots),
            *(n for name in seeded for n in (f"{name}_seed_at", f"{name}_seed_rows", f"{name}_seed_times")),
            *(f"{s.name}_final" for s in self.slots),
            *(n for a in self.stream_gradients for n in (f"{a.name}_out", f"{a.name}_out_rows", f"{a.name}_out_times")),
            *(f"{a.name}_out" for a in self.static_gradients),
            *(n for s in self.slots for n in (f"{s.name}_first_out", f"{s.name}_initial_out")),
        ]  # fmt: skip
