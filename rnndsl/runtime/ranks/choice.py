"""How a recurrence crosses the borders between ranks, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rnndsl.families import AFFINE, EXACT
from rnndsl.runtime.arguments import dtypes_of_fields
from rnndsl.runtime.ranks.crossing import Rounds, is_kept
from rnndsl.runtime.ranks.pipeline import slices_of
from rnndsl.runtime.ranks.repeats import ByRepeats
from rnndsl.runtime.ranks.rounds import ByMaps
from rnndsl.runtime.ranks.sweeps import Solved
from rnndsl.runtime.ranks.units import Units, one_unit, units_of
from rnndsl.runtime.ranks.wire import sent_for

_BACK = 2  # a sweep backwards takes the time of so many forwards
_ROUNDS = 3  # that Newton's method is taken to need before it has been seen
Seen = Mapping[str, Mapping[str, Sequence[float]]]  # of each recurrence and way the rounds and sweeps that it took
_seen: WeakKeyDictionary[Any, dict[str, dict[str, tuple[int, float]]]] = WeakKeyDictionary()  # the last ones, of each layer


@dataclass(frozen=True)
class Way:
    """A way, and why. turns: the time that it is predicted to take, in sweeps over a rank's shard; others: that of the other ways there are; rounds:
    predicted; bytes: that a rank sends forwards; units, run: of rounds and repeats."""

    name: str
    why: str
    turns: float
    rounds: int
    bytes: int
    units: Units | None = None
    run: Rounds | None = None
    others: tuple[tuple[str, float], ...] = ()

    def gain(self, ranks: int) -> float:
        """How many times as fast as one rank, as predicted, where steps are shared evenly."""
        return ranks / self.turns

    def data(self, ranks: int) -> dict[str, Any]:
        """In plain data, with the text."""
        return {
            "ranks": ranks, "way": self.name, "why": self.why, "rounds": self.rounds, "bytes": self.bytes, "sweeps": self.turns, "other_sweeps": dict(self.others),
            "times_faster": self.gain(ranks), "text": self.text(ranks),
        }  # fmt: skip

    def text(self, ranks: int) -> str:
        """In words, with the predicted gain over one rank, where steps are shared evenly."""
        others = ", ".join(f"{name} {sweeps:.1f}" for name, sweeps in self.others)
        rounds = f"{self.rounds} round{'s' * (self.rounds != 1)}, " if self.rounds else ""
        return (
            f"{self.name} over {ranks} ranks; {self.why}; {rounds}{self.bytes:,} bytes sent by a rank forwards; "
            f"predicted: {self.turns:.1f} sweeps over a shard ({others}), {self.gain(ranks):.1f} times as fast as one rank"
        )


def way_of(layer: Any, name: str, first: Sequence[Tensor], ranks: int, wish: str, seen: Seen) -> Way:
    """The way of a recurrence. first: what its first step sees, [B, ...] each; wish: one of `options.WAYS`. It depends on what all ranks know."""
    family, structure, _ = layer._found[name]
    known = seen.get(name, {})
    ways = [_repeats(first, ranks, known.get("repeats")), _pipeline(first, ranks)]
    has_maps = not torch.is_inference_mode_enabled() and (family in EXACT or structure in ("diagonal", "block"))
    units = units_of(structure, first, _rows_of(layer, name)) if has_maps else None
    if units is not None:  # the first of those that are predicted alike, since repeats join pieces as well
        ways.insert(0, _rounds(first, ranks, family, structure, units, known.get("rounds")))
    if wish == "rounds" and units is None:  # those that there are
        wish = "repeats"
    found = next((w for w in ways if w.name == wish), None) or min(ways, key=lambda w: w.turns)
    return replace(found, others=tuple((w.name, w.turns) for w in ways if w.name != found.name))


def _pipeline(first: Sequence[Tensor], ranks: int) -> Way:
    n = slices_of(first[0].shape[0], ranks)
    why = f"a rank after the other, over {n} slice{'s' * (n != 1)} of the batch"
    return Way("pipeline", why, (n + ranks - 1) / n, 0, _in_turns(first, n, ranks))


def _repeats(first: Sequence[Tensor], ranks: int, seen: Sequence[float] | None) -> Way:
    rounds, sweeps = (ranks - 1, float(ranks)) if seen is None else (min(int(seen[0]), ranks - 1), min(seen[1], ranks))
    why = "from a guess, and again from what the rank before leaves; " + ("at most" if seen is None else "as in the last call so")
    return Way("repeats", why, sweeps, rounds, (rounds + 1) * sent_for(2 * _size(first) + 16), one_unit(first), ByRepeats())


def _rounds(first: Sequence[Tensor], ranks: int, family: str, structure: str, units: Units, seen: Sequence[float] | None) -> Way:
    is_affine = family == AFFINE
    rounds = 1 if is_affine else min(ranks - 1, int(seen[0]) if seen else 1 if family in EXACT else _ROUNDS)
    maps = max(0, min(rounds, ranks - 2))  # that a rank finds; of two none is needed
    why = f"{family}, {structure}: {units.passes} sweep{'s' * (units.passes != 1)} backwards for a shard's map"
    size = _size(first)
    sent = sent_for(2 * size + bool(maps) * units.entries * size // units.alike)
    return Way("rounds", why, 1 + rounds + maps * units.passes * _BACK, rounds, rounds * sent, units, ByMaps(is_affine))


def _rows_of(layer: Any, name: str) -> int | None:
    """Along which of the last two axes of a matrix state a step multiplies all columns by the same, where its normal form says so: -2 or -1."""
    chunks = getattr(type(layer)._kernels.get("torch"), "chunks", {}).get(name)
    return None if chunks is None else chunks.axis - 2


def _in_turns(first: Sequence[Tensor], n: int, ranks: int) -> int:
    """Bytes that a rank sends in a pipeline: of n slices, in as many frames as it has turns but one."""
    batch = first[0].shape[0]
    row = sum(f[:1].numel() * f.element_size() for f in first)
    slices = [row * ((k + 1) * batch // n - k * batch // n) for k in range(n)]
    return (n + ranks - 2) * sent_for(0) + sum(sent_for(s) - sent_for(0) for s in slices)


def _size(first: Sequence[Tensor]) -> int:
    """Bytes of a state where its parts are real numbers of one dtype."""
    return sum(f.numel() * (1 + f.is_complex()) for f in first) * torch.finfo(first[0].dtype).bits // 8


def remember(layer: Any, name: str, way: str, solved: Solved) -> None:
    """Keeps what a recurrence took; of a cell that forgets, that it would be done by repeating once."""
    known = _seen.setdefault(layer, {}).setdefault(name, {})
    known[way] = solved.rounds, solved.sweeps
    if way == "rounds" and solved.forgets:
        known.setdefault("repeats", (1, 2.0))


def seen_of(layer: Any) -> Seen:
    """What the last calls of a layer took; nothing where a call may be made anew in the backward pass, which must be the same then."""
    return _seen.get(layer, {}) if is_kept() else {}


def planned(layer: Any, name: str, batch: int, ranks: int, dtype: torch.dtype) -> Way:
    """How a recurrence of a layer would cross borders. Raises ValueError for what is no number of ranks."""
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise ValueError(f"ranks: expected a whole number from 1 on, got {ranks!r}")
    states = type(layer)._states[name]
    fields = [f for f in layer._fields if f[0] in states or any(f[0].removeprefix(f"{s}_").isdigit() for s in states)]
    first = [torch.empty((batch, *shape), dtype=dtypes_of_fields(dtype)[number], device="meta") for _, shape, number in fields]
    return way_of(layer, name, first, ranks, "auto", seen_of(layer))
