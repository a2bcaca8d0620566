"""What the methods of a generated class have in common: names, shapes, and how lines of Python are laid out."""

import json
import re
from dataclasses import dataclass, field
from functools import cached_property

from rnndsl.checks.cell import Cell, Hyper, Ref, Type, Variable, walk
from rnndsl.emit.naming import Names, field_names
from rnndsl.emit.torch_text import TorchText
from rnndsl.plan.dependence import strongly_connected
from rnndsl.plan.ir import Plan


def header_name(h: str | Hyper) -> str:
    """The name of a header's entry."""
    return h.name if isinstance(h, Hyper) else h


def tuple_text(parts: list[str]) -> str:
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


@dataclass
class Part:
    """One method of the class being written."""

    plan: Plan
    names: Names
    used: set[str]
    out: list[str] = field(default_factory=list)

    @property
    def cell(self) -> Cell:
        return self.plan.cell

    @cached_property
    def fields(self) -> dict[str, str]:
        """What each carried value is called in the state tuple."""
        found = [c.field for c in self.plan.carries]
        return dict(zip(found, field_names(found), strict=True))

    def printer(self, has_lead: bool = False) -> TorchText:
        """A printer of expressions for this method."""
        lead = self._has_lead if has_lead else lambda ref: False
        return TorchText(self._name, lead, lambda n: self.names(n), self.used)

    def _has_lead(self, ref: Ref) -> bool:
        return ref.moves(self.plan.static)

    def _name(self, ref: Ref) -> str:
        if ref.role in ("state", "input") and ref.lag:
            return self.names((ref.role, ref.name, ref.lag), f"{ref.name}_{ref.lag}")
        return self.names(ref.name)

    def shape(self, t: Type, text: TorchText) -> str:
        return text.dims(t.heads + t.axes)

    def unpacking(self, names: list[str], value: str) -> list[str]:
        """The line that gives what a tuple holds its names, as far as the lines so far mention them; none where they mention nothing of it."""
        words = words_of(self.out)
        found = [name if name in words else "_" for name in names]
        return unpacked(found, value) if any(name != "_" for name in found) else []

    def header_values(self, code: list[str]) -> list[str]:
        """Lines that bind the sizes and hyperparameters which the code mentions."""
        words = words_of(code)
        lines = []
        for h in self.cell.header:
            name = header_name(h)
            if self.names(name) in words:
                where = "_hypers" if isinstance(h, Hyper) else "_sizes"
                lines.append(f"{self.names(name)} = self.{where}[{quoted(name)}]")
        return lines


def unpacked(names: list[str], value: str, width: int = 110) -> list[str]:
    """`a, b = value`, over several lines where it is long."""
    if not names:
        return []
    line = f"{', '.join(names) if len(names) > 1 else tuple_text(names)} = {value}"
    if len(line) <= width:
        return [line]
    lines, row = ["("], "    "
    for n in names:
        if len(row) + len(n) > width:
            lines.append(row.rstrip())
            row = "    "
        row += f"{n}, "
    return [*lines, row.rstrip(), f") = {value}"]


def call_lines(targets: list[str], function: str, arguments: list[str]) -> list[str]:
    """A call on one line, or with an argument a line where that is long."""
    line = f"{', '.join(targets)} = {function}({', '.join(arguments)})"
    if len(line) <= 110:
        return [line]
    return [f"{', '.join(targets)} = {function}(", *(f"    {a}," for a in arguments), ")"]


def quoted(text: str) -> str:
    """A Python string literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def tensors(cell: Cell) -> list[Variable]:
    """Params and consts, in the order in which the layer holds them: a const after the consts that it is made of."""
    held = {v.name: v for v in cell.variables if v.role in ("param", "const")}
    needs = {
        name: [] if v.value is None else [n.name for n in walk(v.value) if isinstance(n, Ref) and n.role == "const"]
        for name, v in held.items()
    }
    return [held[name] for (name,) in strongly_connected(needs)]


def words_of(lines: list[str]) -> set[str]:
    """The identifiers that lines of code mention, but for attributes."""
    code = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return set(re.findall(r'"[^"\n]*"|(?<![\w.])[^\W\d]\w*', code))


def raw_names(cell: Cell) -> dict[str, str]:
    """Under which name a layer stores each constrained param: `raw_tau` for `tau`, with underscores behind it where the cell has that name."""
    taken = {header_name(h) for h in cell.header} | {v.name for v in cell.variables}
    found = {}
    for v in tensors(cell):
        if v.interval is not None:
            name = f"raw_{v.name}"
            while name in taken:
                name += "_"
            taken.add(name)
            found[v.name] = name
    return found
