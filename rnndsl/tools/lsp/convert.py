"""What the other files of this folder find, as the language server protocol has it."""

import difflib

from lsprotocol import types as lsp

from rnndsl.diagnostics import Diagnostic, Span
from rnndsl.syntax.formatter import formatted
from rnndsl.tools.lsp.complete import Choice
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.fixes import fixes
from rnndsl.tools.lsp.outline import Item, Outline
from rnndsl.tools.lsp.positions import Positions

_KINDS = {
    "keyword": lsp.CompletionItemKind.Keyword,
    "function": lsp.CompletionItemKind.Function,
    "constant": lsp.CompletionItemKind.Constant,
    "state": lsp.CompletionItemKind.Field,
    "param": lsp.CompletionItemKind.Property,
    "const": lsp.CompletionItemKind.Property,
    "size": lsp.CompletionItemKind.TypeParameter,
}
_SYMBOLS = {
    "cell": lsp.SymbolKind.Class,
    "function": lsp.SymbolKind.Function,
    "size": lsp.SymbolKind.TypeParameter,
    "hyper": lsp.SymbolKind.Constant,
    "input": lsp.SymbolKind.Variable,
    "state": lsp.SymbolKind.Field,
    "param": lsp.SymbolKind.Property,
    "const": lsp.SymbolKind.Constant,
}


def range_of(span: Span, places: Positions) -> lsp.Range:
    """A range as editors count."""
    (line, character), (end_line, end_character) = places.of(span.start), places.of(span.end)
    return lsp.Range(lsp.Position(line, character), lsp.Position(end_line, end_character))


def problem_of(d: Diagnostic, uri: str, places: Positions) -> lsp.Diagnostic:
    """A message, with its notes and help lines."""
    lines = [f"{d.title}: {d.label}" if d.label else d.title, *(f"note: {n}" for n in d.notes), *(f"help: {h}" for h in d.hints)]
    severity = lsp.DiagnosticSeverity.Error if d.severity == "error" else lsp.DiagnosticSeverity.Warning
    related = [lsp.DiagnosticRelatedInformation(lsp.Location(uri, range_of(r.span, places)), r.label) for r in d.related]
    tags = [lsp.DiagnosticTag.Unnecessary] if d.code == "unused" else None
    return lsp.Diagnostic(
        range_of(d.span, places), "\n".join(lines), severity, code=d.code, source="rnndsl", related_information=related or None, tags=tags
    )


def edits_of(document: Document, places: Positions) -> list[lsp.TextEdit]:
    """The lines that formatting changes."""
    text, after = document.source.text, formatted(document.source)
    old, new = text.split("\n"), after.split("\n")
    starts = [0]
    for line in old:
        starts.append(starts[-1] + len(line) + 1)
    edits = []
    for what, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        lines, span = "".join(f"{line}\n" for line in new[c:d]), Span(starts[a], starts[b])
        if b == len(old):  # the last line has no end of its own: that of the line before goes with it
            lines, span = (f"\n{lines[:-1]}" if lines and a else lines[:-1]), Span(max(starts[a] - 1, 0), len(text))
        edits.append(lsp.TextEdit(range_of(span, places), lines.replace("\n", document.newline)))
    return edits


def item_of(choice: Choice, where: lsp.Range, place: int) -> lsp.CompletionItem:
    """A completion; place: in the order in which they are offered."""
    return lsp.CompletionItem(
        choice.text,
        kind=_KINDS.get(choice.kind, lsp.CompletionItemKind.Variable),
        detail=choice.detail or None,
        documentation=choice.about or None,
        sort_text=f"{place:03d}",
        text_edit=lsp.TextEdit(where, choice.text),
    )


def symbols_of(found: Outline, places: Positions) -> list[lsp.DocumentSymbol]:
    """The cells and functions of a text, and the names in each."""

    def one(item: Item, end: int) -> lsp.DocumentSymbol:
        names = [
            lsp.DocumentSymbol(s.name, _SYMBOLS.get(s.role, lsp.SymbolKind.Variable), range_of(s.span, places), range_of(s.span, places), detail=s.role)
            for s in sorted(item.names.values(), key=lambda s: s.span)
            if s.role != "argument"
        ]
        whole = Span(item.symbol.statement.start, max(end, item.symbol.statement.end))
        return lsp.DocumentSymbol(
            item.symbol.name, _SYMBOLS[item.symbol.role], range_of(whole, places), range_of(item.symbol.span, places), detail=item.symbol.role, children=names
        )

    starts = [i.symbol.statement.start for i in found.items[1:]] + [len(found.source.text)]
    return [one(item, len(found.source.text[:start].rstrip())) for item, start in zip(found.items, starts, strict=True)]


def actions_of(document: Document, uri: str, span: Span, places: Positions) -> list[lsp.CodeAction]:
    """The quick fixes of the messages that touch a range."""
    found = []
    for d in document.problems:
        if d.span.start > span.end or d.span.end < span.start:
            continue
        for i, fix in enumerate(fixes(document, d)):
            edit = lsp.TextEdit(range_of(fix.span, places), fix.text.replace("\n", document.newline))
            found.append(
                lsp.CodeAction(
                    fix.title, lsp.CodeActionKind.QuickFix, [problem_of(d, uri, places)], is_preferred=i == 0, edit=lsp.WorkspaceEdit(changes={uri: [edit]})
                )
            )
    return found
