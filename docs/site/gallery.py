"""The gallery: a page for each cell of examples/zoo, and a table of all of them; text and pictures are written when the site is built."""

import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from html import escape
from multiprocessing import get_all_start_methods, get_context

import rnndsl
from rnndsl import compiler, zoo
from rnndsl.api import read_source
from rnndsl.checks.cell import Cell, Variable
from rnndsl.tools.explain import CellExplanation
from rnndsl.tools.latex import equations_latex
from rnndsl.tools.page import count, sections
from rnndsl.tools.picture import as_svg

FAMILIES = ("affine", "max-plus", "log-semiring", "nonlinear")
FIRST = ("GRU", "LSTM")  # what most people look for
SIZES = {"D": 64, "H": 128, "N": 4}  # of examples; others are 16
INDEX = """---
hide: [toc]
---

# Gallery

Published recurrent cells, each as a program of `examples/zoo/` and, by its name, as a class: `rnndsl.zoo.GRU`. The pages are written from the programs: equations,
structure, costs and pictures are what the compiler finds.

* **Family:** `affine`, `max-plus` and `log-semiring` recurrences are one exact scan where channels do not mix; `nonlinear` ones are solved step by step, or by
  Newton's method.
* **Structure:** what a step mixes: `diagonal` nothing, `block` a few values a channel, `head` all of a head, `left` and `right` rows or columns of a
  matrix state, `dense` everything. A cell with several components has one of each a component. See [what the compiler finds](../explain.md).
* **Kernels:** all have C++ kernels for a CPU. Those marked `triton` have Triton kernels too, which have run in Triton's interpreter, and not on a GPU yet.

<input class="filter" type="search" placeholder="Filter: attention, diagonal, 2024 …" aria-label="Filter the cells">

"""


@dataclass(frozen=True)
class Shown:
    """A cell of the zoo, ready to be written."""

    entry: zoo.Entry
    latex: str
    components: tuple[dict, ...]
    cost: dict
    found: str
    cpu: str | None  # why it has no kernels; None where it has
    triton: str | None
    picture: str
    thumbnail: str
    use: str

    @property
    def program(self) -> str:
        """The file below its comment."""
        return self.entry.text.partition("\n\n")[2].rstrip("\n")

    @property
    def families(self) -> str:
        return ", ".join(dict.fromkeys(c["family"] for c in self.components))

    @property
    def structures(self) -> str:
        return ", ".join(dict.fromkeys(c["structure"] for c in self.components))


def read(e: zoo.Entry) -> Shown:
    """What is said of a cell, and found in it."""
    (cell,) = rnndsl.explain(e.path).cells
    source = read_source(e.path)
    cpu, triton = _refused(source)
    return Shown(
        e,
        equations_latex(cell.system, cell.file), tuple(c for c in cell.data["components"] if c["cost"]), cell.data["cost"]["step"],
        _found(cell), cpu, triton, as_svg(cell.system), as_svg(cell.system, bare=True), usage(e, cell.system.plan.cell),
    )  # fmt: skip


def _refused(source: rnndsl.Source) -> tuple[str | None, str | None]:
    """Why each backend has no kernels for a cell; None where it has."""
    found = compiler.compiled(source)
    cpu, triton = ("; ".join(dict.fromkeys(dict(found.carried[0][name].refused).values())) or None for name in ("cpu", "triton"))
    return cpu, triton


def _found(cell: CellExplanation) -> str:
    """The page of `rnndsl explain`, but for the equations, which stand above it."""
    shown = (s for s in sections(cell.data) if s.title != "Equations" and not s.title.startswith("Schedule"))
    return "\n\n".join("\n".join([s.title, *(f"  {line}".rstrip() for line in s.lines)]) for s in shown)


def usage(e: zoo.Entry, cell: Cell) -> str:
    """How to use a cell, in Python."""
    sizes = {n: SIZES.get(n, 16) for n in cell.sizes}

    def shape(v: Variable) -> str:
        axes = [str(a.evaluate(sizes)) for a in (*v.type.heads, *v.type.axes)]
        return f"{v.name}: [{', '.join(['B', 'T', *axes])}]"

    inputs = cell.of_role("input")
    given = ", ".join(f"{n}={v}" for n, v in sizes.items())
    call = f"y, state = layer({', '.join(v.name for v in inputs)})"
    return f"import rnndsl\n\nlayer = rnndsl.zoo.{e.name}({given})\n{call}    # {', '.join(map(shape, inputs))}"


