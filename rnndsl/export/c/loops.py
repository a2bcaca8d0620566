"""The loops of one group of formulas: products and sums, named values, and what is put away at the end of each round."""

from typing import TYPE_CHECKING

from rnndsl.export.c.places import row_major
from rnndsl.export.c.text import ATOM, C, operation
from rnndsl.kernel.graph import Map
from rnndsl.kernel.program import Sink
from rnndsl.kernel.schedule import Group, viewed

if TYPE_CHECKING:
    from rnndsl.export.c.function import Function

_TOGETHER = 4  # products that one loop adds up
WIDTH = 110  # of a line, about: longer formulas are written in parts


class Loops:
    """The loops of one group of formulas. `i0`, `i1`, … are the positions along its axes."""

    def __init__(self, f: "Function", group: Group):
        self.f, self.g = f, group
        self.shape = tuple(f.work.size(d) for d, _ in group.domain)
        self.mine = set(group.nodes)
        self.texts: dict[int, C] = {}
        self.totals: dict[int, str] = {}  # of sums that variables hold
        self.counts: dict[int, int] = {}
        for n in (*group.nodes, *group.sums):
            for a in f.nodes[n].args:
                self.counts[a] = self.counts.get(a, 0) + 1
        for s in group.sinks:
            self.counts[s.node] = self.counts.get(s.node, 0) + 1

    def write(self, depth: int) -> None:
        f = self.f
        self.places: list[str] = []
        inner, outer = depth, self._kept_outside()
        for k in range(len(self.shape) + 1):
            if k == outer:
                for n in self.g.sums:
                    self._begin_sum(n, inner)
            if k < len(self.shape):
                inner, place = f._open([f"i{k}"], self.shape[k : k + 1], inner, block=True)
                self.places += place
        sums: dict[int, list[int]] = {}
        for n in self.g.sums:
            sums.setdefault(f.nodes[n].args[0], []).append(n)
        self._products(inner)
        for n in self.g.nodes:
            self._node(n, inner, sums.get(n, []))
        for n in self.g.sums:
            if f.nodes[n].args[0] not in self.mine:
                whole = tuple(range(len(self.shape)))
                self._add(n, self._argument(f.nodes[n].args[0], whole).code, inner)
        self._store(inner)
        opened = inner
        for k in range(len(self.shape) - 1, -1, -1):
            if self.shape[k] != 1:
                opened -= 1
                f.put("}", opened)
            if k == outer:
                self._end_sums(opened)
        f.origin = None if inner > depth else f.origin

    def _kept_outside(self) -> int:
        """How many axes are looped over outside of all that is summed over, where all sums have these in common: then variables hold them. 0 elsewhere."""
        for n in self.g.sums:
            node = self.f.nodes[n]
            if node.maps[0] != tuple(range(len(self.shape))) or node.shape != self.f.nodes[self.g.sums[0]].shape:
                return 0
        return len(self.f.nodes[self.g.sums[0]].shape) if self.g.sums else 0

    def _node(self, n: int, depth: int, sums: list[int]) -> None:
        f, node = self.f, self.f.nodes[n]
        args = [self._argument(a, m) for a, m in zip(node.args, node.maps, strict=True)]
        text = operation(node.op, args, f.functions)
        kept = n in f.work.kept
        is_number = node.op == "copy" and args[0].literal is not None
        several = self.counts.get(n, 0) + kept > 1 and not is_number
        own_name = n in f.locals and text.binds < ATOM and not any(s.node == n for s in self.g.sinks)
        if several or own_name or len(text.code) > WIDTH - 2 * depth - 20 or (kept and not f.memory[n].is_array):
            text = self._named(n, text, depth)
        self.texts[n] = text
        for reduction in sums:
            self._add(reduction, text.code, depth)

    def _store(self, depth: int) -> None:
        """Puts away what is read elsewhere, last of all what goes where an old value lies: what others make of that is then made already."""
        f = self.f
        stores: list[tuple[bool, int, str]] = []
        for n in self.g.nodes:
            sinks = [s for s in self.g.sinks if s.node == n]
            if n in f.work.kept and f.memory[n].is_array and f.memory[n] not in [f.next.get(s) for s in sinks]:
                stores.append((False, n, f.own(n, self._own_places(n))))
            stores += [(f.is_in_place(s), n, self._sink(s)) for s in sinks]
        stores.sort(key=lambda s: s[0])
        replacing = [n for is_late, n, _ in stores if is_late]
        for n in replacing[1:]:
            if self.texts[n].binds < ATOM or "[" in self.texts[n].code:
                self.texts[n] = self._named(n, self.texts[n], depth)
        for _, n, to in stores:
            f.note(n, depth)
            f.put(f"{to} = {self.texts[n].code};", depth)

    def _named(self, n: int, text: C, depth: int) -> C:
        """A variable for a value."""
        f = self.f
        f.note(n, depth)
        is_variable = n in f.work.kept and not f.memory[n].is_array
        name = f.memory[n].name if is_variable else f.names(("variable", n), f.wanted.get(n) or "v")
        f.put(f"const {f.real} {name} = {text.code};", depth)
        return C(name)

    def _own_places(self, n: int) -> list[str]:
        return self.places[: len(self.f.nodes[n].shape)]

    def _argument(self, a: int, m: Map) -> C:
        f = self.f
        if a in self.mine:
            return self.texts[a]
        places = [self.places[k] for k in m]
        return self.texts[a] if a in self.texts else f._argument(a, places)

    def _products(self, depth: int) -> None:
        """Adds up the products that this loop reads, a few at a time: what they multiply is then loaded once, and no sum waits for another."""
        f = self.f
        found: dict[tuple[int, ...], list[tuple[int, list[str], str]]] = {}
        for a in dict.fromkeys(a for n in self.g.nodes for a in f.nodes[n].args):
            n = viewed(f.nodes, a)
            if n in f.work.inlined:
                name = f._name(n) if a == n else f.names(("part", a), f._name(n))
                at = [_shifted(p, o) for p, o in zip(self.places, f.work.offset(a) or (), strict=True)]
                found.setdefault(tuple(map(f.work.size, f.nodes[n].summed)), []).append((n, at, name))
                self.texts[a] = C(name)
        for wanted in found.values():
            for k in range(0, len(wanted), _TOGETHER):
                f.sum_products(wanted[k : k + _TOGETHER], depth)

    def _sink(self, s: Sink) -> str:
        f = self.f
        shape = f.work.shape(s.node)
        memory = f.outputs[s.target.index] if s.target.kind == "output" else f.next[s]
        return f.at(memory, self._own_places(s.node), row_major(shape), shape)

    # Sums

    def _begin_sum(self, n: int, depth: int) -> None:
        f = self.f
        start = f.functions.zero if f.nodes[n].op == "sum" else "-INFINITY"
        f.note(n, depth)
        if not f.memory[n].is_array:
            self.totals[n] = f.memory[n].name
        elif self.places:
            self.totals[n] = f.names.of(f.memory[n].name, "sum")
        if n in self.totals:
            f.put(f"{f.real} {self.totals[n]} = {start};", depth)
            return
        shape = f.work.shape(n)
        inner, places = f._open([f"i{k}" for k in range(len(shape))], shape, depth)
        f.put(f"{f.own(n, places)} = {start};", inner)

    def _end_sums(self, depth: int) -> None:
        f = self.f
        for n in self.g.sums:
            if f.memory[n].is_array and n in self.totals:
                f.put(f"{f.own(n, self._own_places(n))} = {self.totals[n]};", depth)

    def _add(self, n: int, value: str, depth: int) -> None:
        f = self.f
        order = f.nodes[n].maps[0]
        to = self.totals.get(n) or f.own(n, [self.places[order.index(k)] for k in range(len(f.nodes[n].shape))])
        f.note(f.nodes[n].args[0] if f.nodes[n].args[0] in self.mine else n, depth)
        if f.nodes[n].op == "largest":
            f.put(f"{to} = {f.functions('max')}({to}, {value});", depth)
        else:
            f.put(f"{to} += {value};", depth)


def _shifted(place: str, by: int) -> str:
    """A position, further on along its axis."""
    return place if not by else str(int(place) + by) if place.isdigit() else f"({place} + {by})"
