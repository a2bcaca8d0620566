"""Numbers that hyperparameters and sizes make: literals, and constants of a file that are made once, in Python."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rnndsl.checks.dims import Dim
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.triton import text
from rnndsl.emit.triton.text import ATOM, Text
from rnndsl.kernel.graph import Node


@dataclass(frozen=True)
class Constant:
    """A number that hyperparameters and sizes make, in Python."""

    name: str
    code: str


class Constants:
    """The numbers of a file that are made once."""

    def __init__(self) -> None:
        self.found: dict[str, Constant] = {}

    def name(self, code: str) -> str:
        """The name of a number that Python code makes."""
        if code not in self.found:
            self.found[code] = Constant(f"NUMBER_{len(self.found)}", code)
        return self.found[code].name


@dataclass(frozen=True)
class Uniform:
    """Which nodes of a graph are numbers that no row or step changes, and what they are called. names: of sizes and hyperparameters."""

    nodes: Sequence[Node]
    names: KernelNames
    constants: Constants

    def among(self, needed: Iterable[int]) -> set[int]:
        """Those of some nodes, in the order of their numbers, that are made of numbers, sizes and hyperparameters alone."""
        found: set[int] = set()
        for n in needed:
            node = self.nodes[n]
            if node.op in ("number", "size", "hyper") or (node.is_elementwise and all(a in found for a in node.args)):
                found.add(n)
        return found

    def text(self, n: int) -> Text:
        """A literal, or the name of a number of the file. Raises Unsupported."""
        node = self.nodes[n]
        if node.op == "number":
            return text.number(node.of(float))
        name = self.names(node.of(str)) if node.op == "hyper" else self.constants.name(self.python(n))
        return Text(name, plain=True)

    def python(self, n: int) -> str:
        """The number in Python. Raises Unsupported."""
        node = self.nodes[n]
        match node.op:
            case "number":
                return text.number(node.of(float)).within(ATOM)
            case "hyper":
                return f"{self.names(node.of(str))}.value"
            case "size":
                return f"float({text.dim(node.of(Dim), self.values(node.of(Dim)))})"
        return text.uniform(node.op, [self.python(a) for a in node.args])

    def values(self, d: Dim) -> dict[str, str]:
        """What the sizes of a dimension are in Python."""
        return {name: f"{self.names(name)}.value" for name in d.names}
