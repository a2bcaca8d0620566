"""The text of a function that computes what a plan computes once a call: for those who want the values alone."""

from rnndsl.diagnostics import Source
from rnndsl.emit.naming import Names
from rnndsl.emit.part import quoted, tensors
from rnndsl.emit.statements import Statements
from rnndsl.plan.ir import Plan, names_of


class Constants(Statements):
    """`constants(self, params, kind)`: the constants of a plan by name. self: a layer of the cell; params: its params and consts, of the dtype in `kind`."""

    def __init__(self, plan: Plan, source: Source):
        super().__init__(plan, source, Names(), set())
        self.text = self.plain

    def lines(self) -> list[str]:
        for let in self.plan.constants:
            self.operation(let, "")
        made = [f"{quoted(n)}: {self.names(n)}" for let in self.plan.constants for n in names_of(let)]
        self.out.append(f"return {{{', '.join(made)}}}")
        head = self.unpacking([self.names(v.name) for v in tensors(self.cell)], "params")
        return ["def constants(self, params, kind):", *(f"    {line}" for line in (*head, *self.header_values(self.out), *self.out))]
