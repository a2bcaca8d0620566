"""The two kernels of a recurrence: a program has some rows of the batch, and goes through time step by step."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from rnndsl.checks.dims import Dim
from rnndsl.emit.triton.text import Text, bracketed, times
from rnndsl.emit.triton.tile.rounds import Rounds
from rnndsl.emit.triton.tile.scope import Domain
from rnndsl.emit.triton.tile.values import Tile
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.program import Sink, outer_layout


@dataclass(frozen=True)
class KernelLines:
    """A kernel as its template takes it: parameters behind those that both directions have, and statements before the loop over time, in it and behind
    it; scratch, common: how many entries a row has of memory that is a program's own, and of memory that all of its programs share, in Triton's text."""

    parameters: list[str]
    before: list[str]
    step: list[str]
    after: list[str]
    scratch: str
    common: str = ""


class Kernel(Rounds):
    """What both directions have in common."""

    @property
    def mine(self) -> str:
        """The rows that a program writes results of."""
        return "mine" if self.divided else "here"

    @property
    def mine_once(self) -> str:
        """Whether a program writes what is of all of its rows."""
        return "mine_once" if self.divided else "always"

    def carry(self, i: int) -> str:
        """The variable of a carried value."""
        array, lag = self.step.carries[i]
        return self.names(("old", i), f"{array.label}_{lag}")

    def whole(self, name: str, i: int) -> Tile:
        """A variable that has the entries of a carried value."""
        rank = len(self.step.carries[i][0].shape)
        return Tile(Text(name), rank, frozenset(range(rank)), True)

    def size(self, i: int) -> str:
        """How many entries a carried value has."""
        return bracketed(self.count(self.state_domain(i)))

    def leaves(self, op: str) -> dict[int, int]:
        """The leaves of a kind that are read, by what they are of."""
        return {self.nodes[n].leaf.index: n for n in sorted(self.used) if self.nodes[n].op == op}

    @property
    def shared(self) -> list[str]:
        """The parameters that both directions have first."""
        found = [p for i in range(len(self.step.streams)) for p in _strided(self.array("stream", i))]
        found += [self.array("static", i) for i in range(len(self.step.statics))]
        found += [f"{self.array('carry', i)}_{what}" for i in range(len(self.step.carries)) for what in ("first", "initial")]
        return [*found, *_strided("reset")]

    def restarts(self, carries: list[int]) -> None:
        """The restart of carried values, where anything resets."""
        with self.under("if reset is not None:"):
            self.put("restart = tl.load(reset + row * reset_rows + time * reset_times, here, 0) != 0")
            for i in carries:
                name = self.carry(i)
                lies = ", ".join(self.in_array(self.state_domain(i)))
                self.assign(name, f"restarted({name}, {self.array('carry', i)}_initial, restart, {lies}, REAL)")

    def coordinates(self) -> list[tuple[Hashable, str]]:
        """What divides the work beside rows of the batch."""
        if not self.step.carries:
            return []
        first = self.step.carries[0][0].shape
        found: list[tuple[Hashable, str]] = [(("head", k), self.dim(first[k])) for k in self.split.heads]
        return [*found, ("block", self.sizes.blocks(self.name, first[self.split.block[0]]))] if self.split.block else found

    @property
    def kept_carries(self) -> list[int]:
        return [i for i, (_, lag) in enumerate(self.step.carries) if lag == 1]

    def one_step(self, old: Callable[[int], tuple[str, str]]) -> None:
        """The lines of one step, of which nothing is carried to another. old: where a carried value is read from, an array and a place in it."""
        for i, n in self.leaves("old").items():
            lies = ", ".join(self.in_array(self.state_domain(i)))
            self.assign(self.carry(i), f"read({', '.join(old(i))}, here, {lies}, REAL)")
            self.set(n, self.whole(self.carry(i), i))
        self.compute(self.main())
        self.origin = None
        for s in self.program.sinks:
            if s.loop is None:
                self.sink(s)

    def main(self) -> set[int]:
        """The nodes that are computed outside of every loop."""
        return reachable(self.nodes, [s.node for s in self.program.sinks if s.loop is None], rounds=False)

    def body(self) -> list[str]:
        """The lines of the body of the loop over time; memory that the step before has read is free."""
        return ["tl.debug_barrier()", *self.lines] if self.scratch else self.lines

    @property
    def scratch_entries(self) -> str:
        return " + ".join(self.scratch)


class Forward(Kernel):
    """The states of all steps from the streams."""

    divides = True

    def write(self) -> KernelLines:
        carries = range(len(self.step.carries))
        for i in carries:
            lies = ", ".join(self.in_array(self.state_domain(i)))
            self.assign(self.carry(i), f"read({self.array('carry', i)}_first, row * {self.size(i)}, here, {lies}, REAL)")
        begin, self.lines = self.lines, []
        for i, n in self.leaves("old").items():
            self.set(n, self.whole(self.carry(i), i))
        self.restarts(list(carries))
        self.compute(self.main())
        self.origin = None
        new: dict[int, str] = {}
        for s in self.program.sinks:
            if s.loop is None:
                i = s.target.index
                domain = self.state_domain(i)
                new[i] = self.names(("new", i), f"{self.step.carries[i][0].label}_new")
                self.assign(new[i], self.full(self.wanted(s.node), domain, moves=True).code)
                where = self.in_array(domain)
                self.call("write", [f"{self.array('carry', i)}_all", f"(row * STEPS + time) * {self.size(i)}", self.mine, new[i], *where])
        for i in sorted(carries, key=lambda i: -self.step.carries[i][1]):
            self.put(f"{self.carry(i)} = {new[i] if i in new else self.carry(self.nearer(i))}")
        step, self.lines = self.body(), []
        for i in carries:
            where = self.in_array(self.state_domain(i))
            self.call("write", [f"{self.array('carry', i)}_final", f"row * {self.size(i)}", self.mine, self.carry(i), *where])
        parameters = [f"{self.array('carry', i)}_all" for i in self.kept_carries] + [f"{self.array('carry', i)}_final" for i in carries]
        return KernelLines([*self.shared, *parameters], begin + self.before, step, self.lines, self.scratch_entries, " + ".join(self.common))

    def nearer(self, i: int) -> int:
        """The carried value that one further back was a step ago."""
        array, lag = self.step.carries[i]
        return next(k for k, (a, near) in enumerate(self.step.carries) if (a.name, a.part, near) == (array.name, array.part, lag - 1))

    def sink(self, s: Sink) -> None:
        raise AssertionError("rounds forwards hand on, and nothing else")


class Backward(Kernel):
    """Gradients of streams, params and first states; each step is computed again from the saved states."""

    divides = True

    def write(self) -> KernelLines:
        self.sums = [s for s in self.program.sinks if s.target.kind == "static_gradient"]
        self._before_steps()
        begin, self.lines = self.lines, []
        self._read_step()
        self.compute(self.main())
        self.origin = None
        self._hand_back()
        step, self.lines = self.body(), []
        self._behind_steps()
        return KernelLines([*self.shared, *self._parameters()], begin + self.before, step, self.lines, self.scratch_entries, " + ".join(self.common))

    def _before_steps(self) -> None:
        """Before the last step: gradients of what is carried on, and sums of nothing."""
        carries = range(len(self.step.carries))
        for i in carries:
            lies = ", ".join(self.in_array(self.state_domain(i)))
            self.assign(self.gradient(i), f"read_if_any({self.array('carry', i)}_end, row * {self.size(i)}, here, {lies}, REAL)")
        with self.under("if reset is not None:"):
            for i in carries:
                self.assign(self.restart_sum(i), f"tl.zeros({self.shape(self.state_domain(i))}, REAL)")
        for k, s in enumerate(self.sums):
            if s.loop is None:
                self.assign(self.sum_name(k), f"tl.zeros({self.shape(self.shape_domain(s.node))}, REAL)")

    def _read_step(self) -> None:
        """What a step reads: old values, gradients of new ones, and those that come from elsewhere."""
        old = self.leaves("old")
        for i in old:
            lies, array = ", ".join(self.in_array(self.state_domain(i))), self.array("carry", i)
            if self.step.carries[i][1] == 1:
                self.assign(self.carry(i), f"before({array}_all, {array}_first, row, time, STEPS, {self.size(i)}, here, {lies}, REAL)")
            else:
                self.assign(self.carry(i), f"read({array}_older, (row * STEPS + time) * {self.size(i)}, here, {lies}, REAL)")
            self.set(old[i], self.whole(self.carry(i), i))
        self.restarts([i for i in old if i in self.kept_carries])
        for i, n in self.leaves("carry_gradient").items():
            self.set(n, self.whole(self.gradient(i), i))
        for i, n in self.leaves("state_gradient").items():
            lies, array = ", ".join(self.in_array(self.state_domain(i))), self.array("carry", i)
            name = self.names(("seed", i), f"d_{self.step.carries[i][0].label}")
            self.assign(name, f"read_if_any({array}_seed, row * {array}_seed_rows + time * {array}_seed_times, here, {lies}, REAL)")
            self.set(n, self.whole(name, i))

    def _hand_back(self) -> None:
        """Where the gradients of a step go; those of old values to the step before, but to the initial ones where it restarted."""
        new: dict[int, str] = {}
        for s in self.program.sinks:
            if s.loop is None and s.target.kind == "carry_gradient":
                i = s.target.index
                new[i] = self.names(("new", i), f"{self.gradient(i)}_new")
                self.assign(new[i], self.full(self.wanted(s.node), self.state_domain(i), moves=True).code)
            elif s.loop is None:
                self.sink(s)
        with self.under("if reset is not None:"):
            for i, name in new.items():
                self.put(f"{self.restart_sum(i)} += where(restart, {name})")
                self.put(f"{name} = unless(restart, {name})")
        for i, name in new.items():
            self.put(f"{self.gradient(i)} = {name}")

    def _behind_steps(self) -> None:
        """Behind the first step: gradients of first and initial values, and sums."""
        carries = range(len(self.step.carries))
        for i in carries:
            where, array = self.in_array(self.state_domain(i)), self.array("carry", i)
            self.call("write", [f"{array}_first_out", f"row * {self.size(i)}", self.mine, self.gradient(i), *where])
        with self.under("if reset is not None:"):
            for i in carries:
                where, array = self.in_array(self.state_domain(i)), self.array("carry", i)
                self.call("write", [f"{array}_initial_out", f"row * {self.size(i)}", self.mine, self.restart_sum(i), *where])
        for k, s in enumerate(self.sums):
            if s.loop is None:
                domain = self.shape_domain(s.node)
                begins = f"once + {bracketed(self.index(self.missing(domain)))} * {bracketed(self.count(domain))}"
                self.call("write", [self.sum_out(k), begins, self.mine_once, f"over_rows({self.sum_name(k)})", *self.in_array(domain)])

    def _parameters(self) -> list[str]:
        carries = range(len(self.step.carries))
        kept = self.kept_carries
        found = [f"{self.array('carry', i)}_all" for i in kept] + [f"{self.array('carry', i)}_older" for i in carries if i not in kept]
        found += [p for i in kept for p in _strided(f"{self.array('carry', i)}_seed")]
        found += [f"{self.array('carry', i)}_end" for i in carries]
        found += [self.stream_out(i) for i in range(len(self.step.streams))]
        found += [self.sum_out(k) for k in range(len(self.sums))]
        found += [f"{self.array('carry', i)}_{what}" for i in carries for what in ("first_out", "initial_out")]
        return found + [self.factor(side, k) for k in range(len(self.program.outers)) for side in ("outer_left", "outer_right")]

    # Names

    def gradient(self, i: int) -> str:
        """The gradient of a carried value after the step at hand."""
        array, lag = self.step.carries[i]
        return self.names(("gradient", i), f"d_{array.label}_{lag}")

    def restart_sum(self, i: int) -> str:
        return self.names(("restart", i), f"{self.gradient(i)}_initial")

    def sum_name(self, k: int) -> str:
        return self.names(("sum", k), f"d_{self.step.statics[self.sums[k].target.index].label}")

    def sum_out(self, k: int) -> str:
        return f"{self.sum_name(k)}_out"

    def stream_out(self, i: int) -> str:
        return f"{self.array('stream', i)}_out"

    def factor(self, side: str, k: int) -> str:
        return self.names((side, k), f"{side.removeprefix('outer_')}_{self.step.statics[self.nodes[self.program.outers[k].leaf].leaf.index].label}")

    # What several programs have of one gradient

    def missing(self, domain: Domain) -> list[tuple[Hashable, str]]:
        """How programs divide axes that a value does not have: markers, and how many parts there are."""
        there = {marker for _, marker in domain}
        return [c for c in self.coordinates() if c[0] not in there]

    def index(self, missing: list[tuple[Hashable, str]], of_rows: bool = True) -> str:
        """The number of a program among those that have the same part of a value."""
        return _numbered([(self.place_of(marker), count) for marker, count in missing], "unit" if of_rows else "0")

    def shared_by(self, kind: str, i: int) -> list[tuple[Hashable, str]]:
        """What divides the work of programs that all add to the gradient of a stream, or to the factor of one of a matrix that is a gradient."""
        sinks = [s for s in self.program.sinks if s.target.kind == kind and s.target.index == i]
        return list(dict.fromkeys(m for s in sinks for m in self.missing(self.shape_domain(s.node))))

    def row_of_part(self, s: Sink) -> str:
        """Where a program writes its part of what several add to: all rows lie behind those of the part before."""
        shared, mine = self.shared_by(s.target.kind, s.target.index), self.missing(self.shape_domain(s.node))
        if not shared:
            return "row"
        part = _numbered([(self.place_of(c[0]) if c in mine else "0", c[1]) for c in shared])
        return f"({bracketed(part)} * tl.cast(BATCH, tl.int64) + row)"

    def first_of(self, missing: list[tuple[Hashable, str]]) -> str:
        """The rows of which a program writes what all of them have that differ in some places: the first one does."""
        return " & ".join([self.mine, *(f"(lane * 0 + {self.place_of(marker)} == 0)" for marker, _ in missing)])

    # Where values go

    def sink(self, s: Sink) -> None:
        value = self.wanted(s.node)
        if s.target.kind == "stream_gradient":
            self._to_stream(s, value)
        elif s.target.kind == "static_gradient":
            self._to_sum(s, value)
        else:
            self._to_factor(s, value)

    def _to_stream(self, s: Sink, value: Tile) -> None:
        domain, index = self.shape_domain(s.node), s.target.index
        *strides, size = self.row_major([self.dim(d) for d in self.step.streams[index].shape])
        array = self.stream_out(index)
        if s.offset != Dim.of(0):
            array = f"{array} + {times(bracketed(self.dim(s.offset)), strides[s.axis])}"
        self.call("write", [array, f"({self.row_of_part(s)} * STEPS + time) * {bracketed(size)}", self.mine, value.code, *self.in_array(domain, strides)])

    def _to_sum(self, s: Sink, value: Tile) -> None:
        """To what a program adds up over all steps; what a round has of a slice, to memory at once."""
        domain = self.shape_domain(s.node)
        k = next(k for k, other in enumerate(self.sums) if other is s)
        if s.loop is None:
            self.put(f"{self.sum_name(k)} += where(here, {self.full(value, domain, moves=True).code})")
            return
        assert s.target.select is not None
        slices = self.dim(self.step.statics[s.target.index].shape[0])
        place = f"{bracketed(self.index(self.missing(domain)))} * {bracketed(slices)} + {self.slice_number(s.target.select)}"
        summed = f"over_rows(where(here, {self.full(value, domain, moves=True).code}))"
        self.call("add", [self.sum_out(k), f"once + ({place}) * {bracketed(self.count(domain))}", self.mine_once, summed, *self.in_array(domain)])

    def _to_factor(self, s: Sink, value: Tile) -> None:
        """To what a product over all steps reads: a gradient, the left one, of which programs may have parts, or a value, which all have."""
        domain, kind, index = self.shape_domain(s.node), s.target.kind, s.target.index
        is_gradient = kind == "outer_left"
        m, node, order = outer_layout(self.program, index).factor(is_gradient)
        sizes = [self.dim(self.nodes[node].shape[m.index(k)]) for k in order]
        *strides, size = self.row_major(sizes)
        place = f"{self.row_of_part(s) if is_gradient else 'row'} * STEPS + time"
        mine = self.mine if is_gradient else self.first_of(self.missing(domain))
        if s.loop is not None:
            loop = next(node.loop for node in self.loops if node.loop.number == s.loop)
            place = f"({place}) * {self.round_count(loop)} + {self.round_number(s.loop)}"
        where = self.in_array(domain, [strides[order.index(k)] for k in m])
        array = self.factor(kind, index)
        if s.offset != Dim.of(0):
            array = f"{array} + {times(bracketed(self.dim(s.offset)), strides[order.index(s.axis)])}"
        self.call("write", [array, f"({place}) * {bracketed(size)}", mine, value.code, *where])


def _numbered(places: Sequence[tuple[str, str]], number: str = "0") -> str:
    """A number that goes on by places, each of so many."""
    for place, count in places:
        number = place if number == "0" else f"{times(bracketed(number), count)} + {place}"
    return number


def _strided(name: str) -> list[str]:
    """An array, and how far apart its rows and its steps are."""
    return [name, f"{name}_rows", f"{name}_times"]
