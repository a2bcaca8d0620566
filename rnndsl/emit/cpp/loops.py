"""One group of elementwise nodes as a loop nest over rows and axes, its last axis in lanes."""

from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.scope import GIVEN, Scope
from rnndsl.emit.cpp.sinks import ahead_of_sink, sink_address
from rnndsl.emit.cpp.sums import accumulated
from rnndsl.emit.cpp.text import Cpp, plus, times
from rnndsl.kernel.graph import SCALARS, Map
from rnndsl.kernel.program import Sink
from rnndsl.kernel.schedule import Group, viewed


def write_loops(f: Scope, group: Group, depth: int) -> None:
    """Appends the loops of a group to a function."""
    Loops(f, group).write(depth)


class Loops:
    """The loops of one group. Names: `i0`, `i1`, … are the positions along its axes."""

    def __init__(self, f: Scope, group: Group):
        self.f, self.group = f, group
        f.groups_written += 1
        self.number = f.groups_written  # of the group: names of loads are its own
        self.axes = [k for k, (d, marker) in enumerate(group.domain) if f.extent(d, marker) is not None]
        self.lane_axis = self.axes[-1] if self.axes else None
        self.texts: dict[int, Cpp] = {}  # of nodes computed so far
        self.loads: dict[tuple[int, Map], Cpp] = {}
        self.in_group = set(group.nodes)
        self.counts: dict[int, int] = {}
        for n in [*group.nodes, *group.sums]:
            for a in f.nodes[n].args:
                self.counts[a] = self.counts.get(a, 0) + 1
        for s in group.sinks:
            self.counts[s.node] = self.counts.get(s.node, 0) + 1
        inner = {k for k in self.axes if k != self.lane_axis}
        self.inner = sorted(inner)
        summed = {n: self._summed_axes(n) & set(self.axes) for n in group.sums}
        # sums along all axes but the lanes' stay in registers, those along the lanes alone are made of many rows at once: both want the lanes outside
        self.in_registers = [n for n, axes in summed.items() if inner and axes == inner]
        self.by_rows = [n for n, axes in summed.items() if inner and axes == {self.lane_axis} and self._result_map(n)[-1] == self.inner[-1] and f.nodes[n].op == "sum"]
        self.lanes_outside = bool(self.in_registers or self.by_rows)
        self.hoisted, self.depth = 0, 0  # the line before which what only lanes move along is loaded, and its depth

    def _order(self, n: int) -> Map:
        """For a reduction: along which axis of its own domain each axis of the group runs."""
        return self.f.nodes[n].maps[0]

    def _summed_axes(self, n: int) -> set[int]:
        node = self.f.nodes[n]
        return {k for k, place in enumerate(self._order(n)) if place >= len(node.shape)}

    def write(self, depth: int) -> None:
        f = self.f
        end = f.open_rows(depth, apart=all(s.target.kind != "static_gradient" for s in self.group.sinks))
        for base in self._bases():
            pointer = f.base_pointer(base)
            if pointer is not None:
                f.put(pointer, depth + 1)
        for n in self.group.sums:
            if n not in self.in_registers:
                start = "T(0)" if f.nodes[n].op == "sum" else "-std::numeric_limits<T>::infinity()"
                f.put(f"fill({f.row_pointer(n)}, {f.volume(f.shape_domain(n))}, {start});", depth + 1)
        self._nest(depth + 1)
        f.put(end, depth)

    def _bases(self) -> list[int]:
        found: dict[int, None] = {}
        for n in [*self.group.nodes, *self.group.sums]:
            for a in self.f.nodes[n].args:
                base = viewed(self.f.nodes, a)
                if a not in self.in_group and self.f.nodes[base].op not in SCALARS and base not in self.f.uniform:
                    found[base] = None
        for n in [*self.group.nodes, *self.group.sums]:
            if n in self.f.kept:
                found[n] = None
        return list(found)

    def _nest(self, depth: int) -> None:
        f = self.f
        lane = f"i{self.lane_axis}" if self.lane_axis is not None else "i"
        extent = f.extent(*self.group.domain[self.lane_axis]) if self.lane_axis is not None else "1"
        over = [f"over<T, {extent}>([&](auto tag, long {lane}) INLINED {{", "  using L = typename decltype(tag)::type;"]
        loops = [f"for (long i{k} = 0; i{k} < {f.extent(*self.group.domain[k])}; ++i{k}) {{" for k in self.inner]
        body = depth
        if self.lanes_outside:
            for line in over:
                f.put(line, body)
            for n in self.in_registers:
                start = "T(0)" if f.nodes[n].op == "sum" else "-std::numeric_limits<T>::infinity()"
                f.put(f"L {f.lane_sum(n)} = L::fill({start});", body + 1)
            body += 1
            self.hoisted, self.depth = len(f.lines), body
        for k, loop in enumerate(loops):
            if k == len(loops) - 1:
                for n in self.by_rows:
                    f.put(f"Rows<T, {f.extent(*self.group.domain[self.inner[-1]])}> {f.lane_sum(n)};", body)
            f.put(loop, body)
            body += 1
        if not self.lanes_outside:
            for line in over:
                f.put(line, body)
            body += 1
        self._statements(body)
        if not self.lanes_outside:
            body -= 1
            f.put("});", body)
        for k in range(len(loops)):
            body -= 1
            f.put("}", body)
            if k == 0:
                for n in self.by_rows:
                    pointer, _ = self._address(n, self._result_map(n), own=True, first=self.inner[-1])
                    f.put(f"{f.lane_sum(n)}.add_to({pointer});", body)
        if self.lanes_outside:
            for n in self.in_registers:
                pointer, stride = self._address(n, self._result_map(n), own=True)
                f.put(f"{f.lane_sum(n)}.store({pointer}{'' if stride == '1' else ', ' + stride});", body)
            f.put("});", depth)

    def _result_map(self, n: int) -> Map:
        """Along which axis of the group each axis of a reduction's result runs."""
        order = self._order(n)
        return tuple(order.index(k) for k in range(len(self.f.nodes[n].shape)))

    def _statements(self, depth: int) -> None:
        f = self.f
        sinks: dict[int, list[Sink]] = {}
        for s in self.group.sinks:
            sinks.setdefault(s.node, []).append(s)
        sums: dict[int, list[int]] = {}
        for n in self.group.sums:
            sums.setdefault(f.nodes[n].args[0], []).append(n)
        for n in self.group.nodes:
            node = f.nodes[n]
            text = cpp_text.operation(node.op, [self._argument(a, m, depth) for a, m in zip(node.args, node.maps, strict=True)])
            used_here = self.counts.get(n, 0)
            written = n in f.kept or n in sinks or n in sums
            if used_here <= 1 and not written and n not in f.wanted_names:
                self.texts[n] = text
                continue
            f.note(node, depth)
            name = text.lanes
            if not (node.op == "copy" and name.isidentifier() and n not in f.wanted_names):  # what was loaded under a name needs no other
                f.put(f"const L {f.name_of(n)} = {name};", depth)
                name = f.name_of(n)
            self.texts[n] = Cpp(name)
            if n in f.kept:
                pointer, stride = self._address(n, tuple(range(len(node.shape))), own=True)
                self._store(name, pointer, stride, depth)
            for s in sinks.get(n, ()):
                self._sink(s, name, depth)
            for reduction in sums.get(n, ()):
                self._add(reduction, name, depth)
        for n in self.group.sums:  # of what lies in memory
            argument = f.nodes[n].args[0]
            if argument not in self.in_group:
                value = self._argument(argument, tuple(range(len(f.nodes[argument].shape))), depth)
                self._add(n, value.lanes, depth)

    def _argument(self, a: int, m: Map, depth: int) -> Cpp:
        f = self.f
        node = f.nodes[a]
        if node.op in SCALARS or a in f.uniform:
            return f.scalar(a)
        if a in self.in_group:
            return self.texts[a]
        if (a, m) not in self.loads:
            pointer, stride = self._address(a, m)
            base = viewed(f.nodes, a)
            name = f.names(("load", self.number, a, m), f.base_name(base) if f.nodes[base].op in GIVEN else f.name_of(base))
            ahead = f.ahead_of(base)
            near = f"L::load({pointer})" if ahead is None else f"L::load_ahead({pointer}, {ahead})"
            load = {"0": f"L::fill(*({pointer}))", "1": near}.get(stride, f"L::load({pointer}, {stride})")
            if self.lanes_outside and not {*m} & {*self.inner}:
                f.lines.insert(self.hoisted, f"{'  ' * self.depth}const L {name} = {load};")
                self.hoisted += 1
            else:
                f.put(f"const L {name} = {load};", depth)
            self.loads[(a, m)] = Cpp(name)
        return self.loads[(a, m)]

    def _address(self, n: int, m: Map, own: bool = False, first: int | None = None) -> tuple[str, str]:
        """Pointer and stride along the lanes of a value whose axes run along axes `m` of the group. first: an axis at whose first entry it is."""
        f = self.f
        view = f.view(n)
        in_unit = f.in_unit(view.base)
        offset, stride = view.offset, "0"
        for j, k in enumerate(m):
            marker = self.group.domain[k][1]
            offset = plus(offset, times(f.place(marker, "0" if k == first else f"i{k}", in_unit), view.strides[j]))
            if k == self.lane_axis:
                stride = view.strides[j]
        pointer = f.row_pointer(n) if own else f.pointer(view.base)
        return plus(pointer, offset), stride

    def _store(self, name: str, pointer: str, stride: str, depth: int) -> None:
        self.f.put(f"{name}.store({pointer}{'' if stride in ('0', '1') else ', ' + stride});", depth)

    def _add(self, reduction: int, value: str, depth: int) -> None:
        """Adds a value to a sum, or takes it into a largest."""
        f = self.f
        largest = f.nodes[reduction].op == "largest"
        if reduction in self.in_registers:
            name = f.lane_sum(reduction)
            f.put(f"{name} = max({name}, {value});" if largest else f"{name} = {name} + {value};", depth)
            return
        if reduction in self.by_rows:
            f.put(f"{f.lane_sum(reduction)}.add(i{self.inner[-1]}, {value});", depth)
            return
        pointer, stride = self._address(reduction, self._result_map(reduction), own=True)
        if self.lane_axis is None or self.lane_axis in self._summed_axes(reduction):
            f.put(f"*({pointer}) = max(*({pointer}), {value}.largest());" if largest else f"*({pointer}) += {value}.sum();", depth)
            return
        before = f"L::load({pointer}{'' if stride == '1' else ', ' + stride})"
        both = f"max({before}, {value})" if largest else f"({before} + {value})"
        self._store(both, pointer, stride, depth)

    def _sink(self, s: Sink, value: str, depth: int) -> None:
        f = self.f
        pointer, stride = sink_address(f, s, self.group.domain, self.lane_axis)
        if s.target.kind == "static_gradient":
            k = accumulated(f).index(s)
            domain = f.shape_domain(s.node)
            strides = f.row_major([f.extent(*a) for a in domain])
            offset = "0"
            for j, (_, marker) in enumerate(domain):
                offset = plus(offset, times(f.place(marker, f"i{j}", True), strides[j]))
            if s.loop is not None and s.target.select is not None:
                offset = plus(offset, times(f"(long({f.scalar(s.target.select).code}) - 1)", f.volume(domain)))
            pointer = plus(f.names(("sum", k)), offset)
            stride = strides[self.lane_axis] if self.lane_axis is not None else "1"
            value = f"(L::load({pointer}) + {value})"
        elif s.target.kind == "total":
            value = f"(L::load({pointer}) + {value})" if stride in ("0", "1") else f"(L::load({pointer}, {stride}) + {value})"
        ahead = ahead_of_sink(f, s)
        if ahead is not None and stride == "1":
            f.put(f"{value}.store_ahead({pointer}, {ahead});", depth)
        else:
            self._store(value, pointer, stride, depth)
