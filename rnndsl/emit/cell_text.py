"""Plan and kernels -> what the module template needs of one class."""

from dataclasses import dataclass
from itertools import pairwise

from rnndsl.checks.attributes import LAYER_ATTRIBUTES
from rnndsl.checks.cell import Hyper
from rnndsl.diagnostics import Source
from rnndsl.emit.cpp.library import CppText
from rnndsl.emit.declare import Declare, Initial
from rnndsl.emit.naming import Names, field_names
from rnndsl.emit.part import header_name, quoted, raw_names, tuple_text
from rnndsl.emit.run import Run
from rnndsl.emit.triton.library import TritonText
from rnndsl.kernel.build import CellKernels


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
    attributes: str | None  # the names of the header that are attributes
    declare_arguments: list[str]
    declare: list[str]
    initial: list[str]
    run: list[str]
    methods: list[list[str]]
    states: str  # how many each recurrence has
    raw: str  # where constrained params are stored
    kernels: CppText
    kernel_name: str
    triton: TritonText
    triton_name: str
    used: frozenset[str]

    @property
    def kernel_source(self) -> str:
        """The C++ text as a Python string."""
        return _raw(self.kernels.text, '"""')

    @property
    def triton_source(self) -> str:
        """The Triton text as a Python string."""
        return _raw(self.triton.text, "'''")

    @property
    def kernel_sizes(self) -> str:
        return _names(self.kernels.sizes)

    @property
    def triton_sizes(self) -> str:
        return _names(self.triton.sizes)

    @property
    def triton_hypers(self) -> str:
        return _names(self.triton.hypers)

    @property
    def triton_kernels(self) -> str:
        return _names(self.triton.kernels)

    @property
    def triton_refusals(self) -> str:
        return _names(self.triton.refused)

    @property
    def step_statics(self) -> str:
        assert self.kernels.step is not None
        return "{" + ", ".join(f"{quoted(n)}: {form}" for n, form in self.kernels.step.statics) + "}"

    @property
    def kernel_refusals(self) -> str:
        return _names(self.kernels.refused)


def _raw(text: str, quotes: str) -> str:
    """A text of several lines as a Python string, readable where it can be."""
    return repr(text) if quotes in text or "\\" in text else f"r{quotes}\n{text}{quotes}"


def _names(pairs: tuple[tuple[str, str], ...]) -> str:
    return "{" + ", ".join(f"{quoted(a)}: {quoted(b)}" for a, b in pairs) + "}"


def cell_text(made: CellKernels, kernels: CppText, triton: TritonText, source: Source, class_names: Names) -> CellText:
    """The text of one cell."""
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
    run = Run(plan, tuple(r.recurrence for r in made.recurrences), source, Names(), used)
    lines = run.lines()
    used.add("TritonKernels")
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
        attributes=_attributes([header_name(h) for h in cell.header]),
        order=tuple_text([quoted(header_name(h)) for h in cell.header]),
        declare_arguments=[declare_names(header_name(h)) for h in cell.header],
        declare=Declare(plan, declare_names, used).lines(),
        initial=Initial(plan, Names(), used).lines(),
        run=lines,
        methods=run.methods,
        states="{" + ", ".join(f"{quoted(run.label(r))}: {len(r.scan.states)}" for r in run.recurrences.values()) + "}",
        raw=_names(tuple(raw_names(cell).items())),
        kernels=kernels,
        kernel_name=class_names(("kernels", cell.name), f"{cell.name}_KERNELS"),
        triton=triton,
        triton_name=class_names(("triton", cell.name), f"{cell.name}_TRITON"),
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
