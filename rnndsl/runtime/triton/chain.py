"""The parts of a step one after the other, rounds of loops one by one, forwards and backwards; see `kernel/row_parts.py`.

Values of a step have numbers: first what it sees, then what each part makes, each once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.memory import rows
from rnndsl.runtime.triton.graphs import Given
from rnndsl.runtime.triton.row_launch import RowLaunch, Take
from rnndsl.runtime.triton.rows import RowPart, RowStage

Values = dict[int, Tensor]  # by their numbers, [B, C, ...] each


@dataclass(frozen=True)
class Link:
    """A part, of a loop in one of its rounds, and the numbers of the values that it reads and makes."""

    part: RowPart
    round: int
    reads: tuple[int, ...]
    makes: tuple[int, ...]

    def slices(self, of: Sequence[Any]) -> list[Any]:
        """Slices of static arrays, or of what lies as they do; None of None."""
        return [None if of[i] is None else of[i][(number or self.round) - 1] for i, number in self.part.slices]


class Memory:
    """What is made of one step, which the next one makes anew."""

    def __init__(self, like: Tensor):
        self.like = like
        self.made: dict[object, list[Tensor]] = {}

    def take(self, key: object, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
        if key not in self.made:
            self.made[key] = [self.like.new_empty((*self.like.shape[:2], *shape)) for shape in shapes]
        return self.made[key]

    def of(self, *key: object) -> Take:
        """Memory for what the stages of a part make."""
        return lambda k, stage: self.take((*key, k), stage.shapes)

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Zeros of every row."""
        if shape not in self.made:
            self.made[shape] = [self.like.new_zeros((1, 1, *shape)).expand(*self.like.shape[:2], *shape)]
        return self.made[shape][0]


