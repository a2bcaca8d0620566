"""Plan and kernels -> what the module template needs of one class."""

from dataclasses import dataclass
from itertools import pairwise

from rnndsl.checks.attributes import LAYER_ATTRIBUTES
from rnndsl.checks.cell import Cell, Hyper
from rnndsl.diagnostics import Source
from rnndsl.emit.carried import Carried, literal
from rnndsl.emit.declare import Declare, Initial
from rnndsl.emit.naming import Names, field_names
from rnndsl.emit.part import header_name, quoted, raw_names, tuple_text
from rnndsl.emit.run import Run
from rnndsl.kernel.build import CellKernels
from rnndsl.source import printable


@dataclass(frozen=True)
class CellText:
    """What the module template needs of one cell."""

    name: str
    doc: list[str]
    state_class: str
    output_class: str | None
    fields: list[str]
    outputs: list[str]
    header: list[str]
    sizes: str
    hypers: str
    order: str  # of the header, as a further argument, where sizes do not come first
    attributes: str | None  # the names of the header that are attributes
    declare_arguments: list[str]
    declare: list[str]
    initial: list[str]
    run: list[str]
    methods: list[list[str]]
    states: str  # how many each recurrence has
    found: str  # and its family, structure and slots
    raw: str  # where constrained params are stored
    equations: list[str]  # the cell as it was written
    kernels: dict[str, Carried]  # by backend
    used: frozenset[str]


def cell_text(made: CellKernels, carried: dict[str, Carried], source: Source, class_names: Names, standalone: bool) -> CellText:
    """The text of one cell, of a module that is `standalone` or not."""
    plan = made.plan
    cell = plan.cell
    used: set[str] = {"Layer", "NamedTuple", "Tensor"}
    header = [f"{h.name}={_python(h.default)}" if isinstance(h, Hyper) else h for h in cell.header]
    if any("=" in a and "=" not in b for a, b in pairwise(header)):
        header = _defaults_everywhere(header)
    if any("math" in h for h in header):
        used.add("math")
    name = class_names(("cell", cell.name), cell.name)
    several = len(plan.outputs) > 1
    declare_names = Names()
    for h in cell.header:
        declare_names(header_name(h), header_name(h))
    run = Run(plan, tuple(r.recurrence for r in made.recurrences), source, Names(), used, standalone)
    lines = run.lines()
    used.update({"Call"} if plan.scans else ())
    return CellText(
        name=name,
        doc=_docstring(cell.doc or f"The cell {cell.name}."),
        state_class=class_names(("state", cell.name), f"{cell.name}State"),
        output_class=class_names(("output", cell.name), f"{cell.name}Output") if several else None,
        fields=list(run.fields.values()),
        outputs=field_names([o[0] for o in plan.outputs]),
        header=header,
        sizes=_dict(cell.sizes),
        hypers=_dict([h.name for h in cell.hypers]),
        attributes=_attributes([header_name(h) for h in cell.header]),
        order=_order(cell),
        declare_arguments=[declare_names(header_name(h)) for h in cell.header],
        declare=Declare(plan, declare_names, used).lines(),
        initial=Initial(plan, Names(), used).lines(),
        run=lines,
        methods=run.methods,
        states=literal({run.label(r): run.shown(r) for r in run.recurrences.values()}),
        found=literal({run.label(r.recurrence): (r.component.family, r.component.structure.kind, r.component.structure.slots) for r in made.recurrences}),
        raw=literal(raw_names(cell)),
        equations=_equations(cell, source),
        kernels=carried,
        used=frozenset(used),
    )


def _defaults_everywhere(header: list[str]) -> list[str]:
    """Python wants a default on everything after the first: a size then defaults to None, which the layer refuses by name."""
    seen = False
    out = []
    for h in header:
        seen = seen or "=" in h
        out.append(h if "=" in h or not seen else f"{h}=None")
    return out


def _order(cell: Cell) -> str:
    names = tuple(header_name(h) for h in cell.header)
    return "" if names == (*cell.sizes, *(h.name for h in cell.hypers)) else f", {literal(names)}"


def _python(value: float) -> str:
    text = repr(value)
    return {"inf": "math.inf", "-inf": "-math.inf", "nan": "math.nan"}.get(text, text)


def _dict(names) -> str:
    return "{" + ", ".join(f"{quoted(n)}: {n}" for n in names) + "}"


def _attributes(names: list[str]) -> str | None:
    """The names that the class has as attributes: all that it does not use itself."""
    free = [quoted(n) for n in names if n not in LAYER_ATTRIBUTES]
    return tuple_text(free) if free else None


def _docstring(doc: str) -> list[str]:
    """The docstring as lines of code; whatever it holds, it stays one string."""
    text = doc.strip()
    plain = (
        all(c.isprintable() or c == "\n" for c in text)
        and '"""' not in text
        and "\\" not in text
        and not text.endswith('"')
    )
    if not plain or not text:
        return [repr(doc)]
    lines = [line.strip() for line in text.split("\n")]
    return [f'"""{lines[0]}"""'] if len(lines) == 1 else [f'"""{lines[0]}', *lines[1:], '"""']


def _equations(cell: Cell, source: Source) -> list[str]:
    """The text of a cell as comments."""
    lines = source.slice(cell.span).rstrip().split("\n")
    shown = (printable(line).rstrip() for line in lines)
    return [f"# {line}" if line else "#" for line in shown]
