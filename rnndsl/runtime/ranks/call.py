"""A call of a layer over ranks: what is agreed before, and what runs its recurrences."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rnndsl.runtime.backend import Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.ranks.agreement import agreed, any_grad, said_of
from rnndsl.runtime.ranks.borders import Borders
from rnndsl.runtime.ranks.options import Shards
from rnndsl.runtime.ranks.pipeline import piped
from rnndsl.runtime.ranks.shard import FromLast, Reduced, Shard
from rnndsl.runtime.ranks.wire import wire_of


def over_ranks(layer: Any, shards: Shards, inputs: tuple, **named: Any) -> tuple[Any, ...]:
    """What `Layer.forward` does, over ranks. Raises RankError where ranks do not fit one another, or one is gone."""
    opened = OverRanks(shards)
    try:
        return layer._called(inputs, over=opened, **named)
    except Exception as e:
        if not opened.has_begun:  # the others wait to hear of this call
            agreed(wire_of(shards.group), {"problem": f"{type(e).__name__}: {e}"[:800]})
        raise


over_ranks._torchdynamo_disable = True  # type: ignore[attr-defined]  # a compiled program calls it as it is


class OverRanks:
    """What a call of a layer over ranks does beside what a call does."""

    def __init__(self, shards: Shards):
        self.shards = shards
        self.has_begun = False

    def begun(self, layer: Any, lead: Sequence[int], begun: Any, given: Sequence[Tensor], all_states: bool) -> tuple[Tensor, ...]:
        """Agrees with the other ranks. begun: what `Layer._begin` made; given: inputs and state. Returns params and consts, whose gradients are summed
        over the ranks."""
        batch, steps = lead
        kind, products, values, _ = begun
        said = said_of(layer, self.shards, steps, batch, kind, products, any_grad([*given, *values]), {"all_states": all_states})
        self.has_begun = True
        everyone = agreed(wire_of(self.shards.group), said)
        self.shard = Shard(self.shards, kind["device"], [s["steps"] for s in everyone], any(s["grad"] for s in everyone))
        places = [i for i, v in enumerate(values) if v.requires_grad]
        if not (places and self.shard.grads and self.shards.reduce):
            return values
        shared = dict(zip(places, self.shard.recorded(Reduced, *(values[i] for i in places)), strict=True))
        return tuple(shared.get(i, v) for i, v in enumerate(values))

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


def scanned(layer: Any, name: str, call: Call, kind: dict[str, Any]) -> Results:
    """A recurrence over ranks. call: `first` are borders."""
    borders = call.first
    shard: Shard = borders[0].shard  # type: ignore[attr-defined]
    given = call._replace(first=tuple(b.given for b in borders))  # type: ignore[attr-defined]
    results, first = piped(shard, lambda part: layer._scan(name, part, kind), given)
    for border, value in zip(borders, first, strict=True):
        border.found = value  # type: ignore[attr-defined]
    return results


