"""A round of Newton's method as a Python function: statements for what is read twice or has a name, each naming its origin."""

from collections import Counter
from collections.abc import Sequence

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.carried import WIDTH
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.part import words_of
from rnndsl.emit.torch.text import ATOM, Text, elementwise, placed, product, total
from rnndsl.kernel.graph import SCALARS, Node, Shape
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.linear import Exact
from rnndsl.kernel.loops import bodies, inside, reachable
from rnndsl.kernel.newton import NewtonStep
from rnndsl.kernel.step import Step

_LONG = 60  # characters of an expression, from which on it gets a statement of its own


class RoundText:
    """Writes one function. Raises Unsupported."""

    def __init__(self, newton: NewtonStep, label: str, source: Source):
        self.newton, self.step, self.label, self.source = newton, newton.step, label, source
        self.nodes = self.step.builder.nodes
        self.names = KernelNames()
        self.texts: dict[int, Text] = {}
        self.left: dict[tuple[int, int], Text] = {}  # what a loop leaves behind, by its node and the number of its result
        self.origin: int | None = None
        self.header: dict[tuple[str, str], str] = {}  # what the function reads of it
        self.local = dict(self.step.names)
        self.short: set[int] = set()  # values whose axes may have length 1 where they are longer
        self.written: set[int] = set()

    def lines(self) -> list[str]:
        """Functions: one makes what no round changes of streams and statics, one is a round, and one gives the coefficients of an exact scan."""
        updates, exact = list(self.step.updates), self.newton.exact
        entries = [e for row in self.newton.own for e in row if e is not None]
        carries = [self._carry(i) for i in range(len(self.step.carries))]
        streams = [self._array("stream", i) for i in range(len(self.step.streams))]
        statics = [self._array("static", i) for i in range(len(self.step.statics))]
        wanted = [*updates, *entries, *(exact.coefficients if exact else [])]
        needed = self._surveyed(wanted, updates)
        fixed = self._fixed(needed, wanted)
        before = self._block(reachable(self.nodes, fixed, rounds=False))
        kept = {n: self._named(n) for n in fixed if not self.texts[n].plain}
        moving = [name for n, (name, _) in kept.items() if self.texts[n].moves]
        still = list(dict.fromkeys([*(name for name, _ in kept.values() if name not in moving), *self._selected(needed)]))
        self.origin = None
        values = self._block(reachable(self.nodes, updates, rounds=False))
        self.origin = None
        slopes = self._block(reachable(self.nodes, entries, rounds=False))
        rows = [_listed(["None" if e is None else self._full(e) for e in row]) for row in self.newton.own]
        body = [
            "# new values of all steps at once",
            *values,
            f"new = ({''.join(f'{self._moving(n, self.nodes[n].shape)}, ' for n in updates).rstrip()})",
            "if not derivatives:",
            "    return new, ()",
            "# their derivatives in the old ones of the same channel, a row a new value",
            *slopes,
            f"return new, ({', '.join(rows)},)",
        ]
        before += [line for _, line in kept.values() if line] + [f"return {_listed(moving)}, {_listed(still)}"]
        return [
            *self._defined(f"{self.label}given(like, sizes, hypers, arrays)", [*streams, *statics], before),
            "",
            "",
            *self._defined(f"{self.label}(like, derivatives, sizes, hypers, arrays)", [*carries, *moving, *still], body),
            *(["", "", *self._exact(exact, [*moving, *still])] if exact else []),
        ]

    def _exact(self, exact: Exact, arrays: Sequence[str]) -> list[str]:
        """The function that gives the coefficients of an exact scan, each of every step."""
        shapes = [array.shape for array, _ in self.step.carries]

        def entry(n: int | None, i: int) -> str:
            return "None" if n is None else self._moving(n, shapes[i])

        rows = [_listed([entry(n, i) for n in row]) for i, row in enumerate(exact.a)]
        added = _listed([entry(n, i) for i, n in enumerate(exact.b)])
        return self._defined(f"{self.label}exact(like, sizes, hypers, arrays)", arrays, [f"return {_listed(rows)}, {added}"])

    def _surveyed(self, wanted: list[int], first: list[int]) -> set[int]:
        """Looks at what some nodes need, and returns it. first: what the first statements compute."""
        needed = reachable(self.nodes, wanted)
        self.counts = Counter(a for n in needed for a in (*self.nodes[n].args, *bodies(self.nodes[n])))
        self.counts.update(wanted)
        loops = [n for n in needed if self.nodes[n].op in ("loop", "loop_along")]
        self.along = {self.nodes[n].loop.number: n for n in loops if self.nodes[n].op == "loop_along"}
        self.regions = {n: inside(self.nodes, self._leaves(n), self.nodes[n].loop.counter) for n in loops}
        self.inner = set().union(*self.regions.values())
        self.first = reachable(self.nodes, first)
        self.parted = self._parts(needed)
        return needed

    def _defined(self, signature: str, arrays: Sequence[str], body: list[str]) -> list[str]:
        """A function, with what it reads of sizes and hyperparameters."""
        words = words_of(body)
        lines = [f"{_listed(arrays)} = arrays"] if arrays else []
        lines += [f'{name} = {kind}["{given}"]' for (kind, given), name in self.header.items() if name in words]
        return [f"def {signature}:", *(f"    {line}" for line in [*lines, *body])]

    def _fixed(self, needed: set[int], wanted: Sequence[int]) -> list[int]:
        """What no old value reaches and what is wanted or what an old value reaches reads: it is the same in every round."""
        moved: set[int] = set(self.inner)
        for n in sorted(needed):
            node = self.nodes[n]
            if node.op in ("old", "loop", "loop_along") or any(a in moved for a in node.args):
                moved.add(n)
        read = {a for n in needed & moved for a in (*self.nodes[n].args, *bodies(self.nodes[n]))} | {*wanted}
        return sorted(n for n in read - moved if self.nodes[n].op not in SCALARS)

    def _selected(self, needed: set[int]) -> list[str]:
        """Arrays of which the rounds of loops read slices."""
        return [self._array("static", self.nodes[n].leaf.index) for n in sorted(needed & self.inner) if self.nodes[n].op == "static"]

    def _named(self, n: int) -> tuple[str, str]:
        """What a value that is handed on is called, and the statement that names it, where it is not named yet."""
        text = self.texts[n]
        if text.code.isidentifier():
            return text.code, ""
        name = self.names(("value", n), self.local.get(n, "v"))
        self.texts[n] = Text(name, moves=text.moves)
        return name, f"{name} = {text.code}"

    def _leaves(self, n: int) -> tuple[int, ...]:
        """What the rounds of a loop, and those along it, begin with."""
        node = self.nodes[n]
        return node.loop.rounds if node.op == "loop" else (*node.loop.rounds, *node.along.slopes)

    def _block(self, wanted: set[int], region: set[int] | None = None) -> list[str]:
        """Statements for those of some nodes that have none yet and are in no loop, or in the rounds of one, a region."""
        lines: list[str] = []
        for n in sorted(wanted - self.written):
            if (n not in self.inner if region is None else n in region) and n not in self.written:
                self.written.add(n)
                lines += self._lines(n, self.nodes[n])
        return lines

    def _lines(self, n: int, node: Node) -> list[str]:
        match node.op:
            case "loop":
                return self._loop(n)
            case "result":
                self.texts[n] = self.left[node.args[0], node.result.index]
            case "round" | "round_slope" | "loop_along":  # named where the loop is
                pass
            case "slice" if n in self.parted:
                return self._split(self.parted[n])
            case _:
                return self._statement(n)
        return []

    def _parts(self, needed: set[int]) -> dict[int, list[int]]:
        """Of slices that a stream or product is cut into from end to end, all of them: they are made at once, and so is what goes back through them."""
        cuts: dict[tuple[int, int], list[int]] = {}
        for n in sorted(n for n in needed if self.nodes[n].op == "slice" and self.nodes[self.nodes[n].args[0]].op in ("stream", "product")):
            cuts.setdefault((self.nodes[n].args[0], self.nodes[n].cut.axis), []).append(n)
        found: dict[int, list[int]] = {}
        for (whole, axis), group in cuts.items():
            at = {self.nodes[n].cut.offset: n for n in group}
            ends, row = Dim.of(0), []
            while (here := at.get(ends)) is not None:
                row.append(here)
                ends = ends + self.nodes[here].shape[axis]
            if ends == self.nodes[whole].shape[axis] and len(row) == len(group) > 1 and len({n in self.first for n in group}) == 1:
                found |= dict.fromkeys(group, row)
        return found

    def _split(self, group: list[int]) -> list[str]:
        """A statement for all slices of a stream or product."""
        node = self.nodes[group[0]]
        whole, axis = self.texts[node.args[0]], node.cut.axis
        names = [self.names(("value", n), self.local.get(n, "v")) for n in group]
        for n, name in zip(group, names, strict=True):
            self.texts[n] = Text(name, moves=whole.moves)
        self.written |= {*group}
        sizes = ", ".join(self._dim(self.nodes[n].shape[axis]) for n in group)
        return [*self._comment(node), f"{', '.join(names)} = {self._whole(node.args[0], self.nodes[node.args[0]].shape)}.split([{sizes}], {axis - len(node.shape)})"]

    # Loops

    def _loop(self, n: int) -> list[str]:
        """A loop of Python; where derivatives are wanted, those of its values go along."""
        loop = self.nodes[n].loop
        along = self.along.get(loop.number)
        lines = self._passed(loop.rounds, self.nodes[n].args)
        self.left |= {(n, k): self.texts[r] for k, r in enumerate(loop.rounds)}
        if along is not None:
            slopes, starts = self.nodes[along].along, self.nodes[along].args
            before = reachable(self.nodes, list(starts), rounds=False)
            lines += self._block(before & self.first)  # what new values need too
            lines += _if_wanted([*self._block(before), *self._passed(slopes.slopes, starts)])
            self.left |= {(along, k): self.texts[r] for k, r in enumerate(slopes.slopes)}
        self.origin = None
        body = self._block(reachable(self.nodes, list(loop.outputs), rounds=False), self.regions[n])
        if along is not None:
            beside = self._block(reachable(self.nodes, list(slopes.outputs), rounds=False), self.regions[along])
            body += _if_wanted([*beside, *self._passed(slopes.slopes, slopes.outputs)])
        body += self._passed(loop.rounds, loop.outputs)
        self.origin = None
        return [*lines, f"for {self._counter(loop.counter)} in range({self._dim(loop.low)}, {self._dim(loop.high + Dim.of(1))}):", *(f"    {line}" for line in body)]

    def _passed(self, leaves: Sequence[int], values: Sequence[int]) -> list[str]:
        """What the next round begins with, in one statement: no value of the round before is lost before it is read."""
        names = [self.names(("round", leaf), self.local.get(leaf, "v")) for leaf in leaves]
        given = [self._moving(v, self.nodes[leaf].shape) for leaf, v in zip(leaves, values, strict=False)]
        for leaf, name in zip(leaves, names, strict=True):
            self.texts[leaf] = Text(name, moves=True)
            self.short.discard(leaf)
        changed = [(name, value) for name, value in zip(names, given, strict=True) if name != value]
        return [f"{', '.join(name for name, _ in changed)} = {', '.join(value for _, value in changed)}"] if changed else []

    def _moving(self, n: int, shape: Shape) -> str:
        """A value with all of its entries, of every step."""
        whole = self._whole(n, shape)
        return whole if self.texts[n].moves else f"moving({whole}, like, {self._dims(shape)})"

    def _of_header(self, kind: str, given: str) -> str:
        """The name of a size or hyperparameter."""
        return self.header.setdefault((kind, given), self.names((kind, given), given))

    def _counter(self, name: str) -> str:
        return self.names(("counter", name), name)

    def _carry(self, i: int) -> str:
        array, lag = self.step.carries[i]
        return self.names(("old", i), f"{array.label}_{lag}")

    def _array(self, kind: str, i: int) -> str:
        array = (self.step.streams if kind == "stream" else self.step.statics)[i]
        return self.names((kind, i), array.label)

    def _statement(self, n: int) -> list[str]:
        """The lines that a node takes, where it is not written where it is read."""
        text = self._text(n)
        node = self.nodes[n]
        if node.is_elementwise:
            covered = {k for a, m in zip(node.args, node.maps, strict=True) if a not in self.short for k in m}
            if covered != set(range(len(node.shape))):
                self.short.add(n)
        self.texts[n] = text
        if node.is_leaf or text.plain or (self.counts[n] < 2 and n not in self.local and len(text.code) < _LONG) or text.code.isidentifier():
            return []
        name = self.names(("value", n), self.local.get(n, "v"))
        condition = text.condition and self.counts[n] == 1
        if condition:
            return []
        self.texts[n] = Text(name, moves=text.moves)
        return [*self._comment(node), f"{name} = {text.code}"]

    def _comment(self, node: Node) -> list[str]:
        """The line of the program that a node comes from, where it is another than the last."""
        line = self.source.line_of(node.span.start)
        if line == self.origin:
            return []
        self.origin = line
        return [f"# {self.source.cited(line)}"[: WIDTH - 6].rstrip()]

    def _text(self, n: int) -> Text:
        node = self.nodes[n]
        args = [self.texts[a] for a in node.args]
        if node.is_elementwise:
            return elementwise(node, [placed(t, m, len(node.shape)) for t, m in zip(args, node.maps, strict=True)])
        match node.op:
            case "number":
                value = node.of(float)
                return Text(repr(value) if abs(value) < float("inf") else f'float("{value}")', plain=True)
            case "hyper":
                return Text(self._of_header("hypers", node.of(str)), plain=True)
            case "size":
                return Text(f"float({self._dim(node.of(Dim))})", plain=True)
            case "counter":
                return Text(self._counter(node.of(str)), plain=True)
            case "old" | "stream":
                return Text(self.names((node.op, node.leaf.index)), moves=True)
            case "static":
                name = self.names((node.op, node.leaf.index))
                return Text(name) if node.leaf.select is None else Text(f"{name}[int({args[0].code}) - 1]")
            case "product":
                return product(node, [Text(self._whole(a, self.nodes[a].shape), moves=t.moves) for a, t in zip(node.args, args, strict=True)])
        whole = [self._whole(a, self.nodes[a].shape) for a in node.args]
        moves, rank = any(t.moves for t in args), len(node.shape)
        match node.op:
            case "sum" | "largest":
                return total(node, Text(whole[0], moves=moves))
            case "slice":
                axis, low = node.cut.axis, self._dim(node.cut.offset)
                index = ", ".join(["...", f"{low}:{self._dim(node.cut.offset + node.shape[axis])}", *[":"] * (rank - 1 - axis)])
                return Text(f"{whole[0]}[{index}]", moves=moves)
            case "concat":
                return Text(f"joined({node.of(int) - rank}, {rank}, {', '.join(whole)})", moves=moves)
            case "reshape":
                return Text(f"reshaped({whole[0]}, {len(self.nodes[node.args[0]].shape)}, {self._dims(node.shape)})", moves=moves)
            case "cumsum":
                return Text(f"{whole[0]}.cumsum(-1)" if not node.data else f"{whole[0]}.flip(-1).cumsum(-1).flip(-1)", moves=moves)
            case "diag":
                return Text(f"torch.diag_embed({whole[0]})", moves=moves)
            case "diagonal":
                return Text(f"torch.diagonal({whole[0]}, dim1=-2, dim2=-1)", moves=moves)
        raise Unsupported(f"`{node.op}` for all steps at once")

    def _whole(self, n: int, shape: Shape) -> str:
        """A value with all of its entries, not those alone that differ."""
        text = self.texts[n]
        if text.plain:
            return f"like.new_full({self._dims(shape)}, {text.code})"
        return text.within(ATOM) if n not in self.short else f"expanded({text.code}, {self._dims(shape)})"

    def _full(self, n: int) -> str:
        """A result, broadcast to its shape."""
        return self._whole(n, self.nodes[n].shape)

    def _dims(self, shape: Shape) -> str:
        return f"({''.join(f'{self._dim(d)}, ' for d in shape).rstrip()})"

    def _dim(self, d: Dim) -> str:
        names = {name: self._of_header("sizes", name) for name in d.names}
        above, below = (part.text(names) for part in d.divided())
        return above if below == "1" else f"({above}) // ({below})"


class OnceText(RoundText):
    """Writes a function of what a step makes of statics alone; label: what it is called. `like` is [1, 1, …]. Raises Unsupported."""

    def __init__(self, step: Step, label: str, source: Source):
        super().__init__(NewtonStep(step, ()), label, source)

    def lines(self) -> list[str]:
        outputs = [n for _, n in self.step.outputs]
        statics = [self._array("static", i) for i in range(len(self.step.statics))]
        self._surveyed(outputs, outputs)
        body = self._block(reachable(self.nodes, outputs, rounds=False))
        made = [f"{self._full(n)}[0, 0]" if self.texts[n].moves else self._full(n) for n in outputs]
        return self._defined(f"{self.label}(like, sizes, hypers, arrays)", statics, [*body, f"return {_listed(made)}"])


def _listed(names: Sequence[str]) -> str:
    return f"({''.join(f'{name}, ' for name in names).rstrip()})"


def _if_wanted(lines: list[str]) -> list[str]:
    return ["if derivatives:", *(f"    {line}" for line in lines)] if lines else []
