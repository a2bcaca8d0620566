"""One open file: its text, what is wrong with it, and the last analysis that went well, which outlives half-typed text."""

import logging
from functools import cached_property
from typing import Any

from rnndsl import compiler
from rnndsl.checks.cell import Cell, Repeat, Update
from rnndsl.diagnostics import Diagnostic, RnnError, Source, Span
from rnndsl.reading import MAX_BYTES, normalised
from rnndsl.tools.lsp.outline import Outline, outline

log = logging.getLogger(__name__)


class Analysis:
    """A program without errors; what the compiler finds in a cell is worked out when it is asked for."""

    def __init__(self, checked: compiler.Compiled):
        self.checked = checked
        self._found: dict[str, dict[str, Any] | None] = {}
        self.refused: dict[str, str] = {}  # why there is nothing of a cell

    def cell(self, name: str) -> Cell | None:
        return next((c for c in self.checked.program.cells if c.name == name), None)

    def data(self, cell: str) -> dict[str, Any] | None:
        """What `explain --json` says of a cell; None where there is no such cell."""
        if cell not in self._found:
            self._found[cell] = self._explained(cell) if self.cell(cell) else None
        return self._found[cell]

    def _explained(self, cell: str) -> dict[str, Any] | None:
        from rnndsl.tools.explain import explain  # loads sympy

        try:
            return explain(self.checked, cell).cells[0].data
        except RnnError as e:
            self.refused[cell] = e.diagnostics[0].title
            return None
        except Exception:  # a hover with less in it is better than none
            log.exception("the analysis of %s failed", cell)
            return None

    def shape(self, cell: str, name: str) -> str | None:
        """The shape of a declared value or a local."""
        found = self.cell(cell)
        if found is None:
            return None
        shapes = {v.name: v.type for v in found.variables}
        for s in found.body:
            for let in s.body if isinstance(s, Repeat) else () if isinstance(s, Update) else (s,):
                shapes.setdefault(let.name, let.value.type)
        return str(shapes[name]) if name in shapes else None


class Document:
    """A file at one moment; everything about it is worked out once, when it is first asked for."""

    def __init__(self, name: str, text: str, before: "Document | None" = None):
        self._too_large = len(text) > MAX_BYTES
        self.source = Source(name, "" if self._too_large else normalised(text))
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self._last = before._known if before else None

    @cached_property
    def outline(self) -> Outline:
        return outline(self.source)

    @cached_property
    def _result(self) -> tuple[Analysis | None, list[Diagnostic]]:
        if self._too_large:
            return None, [Diagnostic("too-large", "this program is too large", Span(0, 1), f"at most {MAX_BYTES} bytes")]
        try:
            checked = compiler.compiled(self.source)
        except RnnError as e:
            return None, e.diagnostics
        except Exception:  # a mistake of the compiler's must not end the editor's session
            log.exception("checking %s failed", self.source.name)
            return None, []
        return Analysis(checked), list(checked.warnings)

    @property
    def problems(self) -> list[Diagnostic]:
        """Everything wrong with the text."""
        return self._result[1]

    @property
    def analysis(self) -> Analysis | None:
        """Of this text, or of the last one that had no errors."""
        return self._result[0] or self._last

    @property
    def is_current(self) -> bool:
        """Whether the analysis is of this very text."""
        return self._result[0] is not None

    @property
    def _known(self) -> Analysis | None:
        """The analysis as far as it is known, without looking at a text that nobody asked about."""
        return self.analysis if "_result" in self.__dict__ else self._last
