"""How a recurrence crosses the borders between ranks, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rnndsl.runtime.arguments import dtypes_of_fields
from rnndsl.runtime.ranks.pipeline import slices_of
from rnndsl.runtime.ranks.units import Units, units_of

EXACT = ("affine", "max-plus", "log-semiring")
_BACK = 2  # a sweep backwards takes the time of so many forwards
_ROUNDS = 3  # that Newton's method is taken to need before it has been seen
_seen: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()  # of each layer, the rounds of each recurrence in its last call


@dataclass(frozen=True)
class Way:
    """A way, pipeline or rounds, and why. turns: the time that it is predicted to take, and the other one (None where there is none), in sweeps over a
    rank's shard; rounds: predicted; bytes: that a rank sends forwards; units: of rounds."""

    name: str
    why: str
    turns: float
    other: float | None
    rounds: int
    bytes: int
    units: Units | None = None

    def gain(self, ranks: int) -> float:
        """How many times as fast as one rank, as predicted, where steps are shared evenly."""
        return ranks / self.turns

    def data(self, ranks: int) -> dict[str, Any]:
        """In plain data, with the text."""
        return {
            "ranks": ranks, "way": self.name, "why": self.why, "rounds": self.rounds, "bytes": self.bytes, "sweeps": self.turns, "other_sweeps": self.other,
            "times_faster": self.gain(ranks), "text": self.text(ranks),
        }  # fmt: skip

    def text(self, ranks: int) -> str:
        """In words, with the predicted gain over one rank, where steps are shared evenly."""
        other = "" if self.other is None else f", the other way {self.other:.1f}"
        rounds = f"{self.rounds} round{'s' * (self.rounds != 1)}, " if self.name == "rounds" else ""
        return (
            f"{self.name} over {ranks} ranks; {self.why}; {rounds}{self.bytes:,} bytes sent by a rank forwards; "
            f"predicted: {self.turns:.1f} sweeps over a shard{other}, {self.gain(ranks):.1f} times as fast as one rank"
        )


def way_of(layer: Any, name: str, first: Sequence[Tensor], ranks: int, wish: str) -> Way:
    """The way of a recurrence. first: what its first step sees, [B, ...] each; wish: one of `options.WAYS`. It depends on what all ranks know."""
    family, structure, _ = layer._found[name]
    batch = first[0].shape[0]
    state = sum(f.numel() * f.element_size() for f in first)
    n = slices_of(batch, ranks)
    turns = (n + ranks - 1) / n
    units = None if torch.is_inference_mode_enabled() else units_of(structure, first)
    if family not in EXACT and structure not in ("diagonal", "block"):
        units = None
    if units is None:
        return Way("pipeline", f"its channels meet ({family}, {structure})", turns, None, 0, state)
    rounds = 1 if family == "affine" else min(ranks - 1, _seen.get(layer, {}).get(name, 1 if family in EXACT else _ROUNDS))
    sweeps = 1 + rounds * (1 + _BACK * units.entries)
    numbers = sum(f.numel() * (1 + f.is_complex()) for f in first)
    sent = rounds * (2 + units.entries) * numbers * torch.finfo(first[0].dtype).bits // 8
    of_rounds = Way("rounds", f"{family}, {structure}: {units.entries} sweep{'s' * (units.entries != 1)} backwards for a shard's map", sweeps, turns, rounds, sent, units)
    of_turns = Way("pipeline", f"quicker than {rounds} round{'s' * (rounds != 1)}, as predicted", turns, sweeps, 0, state)
    if wish == "auto":
        return of_rounds if sweeps <= turns else of_turns
    return of_rounds if wish == "rounds" else of_turns


def remember(layer: Any, name: str, rounds: int) -> None:
    """Keeps how many rounds a recurrence took."""
    _seen.setdefault(layer, {})[name] = rounds


def planned(layer: Any, name: str, batch: int, ranks: int, dtype: torch.dtype) -> Way:
    """How a recurrence of a layer would cross borders. Raises ValueError for what is no number of ranks."""
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise ValueError(f"ranks: expected a whole number from 1 on, got {ranks!r}")
    states = layer._states[name]
    fields = [f for f in layer._fields if f[0] in states or any(f[0].removeprefix(f"{s}_").isdigit() for s in states)]
    first = [torch.empty((batch, *map(int, shape)), dtype=dtypes_of_fields(dtype)[number], device="meta") for _, shape, number in fields]
    return way_of(layer, name, first, ranks, "auto")
