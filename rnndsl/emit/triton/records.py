"""What the templates need of one recurrence: names, functions, and where each thing that a kernel reads lies."""

from dataclasses import dataclass

from rnndsl.emit.triton.matrix import Matrices


@dataclass(frozen=True)
class FunctionText:
    """One function of a channel: what it says of itself, its parameters and its lines."""

    name: str
    doc: str
    parameters: list[str]
    lines: list[str]


@dataclass(frozen=True)
class SlotText:
    """One value that a channel carries. `name` is its value, `old` that before the step, `d` and `d_old` their gradients."""

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


@dataclass(frozen=True)
class FollowText:
    """One value that follows a step. `slopes` are the names of its derivatives in the old slots, by slot, where they are not zero."""

    index: int
    name: str
    slopes: dict[int, str]


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


@dataclass(frozen=True)
class RecurrenceText:
    """What the templates need of one recurrence."""

    label: str
    name: str
    title: str
    family: str
    grid: list[str]
    positions: list[str]
    slots: list[SlotText]
    follows: list[FollowText]
    own: tuple[int, int]
    follow_forms: tuple[int, ...]
    stream_arrays: list[ArrayText]
    static_arrays: list[ArrayText]
    streams: list[AccessText]
    statics: list[AccessText]
    functions: list[FunctionText]
    forward: Matrices | None
    backward: Matrices | None
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
    def kept(self) -> list[SlotText]:
        return [s for s in self.slots if s.is_kept]

    @property
    def seeded_values(self) -> list["SlotText | FollowText"]:
        """What has a sequence, so that a gradient of every step may come in."""
        return [*self.kept, *self.follows]

    @property
    def stream_gradients(self) -> list[AccessText]:
        return [a for a in self.streams if a.has_gradient]

    @property
    def static_gradients(self) -> list[AccessText]:
        return [a for a in self.statics if a.has_gradient]

    @property
    def is_boxed(self) -> bool:
        return any(s.is_boxed for s in self.slots)

    # Statements of the parallel kernels that depend on the semiring; J is the matrix of a step, A that of the steps of a lane.

    @property
    def restarted(self) -> list[str]:
        """A step that restarts is a map that forgets: from the initial values whatever it is given."""
        assert self.forward is not None
        values = self.forward.applied_to("J", [f"{s.name}_restart[None, :]" for s in self.slots], [f"{s.name}_added" for s in self.slots])
        return [
            *(f"{s.name}_added = tl.where(restart[0], {v}, {s.name}_added)" for s, v in zip(self.slots, values, strict=True)),
            *(f"{j} = tl.where(restart[0], {self.forward.semiring.zero}, {j})" for j in self.forward.names("J")),
        ]

    @property
    def begun(self) -> list[str]:
        """The first lane is a map that forgets too: from the state that is known."""
        assert self.forward is not None
        values = self.forward.applied_to("A", [f"{s.name}[None, :]" for s in self.slots], [f"{s.name}_next" for s in self.slots])
        return self._at_lane("lane == 0", values, self.forward)

    @property
    def begun_back(self) -> list[str]:
        """And so is the last one, backwards."""
        assert self.backward is not None
        values = self.backward.applied_to("A", [f"{s.name}_carried[None, :]" for s in self.slots], [f"{s.name}_next" for s in self.slots])
        return self._at_lane("lane == LANES - 1", values, self.backward)

    def _at_lane(self, where: str, values: list[str], matrices: Matrices) -> list[str]:
        return [
            *(f"{s.name}_next = tl.where({where}, {v}, {s.name}_next)" for s, v in zip(self.slots, values, strict=True)),
            *(f"{a} = tl.where({where}, {matrices.semiring.zero}, {a})" for a in matrices.names("A")),
        ]

    @property
    def seeded(self) -> list[str]:
        """What a step backwards adds: its map of the gradients of its new states and of what follows."""
        assert self.backward is not None
        seeds = [f"step[3][{s.index}]" if s.is_kept else None for s in self.slots]
        found = []
        for s, value in zip(self.slots, self.backward.applied_to("J", seeds, [None] * len(self.slots)), strict=True):
            terms = [f"{f.slopes[s.index]} * step[4][{f.index}]" for f in self.follows if s.index in f.slopes]
            found.append(f"{s.name}_added = {' + '.join([*([value] if value != 'nothing' or not terms else []), *terms])}")
        return found

    @property
    def slopes(self) -> list[str]:
        """What the function of slopes gives: the matrix of a step, and the derivatives of what follows it."""
        assert self.backward is not None
        return [*self.backward.names("J"), *(name for f in self.follows for name in f.slopes.values())]
