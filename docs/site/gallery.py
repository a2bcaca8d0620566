"""The gallery: a page for each cell of examples/zoo, and a table of all of them; text and pictures are written when the site is built."""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from html import escape
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import rnndsl
from rnndsl import compiler, zoo
from rnndsl.api import read_source
from rnndsl.tools.explain import CellExplanation
from rnndsl.tools.latex import equations_latex
from rnndsl.tools.page import count, sections

FAMILIES = ("affine", "max-plus", "log-semiring", "nonlinear")
INDEX = """# Gallery

Published recurrent cells, each as a program of `examples/zoo/`. The pages are written from the programs: equations, structure, costs and
pictures are what the compiler finds. Click on a head to sort.

* **Family:** `affine`, `max-plus` and `log-semiring` recurrences are one exact scan where channels do not mix; `nonlinear` ones are solved step by step, or by
  Newton's method.
* **Structure:** what a step mixes: `diagonal` nothing, `block` a few values a channel, `head` all of a head, `left` and `right` rows or columns of a
  matrix state, `dense` everything. A cell with several components has one of each a component. See [what the compiler finds](../explain.md).
* **Kernels:** all have C++ kernels for a CPU. Those marked `triton` have Triton kernels too, which have run in Triton's interpreter, and not on a GPU yet.

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
        _found(cell), cpu, triton, _picture(cell),
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


def _picture(cell: CellExplanation) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.svg"
        cell.picture(path)
        return path.read_text(encoding="utf-8")


def page(s: Shown) -> str:
    """The page of a cell."""
    e = s.entry
    parts = [f"# {e.name}", e.paper, e.purpose, *e.remarks, _facts(s)]
    parts.append(f'```rnn title="examples/zoo/{e.stem}.rnn" linenums="{e.first_line}"\n{s.program}\n```')
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
    for s in sorted(cells, key=lambda s: (FAMILIES.index(s.families.split(", ")[0]), s.families, s.structures, s.entry.name.lower())):
        kernels = ", ".join(b for b, why in (("cpu", s.cpu), ("triton", s.triton)) if why is None)
        rows.append(f"| [{s.entry.name}]({s.entry.stem}.md) | {s.entry.year} | {s.families} | {s.structures} | {kernels} | {_cell(s.entry.summary)} |")
    head = "| cell | year | family | structure | kernels | for |\n|---|---|---|---|---|---|\n"
    return f"{INDEX}{len(cells)} cells.\n\n<div class=\"sortable\" markdown>\n\n{head}" + "\n".join(rows) + '\n\n</div>\n\n<script src="../sort.js"></script>\n'


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
        found |= {f"gallery/{s.entry.stem}.md": page(s), f"gallery/{s.entry.stem}.svg": s.picture}
    return found