@dataclass(frozen=True)
class Chain:
    """carried: how many values a step sees; news: of each of them the number of what it becomes."""

    stages: RowLaunch
    links: tuple[Link, ...]
    carried: int
    news: tuple[int, ...]

    @staticmethod
    def of(stages: RowLaunch, carried: int) -> "Chain":
        parts, news = stages.said.steps(carried)
        place, count, links = {i: i for i in range(carried)}, carried, list[Link]()
        for part in parts:
            now = [place[i] for i in part.starts]
            outer = tuple(place[i] for i in part.reads)
            for k in range(part.ends[0], part.ends[1] + 1) if part.ends else (0,):
                made = range(count, count + len(part.makes))
                links.append(Link(part, k, (*now, *outer), tuple(made)))
                now, count = [*made], made.stop
            place |= zip(part.makes, now, strict=True)
        return Chain(stages, tuple(links), carried, tuple(place[i] for i in news))

    @cached_property
    def readers(self) -> dict[int, int]:
        """Of each value that is read the number of the first link that does."""
        return {i: n for n, link in reversed(list(enumerate(self.links))) for i in link.reads}

    @cached_property
    def between(self) -> tuple[int, ...]:
        """What is made whose λ is not simply that of the state that it is."""
        return tuple(i for link in self.links for i in link.makes if i in self.readers or self.news.count(i) != 1)

    @cached_property
    def shapes(self) -> dict[int, tuple[int, ...]]:
        """Of what is read of what is made."""
        return {i: s for link in self.links for i, s in zip(link.makes, link.part.advance[-1].shapes, strict=False)}

    def fixed(self, first: Sequence[Tensor], statics: Sequence[Tensor]) -> tuple[list[Tensor], tuple[int, ...]]:
        """The statics, then what each link has of its own that no row changes, and how many these are of each."""
        like, stages = first[0].new_empty((1, 1, *first[0].shape[1:])), self.stages
        whole, counts = [rows(s, 0) for s in statics], list[int]()
        found = list(whole)
        for link in self.links:
            counted = [like.new_full((), link.round)] if link.part.counted else []
            made = link.part.once(like, stages.sizes, stages.hypers, (*statics, *link.slices(statics), *counted))
            found += [*counted, *(rows(m, 0) for m in made)]
            counts.append(len(counted) + len(made))
        return found, tuple(counts)

    def statics(self, fixed: Sequence[Tensor], counts: Sequence[int]) -> list[list[Tensor]]:
        """The static arrays of each link."""
        whole = fixed[: len(fixed) - sum(counts)]
        ends = accumulate(counts, initial=len(whole))
        return [[*whole, *link.slices(whole), *fixed[at : at + count]] for link, at, count in zip(self.links, ends, counts, strict=False)]

    def forward(self, streams: Sequence[Tensor], statics: Sequence[Sequence[Tensor]], old: Sequence[Tensor], into: Sequence[Tensor], memory: Memory) -> None:
        """New states of rows, into memory that is there."""
        values: Values = dict(enumerate(old))
        place = {number: into[i] for i, number in reversed(list(enumerate(self.news[: len(into)]))) if number >= self.carried}
        for n, link in enumerate(self.links):
            values |= self._made(n, link, streams, statics[n], values, place, memory)
        for to, number in zip(into, self.news, strict=False):
            if values[number] is not to:
                to.copy_(values[number])

    def values(self, streams: Sequence[Tensor], statics: Sequence[Sequence[Tensor]], old: Sequence[Tensor]) -> Values:
        """What links read of rows."""
        values, memory = dict(enumerate(old)), Memory(old[0])
        for n, link in enumerate(self.links):
            if any(i in self.readers for i in link.makes):
                values |= self._made(n, link, streams, statics[n], values, {}, memory)
        return values

    def _made(self, n: int, link: Link, streams: Sequence[Tensor], statics: Sequence[Tensor], values: Values, place: Values, memory: Memory) -> Values:
        stages = link.part.advance

        def take(k: int, stage: RowStage) -> list[Tensor]:
            made = memory.take(("advance", n, k), stage.shapes)
            return made if stage is not stages[-1] else [place.get(i, m) for i, m in zip(link.makes, made, strict=False)]

        found = self.stages.run(stages, streams, statics, [values[i] for i in link.reads], take)["made"]
        return dict(zip(link.makes, found, strict=False))

    def linear(self, streams: Sequence[Tensor], statics: Sequence[Sequence[Tensor]], values: Values) -> list[list[Tensor]]:
        """What the adjoint of each link reads of the values of rows."""
        memory = Memory(values[0])
        of = enumerate(self.links)
        return [self.stages.run(link.part.linear, streams, statics[n], [values[i] for i in link.reads], memory.of(n))["made"] for n, link in of]

    def read(self, streams: Sequence[Tensor], saved: Sequence[Sequence[Tensor]]) -> list[Tensor | None]:
        """What `pull` reads of streams and of what `linear` makes for each link, the others left out."""
        of = [link.part.pulled_of for link in self.links]
        found: list[Tensor | None] = [s if any(i in numbers for numbers in of) else None for i, s in enumerate(streams)]
        return found + [s if i in numbers else None for numbers, made in zip(of, saved, strict=True) for i, s in enumerate(made, len(streams))]

    def groups(self, read: Given) -> tuple[Given, list[Given]]:
        """Of that the streams, and what there is for each link."""
        counts = [len(link.part.linear[-1].shapes) for link in self.links]
        ends = list(accumulate(counts, initial=len(read) - sum(counts)))
        return read[: ends[0]], [read[low:high] for low, high in pairwise(ends)]

    def pull(
        self, streams: Given, statics: Sequence[Sequence[Tensor]], saved: Sequence[Given], adjoint: Sequence[Tensor],
        on_top: Sequence[Tensor], into: Sequence[Tensor], between: Values, memory: Memory,
    ) -> None:  # fmt: skip
        """λ of what rows see into `into`, on top of what is given, from that of what the carried values become; and of what is made between into `between`,
        where there is memory for it."""
        found: Values = dict(enumerate(on_top))
        home = between | dict(enumerate(into))

        def add(i: int, value: Tensor, key: object) -> None:
            if i in found:
                (total,) = memory.take(("sum", i, key), [value.shape[2:]])
                value = torch.add(found[i], value, out=total)
            found[i] = value

        for k, (i, value) in enumerate(zip(self.news, adjoint, strict=True)):
            add(i, value, k)
        for n, link in reversed(list(enumerate(self.links))):
            for i in link.makes:
                if i in between and found.get(i) is not between[i]:
                    between[i].copy_(found[i]) if i in found else between[i].zero_()
            out = self._pulled(n, link, streams, statics[n], saved[n], found, home, memory)
            for k, (i, value) in enumerate(zip(link.reads, out, strict=True)):
                if link.reads.index(i) == k:
                    found[i] = value
                else:
                    add(i, value, (n, k))
        for i, to in enumerate(into):
            if found[i] is not to:
                to.copy_(found[i])

    def _pulled(
        self, n: int, link: Link, streams: Given, statics: Sequence[Tensor], saved: Given, found: Values, home: Values, memory: Memory
    ) -> list[Tensor]:
        """What a link makes of λ, on top of what the links behind it do: the last one that adds to a value does so where it is to be."""
        stages = link.part.pull

        def take(k: int, stage: RowStage) -> list[Tensor]:
            made = memory.take(("pull", n, k), stage.shapes)
            if stage is not stages[-1]:
                return made
            is_last = [self.readers[i] == n and link.reads.count(i) == 1 and i in home for i in link.reads]
            return [home[i] if last else m for i, m, last in zip(link.reads, made, is_last, strict=True)]

        adjoint = [found[i] if i in found else memory.zeros(self.shapes[i]) for i in link.makes]
        given = [
            found[i] if i in found and link.reads.index(i) == k else memory.zeros(shape) for k, (i, shape) in enumerate(zip(link.reads, stages[-1].shapes, strict=True))
        ]
        return self.stages.run(stages, [*streams, *saved, *adjoint, *given], statics, (), take)["made"]

    def gradients(
        self, streams: Sequence[Tensor], statics: Sequence[Sequence[Tensor]], saved: Sequence[Sequence[Tensor]], values: Values, adjoint: Values,
        into: Sequence[Tensor | None],
    ) -> list[Tensor | None]:  # fmt: skip
        """Those of streams; those of statics are added to `into`. adjoint: λ of all that is made."""
        found: list[Tensor | None] = [None] * len(streams)
        for n, link in enumerate(self.links):
            wanted = [*into, *link.slices(into)]
            wanted += [None] * (len(statics[n]) - len(wanted))
            read = [*streams, *saved[n], *(adjoint[i] for i in link.makes)]
            given = self.stages.gradients(link.part, read, statics[n], [values[i] for i in link.reads], Memory(values[0]).of(n), wanted)
            found = [b if a is None else a if b is None else a.add_(b) for a, b in zip(found, given, strict=True)]
        return found
