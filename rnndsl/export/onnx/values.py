"""Nodes of a kernel's graph -> nodes of ONNX. A graph says of each argument along which axes it runs; ONNX wants axes in order, and broadcasts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from rnndsl.checks.dims import Dim
from rnndsl.export.onnx.functions import COMPARED, FORMS, is_so
from rnndsl.export.onnx.given import Given
from rnndsl.export.onnx.writer import Writer
from rnndsl.kernel.graph import Map, Node

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """A value of ONNX: `lead` axes before its own, of a batch and of steps. An axis of one entry stands for any number of equal ones, and so do no axes
    at all where there is no lead."""

    name: str
    lead: int
    dims: Shape


@dataclass
class Values:
    """The values of nodes in one graph of ONNX, each made once. once: the outermost graph, where weights are turned; there: values that need not be
    computed; whole: the sizes of a lead and further ones, as a tensor."""

    writer: Writer
    once: Writer
    nodes: Sequence[Node]
    of: Given
    there: Callable[[int], Tensor | None]
    whole: Callable[[int, Sequence[int]], str]
    made: dict[int, Tensor] = field(default_factory=dict)
    own: set[int] = field(default_factory=set)  # those that were computed here

    def __call__(self, n: int) -> Tensor:
        """The value of a node."""
        waiting = [n]
        while waiting:
            k = waiting[-1]
            if k in self.made:
                waiting.pop()
            elif (given := self.there(k)) is not None:
                self.made[k] = given
            elif missing := [a for a in self.nodes[k].args if a not in self.made]:
                waiting.extend(missing)
            else:
                for w in (self.once, self.writer):
                    w.stem, w.doc = self.of.provenance(k)
                self.made[k] = self._of(self.nodes[k])
                self.own.add(k)
        return self.made[n]

    def full(self, n: int, lead: int | None = None) -> Tensor:
        """The value of a node with every entry of its shape, and with a lead."""
        t = self(n)
        lead = t.lead if lead is None else lead
        dims = self.of.dims(self.nodes[n].shape)
        if t.dims == dims and t.lead == lead:
            return t
        w = self.writer
        wanted = w.ints(*[1] * lead, *dims) if t.lead == lead else self.whole(lead, dims)
        return Tensor(w.op("Expand", t.name, wanted), lead, dims)

    # Placing axes

    def placed(self, t: Tensor, m: Map, rank: int) -> Tensor:
        """A value as one of `rank` axes, its own running along those that the map says."""
        if not t.lead and not t.dims:
            return t
        w, order, lead = self.writer if t.lead else self.once, sorted(range(len(m)), key=m.__getitem__), list(range(t.lead))
        if order != list(range(len(m))):
            t = Tensor(w.op("Transpose", t.name, perm=[*lead, *(t.lead + i for i in order)]), t.lead, tuple(t.dims[i] for i in order))
        at = dict(zip(sorted(m), t.dims, strict=True))
        missing = [k for k in range(rank) if k not in at]
        if missing:
            t = Tensor(w.op("Unsqueeze", t.name, w.ints(*(t.lead + k for k in missing))), t.lead, t.dims)
        return Tensor(t.name, t.lead, tuple(at.get(k, 1) for k in range(rank)))

    def _broadcast(self, parts: Sequence[Tensor]) -> tuple[int, Shape]:
        """The lead and the axes of what values make entry by entry."""
        shaped = [t.dims for t in parts if t.lead or t.dims]
        return max(t.lead for t in parts), tuple(max(sizes) if 0 not in sizes else 0 for sizes in zip(*shaped, strict=True))

    # Operations

    def _of(self, node: Node) -> Tensor:
        w = self.writer
        match node.op:
            case "number":
                return Tensor(w.number(node.of(float)), 0, ())
            case "size":
                return Tensor(w.number(float(node.of(Dim).evaluate(self.of.sizes))), 0, ())
            case "hyper":
                return Tensor(w.number(float(self.of.hypers[node.of(str)])), 0, ())
            case "copy":
                return self.placed(self(node.args[0]), node.maps[0], len(node.shape))
            case "sum" | "largest":
                return self._reduced(node)
            case "product":
                return self._product(node)
            case "slice" | "concat" | "reshape" | "cumsum" | "diag":
                return getattr(self, f"_{node.op}")(node)
        parts = [self.placed(self(a), m, len(node.shape)) for a, m in zip(node.args, node.maps, strict=True)]
        lead, dims = self._broadcast(parts)
        names = [t.name for t in parts]
        condition = self.nodes[node.args[0]]
        if node.op == "select" and condition.op in (*COMPARED, "ne") and node.args[0] in self.own:  # true or false as it is, which is never a number
            whole = node.maps[0]
            sides = [self.placed(self.placed(self(a), m, len(condition.shape)), whole, len(node.shape)) for a, m in zip(condition.args, condition.maps, strict=True)]
            return Tensor(w.op("Where", is_so(w, condition.op, *(t.name for t in sides)), *names[1:]), lead, dims)
        return Tensor(FORMS[node.op](w, *names), lead, dims)

    def _reduced(self, node: Node) -> Tensor:
        w, rank = self.writer, len(node.shape)
        t, m = self.full(node.args[0]), node.maps[0]
        axes = [t.lead + i for i, k in enumerate(m) if k >= rank]
        name = w.op("ReduceSum" if node.op == "sum" else "ReduceMax", t.name, w.ints(*axes), keepdims=0)
        kept = [(k, size) for k, size in zip(m, t.dims, strict=True) if k < rank]
        return self.placed(Tensor(name, t.lead, tuple(size for _, size in kept)), tuple(k for k, _ in kept), rank)

    def _product(self, node: Node) -> Tensor:
        """A product of the rows of a batch and a matrix that they share is one matrix product; any other one is Einstein's sum."""
        w, rank = self.writer, len(node.shape)
        sides = [(self.full(a), m) for a, m in zip(node.args, node.maps, strict=True)]
        lead, dims = max(t.lead for t, _ in sides), self.of.dims(node.shape)
        for (matrix, of_matrix), (x, of_x) in (sides, sides[::-1]):
            if not matrix.lead and x.lead and of_x == (rank,) and len(node.summed) == 1 and sorted(of_matrix) == list(range(rank + 1)) and rank:
                return self._rows_times(matrix, of_matrix, x, dims)
        letters = "abcdefghijklmnopqrstuvw"
        terms = ["xyz"[: t.lead] + "".join(letters[k] for k in m) for t, m in sides]
        result = "xyz"[:lead] + letters[:rank]
        return Tensor(w.op("Einsum", *(t.name for t, _ in sides), equation=f"{','.join(terms)}->{result}"), lead, dims)

    def _rows_times(self, matrix: Tensor, m: Map, x: Tensor, dims: Shape) -> Tensor:
        w, rank = self.writer, len(dims)
        order = [m.index(k) for k in (rank, *range(rank))]  # what is summed over comes first
        name = matrix.name if order == list(range(rank + 1)) else self.once.op("Transpose", matrix.name, perm=order)
        if rank > 1:
            name = self.once.op("Reshape", name, w.ints(matrix.dims[order[0]], prod(dims)))
        name = w.op("MatMul", x.name, name)
        if rank > 1:
            name = w.op("Reshape", name, w.ints(*[0] * x.lead, *dims))
        return Tensor(name, x.lead, dims)

    def _slice(self, node: Node) -> Tensor:
        w, t, axis = self.writer, self(node.args[0]), node.cut.axis
        if not t.lead and not t.dims:
            return t
        (size,) = self.of.dims((node.shape[axis],))
        if t.dims[axis] == 1:  # equal entries
            return t
        start = int(node.cut.offset.evaluate(self.of.sizes))
        name = w.op("Slice", t.name, w.ints(start), w.ints(start + size), w.ints(t.lead + axis))
        return Tensor(name, t.lead, (*t.dims[:axis], size, *t.dims[axis + 1 :]))

    def _concat(self, node: Node) -> Tensor:
        lead = max(self(a).lead for a in node.args)
        parts = [self.full(a, lead) for a in node.args]
        return Tensor(self.writer.op("Concat", *(t.name for t in parts), axis=lead + node.of(int)), lead, self.of.dims(node.shape))

    def _reshape(self, node: Node) -> Tensor:
        w, t, dims = self.writer, self.full(node.args[0]), self.of.dims(node.shape)
        return Tensor(w.op("Reshape", t.name, w.ints(*[0] * t.lead, *dims)), t.lead, dims)

    def _cumsum(self, node: Node) -> Tensor:
        w, t = self.writer, self.full(node.args[0])
        return Tensor(w.op("CumSum", t.name, w.constant(t.lead + len(t.dims) - 1, np.int64), reverse=int(node.of(bool))), t.lead, t.dims)

    def _diag(self, node: Node) -> Tensor:
        w, t, dims = self.writer, self.full(node.args[0]), self.of.dims(node.shape)
        spread = w.op("Unsqueeze", t.name, w.ints(t.lead + len(t.dims)))
        return Tensor(w.op("Where", w.constant(np.eye(dims[-1], dtype=bool), np.bool_), spread, w.number(0)), t.lead, dims)
