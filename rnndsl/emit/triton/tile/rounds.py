"""Loops inside a step: the rounds of a `repeat`, forwards, and backwards over what the rounds forwards began with."""

from collections.abc import Iterator
from contextlib import contextmanager

from rnndsl.checks.cell import always_runs
from rnndsl.emit.triton.text import Text, bracketed
from rnndsl.emit.triton.tile.products import Products
from rnndsl.emit.triton.tile.values import Tile
from rnndsl.kernel.graph import Loop
from rnndsl.kernel.loops import inside, reachable
from rnndsl.kernel.program import Sink


class Rounds(Products):
    """Writes the rounds of loops."""

    def rounds(self, n: int) -> None:
        if self.nodes[n].op == "loop":
            self._forwards(n)
        else:
            self._backwards(n)

    def _forwards(self, n: int) -> None:
        node = self.nodes[n]
        loop = node.loop
        self._begin(node.args, loop.rounds)
        with self._round(loop, f"range({self.dim(loop.low)}, {self.dim(loop.high)} + 1)"):
            self._hand_on(loop.rounds, loop.outputs, inside(self.nodes, loop.rounds, loop.counter))
        self._results(n, "rounds", loop.rounds)

    def _backwards(self, n: int) -> None:
        node = self.nodes[n]
        back = node.back
        loop, count = back.loop, len(back.gradients)
        low, high = self.dim(loop.low), self.dim(loop.high)
        counter = self.counter(loop.counter)
        tapes: dict[int, tuple[str, str]] = {}
        for r in loop.rounds:
            *_, entries = self.row_major([self.own_size(*a) for a in self.shape_domain(r)])
            tapes[r] = (self.room(f"{self.round_count(loop)} * {bracketed(entries)}"), entries)

        def tape(r: int) -> str:
            return f"{tapes[r][0]} + ({counter} - {bracketed(low)}) * ROWS * {bracketed(tapes[r][1])}"

        self._begin(node.args[:count], loop.rounds)
        with self._round(loop, f"range({low}, {high} + 1)"):
            for r in loop.rounds:
                self.put_aside(r, self.tile(r).code, tape(r))
            self._hand_on(loop.rounds, loop.outputs, inside(self.nodes, loop.rounds, loop.counter))
        self.put("tl.debug_barrier()")
        self._begin(node.args[count : 2 * count], back.gradients)
        region = inside(self.nodes, (*loop.rounds, *back.gradients), loop.counter)
        mine = [s for s in self.program.sinks if s.loop == loop.number]
        totals = {s.target.index: s for s in mine if s.target.kind == "total"}
        for j, s in totals.items():
            self.assign(self._total_name(n, j), f"tl.zeros({self.shape(self.shape_domain(s.node))}, REAL)")
        backwards = f"{self.names(('number', loop.number), f'{loop.counter}_back')}"
        with self._round(loop, f"range(0, {self.round_count(loop)})", backwards):
            self.put(f"{counter} = {high} - {backwards}")
            for r in loop.rounds:
                self.assign(self._name(r), self.fetched(self.shape_domain(r), tape(r), "0", None, tapes[r][1]))
                self._leaf(r)
            others = [s for s in mine if s.target.kind not in ("round", "round_gradient")]
            selects = [s.target.select for s in others if s.target.select is not None]  # of slices, which a gradient need not read
            self._needed([*back.outputs, *(s.node for s in others), *(n for n in selects if n not in self.uniform)], region)
            for s in others:
                if s.target.kind == "total":
                    name = self._total_name(n, s.target.index)
                    self.assign(name, f"{name} + {self.wanted(s.node).code}")
                else:
                    self.sink(s)
            self._hand_on(back.gradients, back.outputs, region)
        self._results(n, "gradients", back.gradients)
        for j in totals:
            for r in self._left(n, "totals", j):
                rank = len(self.nodes[r].shape)
                self.set(r, Tile(Text(self._total_name(n, j)), rank, frozenset(range(rank)), True))

    def sink(self, s: Sink) -> None:
        """Where a value of a round goes; written by kernels."""
        raise NotImplementedError

    def round_count(self, loop: Loop) -> str:
        """How many rounds there are."""
        count = f"({self.dim(loop.high)} - {bracketed(self.dim(loop.low))} + 1)"
        return count if always_runs(loop.low, loop.high) else self.sizes.constant(
            ("rounds", loop.low, loop.high), f"{self.name}_rounds", f"max(0, {self.sizes.python(loop.high)} - ({self.sizes.python(loop.low)}) + 1)"
        )

    def round_number(self, number: int) -> str:
        """The number of the round of a loop, from 0."""
        loop = next(node.loop for node in self.loops if node.loop.number == number)
        return f"({self.counter(loop.counter)} - {bracketed(self.dim(loop.low))})"

    def _name(self, leaf: int) -> str:
        return self.names(("round", leaf), self.local_names.get(leaf, "begun"))

    def _leaf(self, leaf: int) -> None:
        rank = len(self.nodes[leaf].shape)
        self.set(leaf, Tile(Text(self._name(leaf)), rank, frozenset(range(rank)), True))

    def _total_name(self, n: int, j: int) -> str:
        return self.names(("total", n, j), "total")

    def _begin(self, starts: tuple[int, ...], leaves: tuple[int, ...]) -> None:
        """What the first round begins with."""
        for start, leaf in zip(starts, leaves, strict=False):
            self.assign(self._name(leaf), self.full(self.wanted(start, leaf), self.shape_domain(leaf), moves=True).code)
            self._leaf(leaf)

    @contextmanager
    def _round(self, loop: Loop, rounds: str, variable: str = "") -> Iterator[None]:
        """The body of a loop: what it computes is forgotten behind it."""
        around = dict(self.tiles), dict(self.kept), len(self.scratch)
        with self.under(f"for {variable or self.counter(loop.counter)} in {rounds}:"):
            place = len(self.lines)
            yield
            if len(self.scratch) > around[2]:  # what the round before has read there
                self.lines.insert(place, "    " * self.depth + "tl.debug_barrier()")
        self.tiles, self.kept = around[0], around[1]
        self.origin = None

    def _needed(self, wanted: list[int], region: set[int]) -> None:
        there = reachable(self.nodes, wanted, rounds=False) & region | {n for n in wanted if self.nodes[n].is_elementwise}
        self.compute(n for n in there if (n, None) not in self.tiles)

    def _hand_on(self, leaves: tuple[int, ...], outputs: tuple[int, ...], region: set[int]) -> None:
        """Gives what a round hands on to the next one."""
        self._needed(list(outputs), region)
        new = [self.full(self.wanted(o, leaf), self.shape_domain(leaf), moves=True).code for leaf, o in zip(leaves, outputs, strict=True)]
        names = [self._name(leaf) for leaf in leaves]
        later = [self.names(("handed", leaf), f"{self._name(leaf)}_next") for leaf in leaves]
        for name, code in zip(later, new, strict=True):  # one may be made of another that it was before
            self.assign(name, code)
        for name, next_name in zip(names, later, strict=True):
            self.put(f"{name} = {next_name}")

    def _left(self, n: int, kind: str, j: int) -> list[int]:
        """The nodes that stand for what a loop leaves behind."""
        found = [r for r in sorted(self.used) if self.nodes[r].op == "result" and self.nodes[r].args == (n,)]
        return [r for r in found if (self.nodes[r].result.kind, self.nodes[r].result.index) == (kind, j)]

    def _results(self, n: int, kind: str, leaves: tuple[int, ...]) -> None:
        for j, leaf in enumerate(leaves):
            rank = len(self.nodes[leaf].shape)
            for r in self._left(n, kind, j):
                name = self.name_of(r)
                self.put(f"{name} = {self._name(leaf)}")
                self.set(r, Tile(Text(name), rank, frozenset(range(rank)), True))
