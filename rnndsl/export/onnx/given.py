"""What the models of a layer are made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from rnndsl.checks.cell import Type
from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.kernel.graph import Node
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Carry, Plan


@dataclass(frozen=True)
class Given:
    """A step, its plan and program, sizes and hyperparameters, the values of its statics by name, and the initial value of each field of the state."""

    source: Source
    plan: Plan
    step: Step
    sizes: dict[str, int]
    hypers: dict[str, float]
    values: dict[str, Tensor]
    initial: tuple[Tensor, ...]

    @cached_property
    def inputs(self) -> dict[str, Type]:
        return {v.name: v.type for v in self.plan.cell.of_role("input")}

    @cached_property
    def outputs(self) -> dict[str, Type]:
        return {name: value.type for name, value, _ in self.plan.outputs}

    @cached_property
    def carries(self) -> tuple[Carry, ...]:
        """The field of each real array that the step carries."""
        return tuple(c for c in self.plan.carries if c.role != "clock" for _ in range(1 + c.type.is_complex))

    def dims(self, shape: tuple[Dim, ...]) -> tuple[int, ...]:
        return tuple(int(d.evaluate(self.sizes)) for d in shape)

    def shape(self, t: Type) -> tuple[int, ...]:
        """The sizes of a value outside: two more entries where it is complex, its real and its imaginary part."""
        return self.dims(t.heads + t.axes) + ((2,) if t.is_complex else ())

    def is_clock(self, node: Node) -> bool:
        """Whether a leaf is the number of the step."""
        return node.op == "stream" and node.leaf.index == len(self.step.streams) - 1 and self.plan.cell.uses_clock

    def provenance(self, n: int) -> tuple[str, str]:
        """What the results of a node are called after, and the line of the program that it comes from."""
        span = self.step.builder[n].span
        line = self.source.line_of(span.start)
        text = self.source.cited(line) if span.end > span.start else ""
        return self._labels.get(n, ""), text

    @cached_property
    def _labels(self) -> dict[int, str]:
        return {n: name.rstrip(".") for n, name in self.step.names}


def free(name: str, taken: Iterable[str]) -> str:
    """A name, with as many underscores behind it as it takes to be none of those that are taken."""
    known = set(taken)
    while name in known:
        name += "_"
    return name
