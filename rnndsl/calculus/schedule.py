"""Which schedules are legal for a component, what each keeps for the backward pass, and which one a simple model predicts.

The model is that of the Triton backend (runtime/triton/tiles.py) for an H100, at the cost of a diagonal GRU: a sequential kernel takes
about the same time a step whatever the width, until the channels fill the GPU; multiple shooting takes time in proportion to channels
and steps. They meet near 6,000 channels. It is a model, not a measurement.
"""

from dataclasses import dataclass

from rnndsl.calculus.analysis import Component
from rnndsl.calculus.cost import size_of
from rnndsl.calculus.structure import BLOCK, DIAGONAL
from rnndsl.checks.cell import Type, Update
from rnndsl.checks.dims import Dim

ALL_STEPS, EXACT, SEQUENTIAL, NEWTON = "all steps at once", "exact scan", "sequential", "newton"
MEETING = 6_000  # channels times batch where the model's sequential and shooting times cross
FEW_STEPS = 64  # below, a launch and one iteration take as long as the steps one by one
MAX_SLOTS = 4  # a Jacobian block of a channel must fit in registers


@dataclass(frozen=True)
class Saved:
    """A tensor that the backward pass reads: one value a step."""

    name: str
    role: str  # stream, state
    type: Type


@dataclass(frozen=True)
class Prediction:
    """The schedule for one shape, and why in words; no schedule where a size is missing."""

    schedule: str | None
    why: str
    channels: int | None = None  # batch times channels
    needs: tuple[str, ...] = ()  # sizes that are not given


def legal_schedules(component: Component) -> tuple[str, ...]:
    """What can run a component; the first is preferred where nothing is known of the shape."""
    if component.scan is None:
        return (ALL_STEPS,)
    within_a_channel = component.structure.kind in (DIAGONAL, BLOCK)
    if within_a_channel and component.is_exact:
        return (EXACT, SEQUENTIAL)
    if within_a_channel and component.structure.slots <= MAX_SLOTS:
        return (SEQUENTIAL, NEWTON)
    return (SEQUENTIAL,)


def saved_tensors(component: Component) -> tuple[Saved, ...]:
    """Streams and states; gates and Jacobians are computed again from them."""
    if component.scan is None:
        return ()
    types = {o.state: o.value.type for o in component.scan.body if isinstance(o, Update)}
    streams = {(r.name, r.lag): Saved(f"{r.name}[t-{r.lag}]" if r.lag else r.name, "stream", r.type) for r in component.scan.streams}
    return (*streams.values(), *(Saved(s, "state", types[s]) for s in component.states))


def channels_of(component: Component) -> Dim:
    """Independent channels of one sequence: the values of its widest state."""
    assert component.scan is not None
    sizes = [size_of(o.value.type) for o in component.scan.body if isinstance(o, Update)]
    return max(sizes, key=lambda d: (sum(p for m, _ in d.terms for _, p in m), str(d)))


def predict(component: Component, batch: int, steps: int, sizes: dict[str, int]) -> Prediction:
    """The schedule that the model predicts for a shape."""
    legal = legal_schedules(component)
    if legal[0] == ALL_STEPS:
        return Prediction(ALL_STEPS, "it reads no own past")
    if legal[0] == EXACT:
        return Prediction(EXACT, f"{component.family}: one pass, no iteration")
    if NEWTON not in legal:
        if component.structure.kind in (DIAGONAL, BLOCK):
            return Prediction(SEQUENTIAL, f"{component.structure.slots} slots a channel; registers hold {MAX_SLOTS}")
        return Prediction(SEQUENTIAL, f"a {component.structure.kind} Jacobian mixes channels at every step")
    if steps < FEW_STEPS:
        return Prediction(SEQUENTIAL, f"{steps} steps are too few to solve side by side")
    width = channels_of(component)
    missing = tuple(sorted(width.names - sizes.keys()))
    if missing:
        return Prediction(None, f"depends on {', '.join(missing)}", needs=missing)
    channels = int(batch * width.evaluate(sizes))
    few = channels < MEETING
    why = f"{channels:,} channels in all, {'below' if few else 'not below'} the {MEETING:,} or so where the two meet"
    return Prediction(NEWTON if few else SEQUENTIAL, why, channels)
