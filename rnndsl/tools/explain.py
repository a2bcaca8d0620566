"""A program explained: per cell a page of text, plain data, LaTeX and a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from rnndsl import compiler
from rnndsl.calculus.analysis import System
from rnndsl.checks.cell import Cell
from rnndsl.compiler import Compiled
from rnndsl.diagnostics import Source
from rnndsl.syntax import ast
from rnndsl.tools import NoMatplotlib, Unfit
from rnndsl.tools.arguments import check_sizes
from rnndsl.tools.data import ROUNDS, VERSION, cell_data, repeat_sizes
from rnndsl.tools.html import in_fixed_width
from rnndsl.tools.page import page, sections, title

Over = Callable[[Source, Cell, tuple[int, int] | None, dict[str, int]], list[dict[str, Any]]]


@dataclass(frozen=True)
class CellExplanation:
    """One cell explained."""

    system: System
    file: ast.File
    source: Source
    data: dict[str, Any]

    @property
    def name(self) -> str:
        return self.system.plan.cell.name

    @cached_property
    def text(self) -> str:
        """The page for a terminal."""
        return page(self.data, self.source.name)

    @cached_property
    def latex(self) -> str:
        """Equations and Jacobian entries, for a document with amsmath."""
        from rnndsl.tools.latex import cell_latex

        with compiler.deep_trees(self.source):
            return cell_latex(self.system, self.file)

    def html(self, equations: bool = True) -> str:
        """The page for a notebook, with the picture where matplotlib is there; without its equations where they are set beside it."""
        parts = [f"<h4>{escape(title(self.data, self.source.name))}</h4>"]
        if self.data["doc"]:
            parts.append(f"<p>{escape(self.data['doc'])}</p>")
        parts.append(self._picture_html())
        for s in sections(self.data):
            if s.title == "Equations" and not equations:
                continue
            body = in_fixed_width("\n".join(s.lines))
            shown = ' open="open"' if s.title == "Equations" or s.title.startswith("Component") else ""
            parts.append(f"<details{shown}><summary>{escape(s.title)}</summary>{body}</details>")
        return f'<div class="rnndsl-explanation">{"".join(parts)}</div>'

    def _picture_html(self) -> str:
        """The picture as an image in the text; nothing where there is no matplotlib or the cell is too large for one."""
        from base64 import b64encode

        from rnndsl.tools.picture import as_svg

        try:
            svg = b64encode(as_svg(self.system).encode()).decode()
        except (NoMatplotlib, Unfit):
            return ""
        what = escape(f"The graph of {self.name} and its Jacobian", quote=True)
        return f'<img alt="{what}" style="max-width: 100%; background: white" src="data:image/svg+xml;base64,{svg}"/>'

    def picture(self, path: str | Path) -> None:
        """Draws the state graph and the Jacobian's sparsity into a .png or .svg file; needs matplotlib."""
        from rnndsl.tools.picture import draw

        draw(self.system, path)


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns: it prints as the pages, and shows itself in a notebook."""

    cells: tuple[CellExplanation, ...]

    @property
    def text(self) -> str:
        return "\n\n\n".join(c.text for c in self.cells)

    @property
    def data(self) -> dict[str, Any]:
        """What `explain --json` prints."""
        return {"version": VERSION, "cells": [c.data for c in self.cells]}

    @property
    def latex(self) -> str:
        return "\n\n".join(c.latex for c in self.cells)

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return "\n".join(c.html() for c in self.cells)

    def _repr_latex_(self) -> str:
        from rnndsl.tools.latex import equations_latex

        rows = [r"\\[1ex]".join(equations_latex(c.system, c.file).split("\n\n")) for c in self.cells]
        return "\n".join(f"$\\displaystyle\n{row}\n$" for row in rows)


def explain(
    checked: Compiled, cell: str | None = None, shape: tuple[int, int] | None = None, sizes: dict[str, int] | None = None, over: Over | None = None
) -> Explanation:
    """Explains the cells of a program, or the one named `cell`. over: `tools.ranks.ways` for a number of ranks that share the time.

    Raises Unfit, a ValueError, for a name, shape or size that does not fit it, RnnError for a program that is too large.
    """
    program = checked.program
    names = [c.name for c in program.cells]
    if cell is not None and cell not in names:
        raise Unfit(f"there is no cell {cell}; there is {', '.join(names) or 'none'}")
    if shape is not None and (len(shape) != 2 or any(n < 1 for n in shape)):
        raise Unfit("a shape is two numbers from 1 on: sequences and steps")
    kept = [c for c in program.cells if cell in (None, c.name)]
    check_sizes(sizes or {}, sorted({n for c in kept for n in c.sizes}))
    found = []
    for plan, kernels in zip(checked.plans, checked.kernels, strict=True):
        if cell in (None, plan.cell.name):
            own = {n: v for n, v in (sizes or {}).items() if n in plan.cell.sizes}
            system = compiler.system(plan, program.source, repeat_sizes(plan, own), ROUNDS)
            with compiler.deep_trees(program.source):
                data = cell_data(system, kernels, checked.file, program.source, shape, own)
            if over is not None:
                ways = over(program.source, plan.cell, shape, own)
                of_states = {r.recurrence.scan.states: way for r, way in zip(kernels.recurrences, ways, strict=True)}
                for c in data["components"]:
                    c["ranks"] = of_states.get(tuple(c["states"]))
            found.append(CellExplanation(system, checked.file, program.source, data))
    return Explanation(tuple(found))
