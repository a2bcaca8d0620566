"""How the rounds of a loop inside a step are scheduled."""

from dataclasses import dataclass

from rnndsl.kernel.graph import Node
from rnndsl.kernel.loops import inside, reachable
from rnndsl.kernel.program import Sink
from rnndsl.kernel.schedule import DomainKey, Schedule, schedule


@dataclass(frozen=True)
class Rounds:
    """The schedules of a loop's rounds: forwards, and for a loop backwards those too."""

    forward: Schedule
    backward: Schedule | None = None


def rounds_of(nodes: tuple[Node, ...], sinks: tuple[Sink, ...], n: int, key: DomainKey) -> Rounds:
    """How the rounds of a loop node are computed."""
    node = nodes[n]
    loop = node.loop

    def part(leaves: tuple[int, ...], wanted: list[Sink]) -> Schedule:
        region = inside(nodes, leaves, loop.counter)
        return schedule(nodes, wanted, reachable(nodes, [s.node for s in wanted]) & region | {s.node for s in wanted}, key)

    mine = [s for s in sinks if s.loop == loop.number]
    forward = part(loop.rounds, [s for s in mine if s.target.kind == "round"])
    if node.op == "loop":
        return Rounds(forward)
    return Rounds(forward, part((*loop.rounds, *node.back.gradients), [s for s in mine if s.target.kind != "round"]))
