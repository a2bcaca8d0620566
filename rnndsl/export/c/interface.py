"""What a step is called with, as C sees it: inputs, outputs, the fields of the state; a complex value is pairs of reals."""

from dataclasses import dataclass
from math import prod

from rnndsl.checks.cell import Type
from rnndsl.emit.naming import KernelNames
from rnndsl.plan.ir import Plan


@dataclass(frozen=True)
class Value:
    """An array of the interface: its name in the program and in C, and its shape in whole numbers; of a complex value, entries are pairs."""

    name: str
    c: str
    shape: tuple[int, ...]
    is_complex: bool = False

    @property
    def count(self) -> int:
        """How many reals it is."""
        return prod(self.shape) * (1 + self.is_complex)

    @property
    def about(self) -> str:
        """Its shape, as a program writes one."""
        return f"{'complex ' if self.is_complex else ''}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Interface:
    """What the functions of a cell share. clock: the field that counts steps, "" where there is none."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    fields: tuple[Value, ...]
    clock: str


def interface(plan: Plan, sizes: dict[str, int], names: KernelNames) -> Interface:
    """The interface of a cell of given sizes; `names` gives the names that C has for those of the program."""

    members = KernelNames()  # of a struct, which has names of its own

    def value(kind: str, name: str, t: Type) -> Value:
        given = members if kind == "field" else names
        return Value(name, given((kind, name), name), tuple(int(d.evaluate(sizes)) for d in t.heads + t.axes), t.is_complex)

    return Interface(
        inputs=tuple(value("input", v.name, v.type) for v in plan.cell.of_role("input")),
        outputs=tuple(value("output", name, expr.type) for name, expr, _ in plan.outputs),
        fields=tuple(value("field", c.field, c.type) for c in plan.carries if c.role != "clock"),
        clock=next((members(("field", c.field), c.field) for c in plan.carries if c.role == "clock"), ""),
    )
