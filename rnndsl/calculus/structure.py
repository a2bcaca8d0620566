"""The structure of a component's Jacobian, read off which axes its equations mix, with the reason in words."""

from dataclasses import dataclass

from rnndsl.calculus.lanes import COLUMN, HEAD, ROW, Cause, Lanes
from rnndsl.diagnostics import Source, Span

DIAGONAL, BLOCK, PER_HEAD, LEFT, RIGHT, DENSE = "diagonal", "block", "head", "left", "right", "dense"
UNKNOWN = "unknown"  # of a component that is too large to be looked at
_MATTERS = {PER_HEAD: {ROW, COLUMN}, LEFT: {ROW}, RIGHT: {COLUMN}, DENSE: {ROW, COLUMN, HEAD}}


@dataclass(frozen=True)
class Structure:
    """diagonal; block (several old values coupled per channel); head (dense inside a head); left or right (a matrix state
    multiplied from one side only); dense. `slots` are the real numbers that a channel carries, two for a complex value; `span` is what decided it."""

    kind: str
    slots: int
    reason: str
    span: Span | None = None

    @property
    def within_a_channel(self) -> bool:
        """Whether nothing in a step mixes channels."""
        return self.kind in (DIAGONAL, BLOCK)


def structure_of(lanes: Lanes, source: Source) -> Structure:
    """The structure of a component."""
    states = [s for s in lanes.slots if s.lag == 1]
    slots = sum(1 + s.type.is_complex for s in lanes.slots)
    kind = _kind(lanes)
    if kind not in _MATTERS:
        return Structure(kind, slots, _reason_within_a_channel(lanes, kind), None)
    cause = _first_cause(lanes.causes, _MATTERS[kind])
    if cause is None:
        names = " and ".join(f"`{s.state}`" for s in states)
        return Structure(kind, slots, f"{kind} because {names} have different shapes and depend on each other", None)
    place = f"`{' '.join(source.slice(cause.span).split())}` at {source.name}:{source.line_of(cause.span.start)}"
    names = ", ".join(f"`{s.state}`" for s in states)
    matrix = any(s.type.rank == 2 for s in states)
    crossed = "rows and columns" if matrix else "heads" if HEAD in cause.axes else "channels"
    reason = {
        PER_HEAD: f"head because {place} mixes channels within a head and nothing mixes heads",
        LEFT: f"left because {place} mixes the rows of {names} and nothing mixes its columns",
        RIGHT: f"right because {place} mixes the columns of {names} and nothing mixes its rows",
        DENSE: f"dense because {place} mixes {crossed}",
    }[kind]
    return Structure(kind, slots, reason, cause.span)


def _kind(lanes: Lanes) -> str:
    states = [s for s in lanes.slots if s.lag == 1]
    mixed = lanes.mixed
    matrix = any(s.type.rank == 2 for s in states)
    if not mixed:
        return DIAGONAL if len(lanes.slots) == 1 and not lanes.complex_pairs else BLOCK
    if HEAD in mixed:
        return DENSE
    if matrix and mixed == {ROW}:
        return LEFT
    if matrix and mixed == {COLUMN}:
        return RIGHT
    return PER_HEAD if any(s.type.heads for s in states) else DENSE


def _first_cause(causes: tuple[Cause, ...], axes: set[str]) -> Cause | None:
    return next((c for c in causes if c.span.end > c.span.start and c.axes & axes), None)


def _reason_within_a_channel(lanes: Lanes, kind: str) -> str:
    states = [s for s in lanes.slots if s.lag == 1]
    first = states[0].state
    if kind == DIAGONAL:
        return f"diagonal because `{first}[t-1]` enters by elementwise operations only"
    lags = [s for s in lanes.slots if s.lag > 1]
    if lanes.complex_pairs:
        return f"block because the real and imaginary parts of `{first}` are read apart"
    if len(states) == 1:
        return f"block because `{first}` is read up to {lags[-1].lag} steps back, each channel by itself"
    names = ", ".join(f"`{s.state}`" for s in states[:-1]) + f" and `{states[-1].state}`"
    return f"block because {names} depend on each other, each channel by itself"
