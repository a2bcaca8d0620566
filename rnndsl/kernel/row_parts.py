"""A step over rows in parts, where rounds of its loops multiply by slices of params: a round of a loop is a part, and so is what stands before, between and
behind loops. Each is a step by itself, forwards and backwards, in which slices, and the number of a round, are static arrays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rnndsl.checks.dims import Dim
from rnndsl.kernel.graph import REDUCTIONS, SCALARS, Leaf, Node
from rnndsl.kernel.loops import bodies, reachable
from rnndsl.kernel.row_steps import GraphCopy, PartSteps, part_steps
from rnndsl.kernel.step import Step
from rnndsl.kernel.values import Array


@dataclass(frozen=True)
class Slice:
    """A slice of a static array, which stands behind the statics; number: a node of the step that says which, None of that of the round."""

    static: int
    number: int | None


@dataclass(frozen=True)
class RowPart:
    """One part. Values of a step have numbers: first those that it carries, then what parts make. reads, makes: those of this part, which are the old values
    and the outputs of `steps`. ends: of a loop, the first and the last round, else None; starts: what its first round begins with; what a round hands on
    comes before what it reads among its old values. counted: whether the number of a round stands behind the slices."""

    steps: PartSteps
    slices: tuple[Slice, ...]
    counted: bool
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    ends: tuple[Dim, Dim] | None = None
    starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class RowParts:
    """The parts one after the other, and of each carried value the number of what it becomes."""

    parts: tuple[RowPart, ...]
    news: tuple[int, ...]


def row_parts(step: Step) -> RowParts:
    """The parts of a step. Raises Unsupported."""
    return _Parts(step).found()


class _Parts:
    """Finds parts. level: of what is computed outside of loops, how many loops stand before it."""

    def __init__(self, step: Step):
        self.step, self.nodes = step, step.builder.nodes
        needed = sorted(reachable(self.nodes, list(step.updates), rounds=False))
        self.loops = [n for n in needed if self.nodes[n].op == "loop"]
        self.level: dict[int, int] = {}
        for n in needed:
            self.level[n] = self.loops.index(n) + 1 if n in self.loops else max((self.level[a] for a in self.nodes[n].args), default=0)
        self.fixed, self.light = self._rates(needed)
        self.slots: dict[int, int] = {n: self.nodes[n].leaf.index for n in needed if self.nodes[n].op == "old"}
        self.count = len(step.carries)

    def found(self) -> RowParts:
        made = self._made()
        parts: list[RowPart] = []
        for level in range(len(self.loops) + 1):
            if level:
                parts.append(self._round(self.loops[level - 1]))
            if made[level]:
                parts.append(self._straight(made[level]))
        return RowParts(tuple(parts), tuple(self.slots[n] for n in self.step.updates))

    def _rates(self, needed: Sequence[int]) -> tuple[set[int], set[int]]:
        """What is made of statics alone, and what is so little work on streams that whoever reads it computes it."""
        fixed: set[int] = set()
        light: set[int] = set()
        for n in needed:
            node = self.nodes[n]
            if node.op in ("static", *SCALARS) or (not node.is_leaf and node.op not in ("loop", "result") and fixed.issuperset(node.args)):
                fixed.add(n)
            if node.op == "stream" or n in fixed or (node.args and _is_light(node) and light.issuperset(node.args)):
                light.add(n)
        return fixed, light

    def _made(self) -> list[list[int]]:
        """The values that parts outside of loops hand to others, by level."""
        made: list[set[int]] = [set() for _ in range(len(self.loops) + 1)]

        def hand(wanted: Iterable[int]) -> None:
            for n in wanted:
                if self.nodes[n].op not in ("old", "result"):
                    made[self.level[n]].add(n)

        hand(self.step.updates)
        for level in range(len(self.loops), -1, -1):
            hand(n for n in self._reads(made[level], level) if self.level[n] < level)
            if level:
                loop = self.nodes[self.loops[level - 1]]
                starts = len(loop.loop.rounds)
                hand([*loop.args[:starts], *(n for n in loop.args[starts:] if n not in self.light)])
        return [sorted(m) for m in made]

    def _reads(self, wanted: Iterable[int], level: int) -> set[int]:
        """What a part outside of loops reads, to compute some values."""
        found: set[int] = set()
        stack = list(wanted)
        while stack:
            n = stack.pop()
            for a in self.nodes[n].args:
                if self.nodes[a].op in ("old", "result") or (self.level[a] < level and a not in self.light):
                    found.add(a)
                else:
                    stack.append(a)
        return found

    def _straight(self, made: Sequence[int]) -> RowPart:
        reads = sorted(self._reads(made, self.level[made[0]]))
        steps, slices, _ = self._part(made, {n: Leaf("old", k) for k, n in enumerate(reads)}, reads, None)
        return RowPart(steps, slices, False, tuple(self.slots[n] for n in reads), self._new(made))

    def _round(self, n: int) -> RowPart:
        loop, node = self.nodes[n].loop, self.nodes[n]
        count = len(loop.rounds)
        reads = [a for a in dict.fromkeys(node.args[count:]) if a not in self.light]
        old = {r: Leaf("old", k) for k, r in enumerate((*loop.rounds, *reads))}
        steps, slices, counted = self._part(loop.outputs, old, [*loop.rounds, *reads], loop.counter)
        starts, results = tuple(self.slots[a] for a in node.args[:count]), range(self.count, self.count + count)
        self.slots |= {m: results[k.result.index] for m, k in enumerate(self.nodes) if k.op == "result" and k.args == (n,)}
        self.count += count
        return RowPart(steps, slices, counted, tuple(self.slots[a] for a in reads), tuple(results), (loop.low, loop.high), starts)

    def _part(self, wanted: Sequence[int], old: dict[int, Leaf], reads: Sequence[int], counter: str | None) -> tuple[PartSteps, tuple[Slice, ...], bool]:
        """The steps of a part, the slices that it multiplies by, and whether it reads the number of its round."""
        step, nodes, names = self.step, self.nodes, dict(self.step.names)
        leaves, slices = dict(old), dict[Slice, Array]()
        inner = self._inside(wanted, old)
        for n in sorted(inner):
            select = nodes[n].leaf.select if nodes[n].op == "static" else None
            if select is None or (nodes[select].op == "counter" and nodes[select].of(str) != counter):
                continue
            key = Slice(nodes[n].leaf.index, None if nodes[select].op == "counter" else select)
            place = list(slices).index(key) if key in slices else len(slices)
            slices[key] = Array(step.statics[key.static].label, "", nodes[n].shape)
            leaves[n] = Leaf("static", len(step.statics) + place)
        counts = [n for n in self._inside(wanted, leaves) if nodes[n].op == "counter" and nodes[n].of(str) == counter]
        leaves |= {n: Leaf("static", len(step.statics) + len(slices)) for n in counts}
        copy = GraphCopy(nodes, leaves)
        numbers = copy.run(wanted)
        outputs = tuple((Array(names.get(n, "value"), "", nodes[n].shape), m) for n, m in zip(wanted, numbers, strict=True))
        statics = (*step.statics, *slices.values(), *(Array("round", "", ()) for _ in counts[:1]))
        carries = tuple((Array(names.get(n, "value"), "", nodes[n].shape), 1) for n in reads)
        part = replace(step, builder=copy.builder, statics=statics, carries=carries, updates=(), names=copy.named(step.names), outputs=outputs)
        return part_steps(part), tuple(slices), bool(counts)

    def _inside(self, wanted: Iterable[int], leaves: dict[int, Leaf]) -> set[int]:
        """What is needed to compute some values of others."""
        found: set[int] = set()
        stack = list(wanted)
        while stack:
            n = stack.pop()
            if n not in found and n not in leaves:
                found.add(n)
                stack.extend((*self.nodes[n].args, *bodies(self.nodes[n])))
        return found

    def _new(self, made: Sequence[int]) -> tuple[int, ...]:
        self.slots |= {n: self.count + k for k, n in enumerate(made)}
        self.count += len(made)
        return tuple(self.slots[n] for n in made)


def _is_light(node: Node) -> bool:
    return node.op not in ("product", "cumsum", "loop", "result", *REDUCTIONS)
