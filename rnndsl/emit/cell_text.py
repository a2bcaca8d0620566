"""Plan -> what the module template needs of one class."""

from dataclasses import dataclass
from itertools import pairwise

from rnndsl.checks.cell import Hyper
from rnndsl.diagnostics import Source
from rnndsl.emit.cpp.library import CppText, cpp_text
from rnndsl.emit.declare import Declare, Initial
from rnndsl.emit.naming import Names, field_names
from rnndsl.emit.part import header_name, quoted, tuple_text
from rnndsl.emit.run import Run
from rnndsl.plan.ir import Plan


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
    order: str
    declare_arguments: list[str]
    declare: list[str]
    initial: list[str]
    run: list[str]
    methods: list[list[str]]
    states: str  # how many each recurrence has
    kernels: CppText
    kernel_name: str
    used: frozenset[str]

    @property
    def kernel_source(self) -> str:
        """The C++ text as a Python string."""
        text = self.kernels.text
        return repr(text) if '"""' in text or "\\" in text else f'r"""\n{text}"""'

    @property
    def kernel_sizes(self) -> str:
        return "{" + ", ".join(f"{quoted(n)}: {quoted(c)}" for n, c in self.kernels.sizes) + "}"

    @property
    def step_statics(self) -> str:
        assert self.kernels.step is not None
        return "{" + ", ".join(f"{quoted(n)}: {form}" for n, form in self.kernels.step.statics) + "}"

    @property
    def kernel_refusals(self) -> str:
        return "{" + ", ".join(f"{quoted(n)}: {quoted(why)}" for n, why in self.kernels.refused) + "}"


def cell_text(plan: Plan, source: Source, class_names: Names) -> CellText:
    """The text of one cell."""
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
    run = Run(plan, source, Names(), used)
    lines = run.lines()
    kernels = cpp_text(plan, source, run.labels())
    used.update({"Kernel", "Kernels"} if kernels.kernels else {"Kernels"})
    used.update({"Step"} if kernels.kernels and kernels.step else ())
    return CellText(
        name=name,
        doc=_docstring(cell.doc or f"The cell {cell.name}."),
        state_class=class_names(("state", cell.name), f"{cell.name}State"),
        output_class=class_names(("output", cell.name), f"{cell.name}Output") if several else None,
        fields=field_names([c.field for c in plan.carries]),
        outputs=field_names([o[0] for o in plan.outputs]),
        header=header,
        sizes=_dict(cell.sizes),
        hypers=_dict([h.name for h in cell.hypers]),
        order=tuple_text([quoted(header_name(h)) for h in cell.header]),
        declare_arguments=[declare_names(header_name(h)) for h in cell.header],
        declare=Declare(plan, declare_names, used).lines(),
        initial=Initial(plan, Names(), used).lines(),
        run=lines,
        methods=run.methods,
        states="{" + ", ".join(f"{quoted(run.label(r))}: {len(r.scan.states)}" for r in run.recurrences.values()) + "}",
        kernels=kernels,
        kernel_name=class_names(("kernels", cell.name), f"{cell.name}_KERNELS"),
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


def _python(value: float) -> str:
    text = repr(value)
    return {"inf": "math.inf", "-inf": "-math.inf", "nan": "math.nan"}.get(text, text)


def _dict(names) -> str:
    return "{" + ", ".join(f"{quoted(n)}: {n}" for n in names) + "}"


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
