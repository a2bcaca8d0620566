"""What can be wrong with a program: the diagnostics of a stage, gathered and raised. `report.py` is the only place that turns one into text."""

from dataclasses import dataclass, field

from rnndsl.report import render
from rnndsl.source import NOWHERE, Diagnostic, Related, Source, Span, display_width


class RnnError(Exception):
    """A program that cannot be compiled; holds every diagnostic of the stage that failed."""

    def __init__(self, source: Source, diagnostics: list[Diagnostic]):
        self.source = source
        self.diagnostics = sorted(diagnostics, key=lambda d: (d.span, d.code, d.title))
        super().__init__(source, self.diagnostics)

    def __str__(self) -> str:
        return "\n\n".join(render(d, self.source) for d in self.diagnostics)


MAX_ERRORS = 100


@dataclass
class Collector:
    """Gathers the diagnostics of one stage; `stop_if_any` ends the stage."""

    source: Source
    found: list[Diagnostic] = field(default_factory=list)
    _told: set[tuple[str, Span]] = field(default_factory=set)
    _errors: int = 0

    def error(
        self,
        code: str,
        title: str,
        span: Span,
        label: str = "",
        *,
        hint: str | None = None,
        note: str | None = None,
        related: tuple[Related, ...] = (),
        severity: str = "error",
    ) -> None:
        """Records one diagnostic; the same code at the same place is recorded once, and errors up to a limit."""
        if (code, span) in self._told or (severity == "error" and self.full):
            return
        self._told.add((code, span))
        self._errors += severity == "error"
        self.found.append(
            Diagnostic(
                code, title, span, label, related, (note,) if note else (), (hint,) if hint else (), severity=severity
            )
        )

    @property
    def failed(self) -> bool:
        return self._errors > 0

    @property
    def full(self) -> bool:
        """Whether no further errors are recorded: nobody reads so many."""
        return self._errors >= MAX_ERRORS

    def stop_if_any(self) -> None:
        """Raises `RnnError` with everything found if any of it is an error."""
        if self.failed:
            raise RnnError(self.source, [d for d in self.found if d.severity == "error"])


__all__ = ["MAX_ERRORS", "NOWHERE", "Collector", "Diagnostic", "Related", "RnnError", "Source", "Span", "display_width"]
