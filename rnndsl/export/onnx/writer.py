"""Nodes, initializers and names of an ONNX graph, as they come to be.

What a program calls its inputs and weights is called so here. Every name that is made up has a dot in it, which no name of a program has.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


@dataclass
class Store:
    """What a graph and the graphs inside it share: initializers, and how many names there are."""

    initializers: dict[str, TensorProto] = field(default_factory=dict)
    known: dict[tuple, str] = field(default_factory=dict)  # of numbers and shapes, by type, shape and value
    count: int = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}.{self.count}"

    def initializer(self, name: str, value: np.ndarray) -> str:
        """A weight, once. Raises ValueError for a number that float32 has no room for."""
        if name not in self.initializers:
            if value.dtype == np.float64:
                with np.errstate(over="ignore"):
                    narrow = value.astype(np.float32)
                if not np.array_equal(np.isfinite(narrow), np.isfinite(value)):
                    raise ValueError(f"{name}: it has a number that float32 has no room for, and ONNX models are in float32")
                value = narrow
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        return name


@dataclass
class Writer:
    """One graph. stem: what the next results are called after; doc: where their nodes come from."""

    store: Store
    nodes: list[NodeProto] = field(default_factory=list)
    stem: str = ""
    doc: str = ""

    def op(self, kind: str, *inputs: str, named: str | None = None, **attributes: Any) -> str:
        """A node with one result."""
        result = named or self.store.name(self.stem or kind)
        self.several(kind, inputs, [result], **attributes)
        return result

    def several(self, kind: str, inputs: Sequence[str], results: Sequence[str], **attributes: Any) -> None:
        """A node with results of these names."""
        node = helper.make_node(kind, list(inputs), list(results), name=f"{kind}.{len(self.nodes)}.{results[0]}", **attributes)
        node.doc_string = self.doc
        self.nodes.append(node)

    def constant(self, value: Any, dtype: type) -> str:
        """A number or a list of numbers."""
        array: np.ndarray = np.array(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.store.known:
            self.store.known[key] = self.store.initializer(self.store.name("number"), array)
        return self.store.known[key]

    def number(self, value: float) -> str:
        return self.constant(value, np.float64)

    def ints(self, *values: int) -> str:
        return self.constant(list(values), np.int64)


def value_info(name: str, kind: int, shape: Sequence[int | str]) -> ValueInfoProto:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def read_by(nodes: Sequence[NodeProto], outputs: Iterable[ValueInfoProto]) -> tuple[list[NodeProto], set[str]]:
    """The nodes that some outputs need, and every name that these read, also in graphs inside them."""
    read = {o.name for o in outputs}
    kept = []
    for node in reversed(nodes):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
            read.update(name for a in node.attribute if a.HasField("g") for inner in a.g.node for name in inner.input)
    return kept[::-1], read