def linked(text: str) -> str:
    """A text with links to arXiv."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def page(s: Shown) -> str:
    """The page of a cell."""
    e = s.entry
    parts = [f"# {e.name}", *map(linked, (e.paper, e.purpose, *e.remarks)), _facts(s)]
    parts.append(f'```rnn title="examples/zoo/{e.stem}.rnn" linenums="{e.first_line}"\n{s.program}\n```')
    parts.append(f"## Use this cell\n\n```python\n{s.use}\n```\n\n`rnndsl zoo copy {e.name}` writes the program, to change.")
    parts.append(f'## Equations\n\n<div class="equations">\\[{escape(s.latex)}\\]</div>')
    alt = f"The states of {e.name}, what they read, and which entries of the Jacobian are not zero"
    parts.append(f'## Structure\n\n<div class="picture" markdown>\n\n![{alt}]({e.stem}.svg)\n\n</div>')
    parts += [f"- `{', '.join(c['states'])}` is {c['reason']}." for c in s.components]
    parts.append(f"## What the compiler finds\n\n```text\n{s.found}\n```")
    parts.append('<script src="../math.js"></script>\n<script src="../mathjax.js" async></script>')
    return "\n\n".join(parts) + "\n"


def _facts(s: Shown) -> str:
    special = "" if s.cost["special_functions"]["formula"] == "0" else f", {count(s.cost['special_functions'])} special functions"
    rows = [
        ("family", s.families),
        ("structure", s.structures),
        ("schedules", "; ".join(dict.fromkeys(" or ".join(c["schedules"]) for c in s.components))),
        ("cost of a step", f"{count(s.cost['flops'])} operations{special}"),
        ("bytes of a step", f"{count(s.cost['bytes_forward'])} forward, {count(s.cost['bytes_backward'])} backward, in float32"),
        ("CPU kernels", "yes" if s.cpu is None else f"no: {s.cpu}"),
        ("Triton kernels", "yes; run in Triton's interpreter, not on a GPU yet" if s.triton is None else f"no: {s.triton}"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {_cell(v)} |" for k, v in rows)])


def _cell(text: str) -> str:
    """Text in a table: outside code, `*` is no emphasis."""
    return "`".join(p if i % 2 else p.replace("*", r"\*") for i, p in enumerate(text.split("`"))).replace("|", r"\|")


def index(cells: list[Shown]) -> str:
    """The table of all cells, by family and structure."""
    rows = []
    for s in sorted(cells, key=_order):
        kernels = ", ".join(b for b, why in (("cpu", s.cpu), ("triton", s.triton)) if why is None)
        e = s.entry
        picture = f"[![]({e.stem}.thumbnail.svg){{ loading=lazy }}]({e.stem}.md)"
        rows.append(f"| {picture} | [{e.name}]({e.stem}.md) | {e.year} | {s.families} | {s.structures} | {kernels} | {_cell(e.summary)} |")
    head = "| | cell | year | family | structure | kernels | for |\n|---|---|---|---|---|---|---|\n"
    table = f"{head}{chr(10).join(rows)}"
    return f'{INDEX}{len(cells)} cells; click on a head to sort.\n\n<div class="sortable" markdown>\n\n{table}\n\n</div>\n\n<script src="../sort.js"></script>\n'


def _order(s: Shown) -> tuple:
    """The best known first, then by family and structure."""
    name = s.entry.name
    place = FIRST.index(name) if name in FIRST else len(FIRST)
    return place, FAMILIES.index(s.families.split(", ")[0]), s.families, s.structures, name.lower()


def pages(stems: list[str] | None = None) -> dict[str, str]:
    """The files of the gallery by path; of some cells, if they are named."""
    entries = [e for e in zoo.entries() if stems is None or e.stem in stems]
    if len(entries) < 8 or "fork" not in get_all_start_methods():
        cells = [read(e) for e in entries]
    else:
        with ProcessPoolExecutor(mp_context=get_context("fork")) as workers:
            cells = list(workers.map(read, entries, chunksize=4))
    found = {"gallery/index.md": index(cells)}
    for s in cells:
        stem = f"gallery/{s.entry.stem}"
        found |= {f"{stem}.md": page(s), f"{stem}.svg": s.picture, f"{stem}.thumbnail.svg": s.thumbnail}
    return found
