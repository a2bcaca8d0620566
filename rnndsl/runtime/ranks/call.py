"""A call of a layer over ranks: what is agreed before, and what runs its recurrences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from torch import Tensor

from rnndsl.runtime.backend import Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.choice import backend_for
from rnndsl.runtime.ranks.agreement import agreed, any_grad, digests, said_of
from rnndsl.runtime.ranks.borders import Borders
from rnndsl.runtime.ranks.choice import remember, seen_of, way_of
from rnndsl.runtime.ranks.crossing import crossed
from rnndsl.runtime.ranks.line import check_modes, heard
from rnndsl.runtime.ranks.options import Shards, is_computed_again
from rnndsl.runtime.ranks.pipeline import piped
from rnndsl.runtime.ranks.placed import check_order, own_part
from rnndsl.runtime.ranks.shard import FromLast, Shard
from rnndsl.runtime.ranks.sweeps import Solved
from rnndsl.runtime.ranks.wire import wire_of


def over_ranks(layer: Any, shards: Shards, inputs: tuple, **named: Any) -> tuple[Any, ...]:
    """What `Layer.forward` does, over ranks. Raises RankError where ranks do not fit one another, or one is gone."""
    with heard(shards.group):
        check_modes()
        check_order(shards)
        inputs = tuple(own_part(name, x, shards) for x, name in zip_longest(inputs, [n for n, _, _ in layer._inputs], fillvalue="state"))
        named["reset"] = own_part("reset", named["reset"], shards)
        return layer._called(inputs, over=OverRanks(shards), **named)


class OverRanks:
    """What a call of a layer over ranks does beside what a call does."""

    def __init__(self, shards: Shards):
        self.shards = shards

    def begun(self, layer: Any, lead: Sequence[int], begun: Any, given: Sequence[Tensor], all_states: bool) -> tuple[Tensor, ...]:
        """Agrees with the other ranks. begun: what `Layer._begin` made; given: inputs and state. Returns params and consts, whose gradients are summed
        over the ranks."""
        batch, steps = lead
        kind, products, values, _ = begun
        more = {"all_states": all_states, "seen": seen_of(layer), "params": digests(layer, values)}
        said = said_of(layer, self.shards, steps, batch, kind, products, any_grad([*given, *values]), more)
        everyone = agreed(wire_of(self.shards), said)
        self.shard = Shard(self.shards, kind["device"], [s["steps"] for s in everyone], any(s["grad"] for s in everyone))
        self.shard.seen = everyone[0]["seen"]
        return self.shard.opened(values, given)

    def carried(self, carried: Sequence[Tensor]) -> Borders:
        """The state that the first step of this rank sees."""
        return Borders.of(self.shard, carried)

    def left(self, outputs: Sequence[Tensor], fields: Sequence[Tensor], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...] | None, dict[str, Tensor]]:
        """Outputs, the state that the whole sequence leaves, None on ranks that do not get it, and the states of all steps."""
        shard = self.shard
        if self.shards.final_state == "all":
            fields = shard.recorded(FromLast, *fields) if fields else fields
        has_state = self.shards.final_state == "all" or shard.rank == shard.size - 1
        all_values = shard.attached([*outputs, *fields, *states.values()])
        n, m = len(outputs), len(outputs) + len(fields)
        return all_values[:n], all_values[n:m] if has_state else None, dict(zip(states, all_values[m:], strict=True))


@dataclass(frozen=True)
class RankReport:
    """How a recurrence crossed the borders between ranks in the last call. rounds, gap: how often all states at borders were corrected, and the largest gap
    that was left, but in a pipeline; sweeps: of `repeats`, over a shard, by the rank that had most to do each time; sent: the bytes that this rank gave to
    others forwards; local: how this rank's shard was solved, if that says something."""

    recurrence: str
    way: str
    ranks: int
    rounds: int
    gap: float
    sweeps: float
    sent: int
    local: Any = None

    def __str__(self) -> str:
        took = f" ({self.sweeps:.2f} sweeps)" if self.way == "repeats" else ""
        how = "a pipeline" if self.way == "pipeline" else f"{self.way}: {self.rounds} round{'s' * (self.rounds != 1)}{took}, gap {self.gap:.1e}"
        return f"{self.recurrence}: over {self.ranks} ranks, {how}, {self.sent:,} bytes sent" + (f"; {self.local}" if self.local else "")


def scanned(layer: Any, name: str, call: Call, kind: dict[str, Any]) -> Results:
    """A recurrence over ranks. call: `first` are borders."""
    borders = call.first
    shard: Shard = borders[0].shard  # type: ignore[attr-defined]
    given = call._replace(first=tuple(b.given for b in borders))  # type: ignore[attr-defined]
    way, sent, solved = way_of(layer, name, given.first, shard.size, shard.shards.way, shard.seen), shard.wire.line.sent, Solved()

    def local(part: Call) -> Results:
        said = layer._reports.get(name)
        found = layer._scan(name, part, kind)
        if said is not None and is_computed_again():  # the report is of the call
            layer._reports[name] = said
        return found

    if way.units is not None and way.run is not None:
        results, first = crossed(way.run, shard, way.units, local, given, solved)
        remember(layer, name, way.name, solved)
    else:
        results, first = piped(shard, local, given)
    for border, value in zip(borders, first, strict=True):
        border.found = value  # type: ignore[attr-defined]
    report = RankReport(name, way.name, shard.size, solved.rounds, solved.gap, solved.sweeps, shard.wire.line.sent - sent)
    last = layer._reports.get(name)
    layer._reports[name] = (backend_for(layer, name, kind["device"], (given.first[0].shape[0], call.steps)).name, lambda: replace(report, local=last[1]() if last else None))
    return results
