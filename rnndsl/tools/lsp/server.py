"""The server itself: what editors ask over the language server protocol, answered by the other files of this folder."""

import asyncio
import difflib
import sys
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

from rnndsl.diagnostics import Diagnostic, RnnError, Span
from rnndsl.syntax.formatter import formatted
from rnndsl.tools.lsp.complete import Choice, complete
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.hover import hover
from rnndsl.tools.lsp.messages import Messages
from rnndsl.tools.lsp.positions import Positions
from rnndsl.version import VERSION

PAUSE = 0.1  # seconds without typing before a text is checked

_KINDS = {
    "keyword": lsp.CompletionItemKind.Keyword,
    "function": lsp.CompletionItemKind.Function,
    "constant": lsp.CompletionItemKind.Constant,
    "state": lsp.CompletionItemKind.Field,
    "param": lsp.CompletionItemKind.Property,
    "const": lsp.CompletionItemKind.Property,
    "size": lsp.CompletionItemKind.TypeParameter,
}


class Server(LanguageServer):
    """The documents that are open, and when each is to be checked."""

    def __init__(self) -> None:
        super().__init__("rnndsl", VERSION, text_document_sync_kind=lsp.TextDocumentSyncKind.Full)
        self.open: dict[str, Document] = {}
        self._pending: dict[str, asyncio.TimerHandle] = {}

    def update(self, uri: str, text: str, pause: float = PAUSE) -> None:
        """A new text of a file: it is checked when typing pauses."""
        name = PurePosixPath(unquote(urlsplit(uri).path)).name or uri
        self.open[uri] = Document(name, text, self.open.get(uri))
        self._cancel(uri)
        self._pending[uri] = asyncio.get_running_loop().call_later(pause, self.publish, uri)

    def close(self, uri: str) -> None:
        """Forgets a file, and takes its messages away."""
        self._cancel(uri)
        self.open.pop(uri, None)
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri=uri, diagnostics=[]))

    def _cancel(self, uri: str) -> None:
        if pending := self._pending.pop(uri, None):
            pending.cancel()

    def publish(self, uri: str) -> None:
        """Sends what is wrong with a file."""
        document = self.open[uri]
        places = self.positions(document)
        found = [_problem(d, uri, places) for d in document.problems]
        version = self.workspace.get_text_document(uri).version
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri=uri, diagnostics=found, version=version))

    def positions(self, document: Document) -> Positions:
        encoding = self.workspace.position_encoding or lsp.PositionEncodingKind.Utf16
        return Positions(document.source, getattr(encoding, "value", encoding))

    def at(self, params: lsp.HoverParams | lsp.DefinitionParams | lsp.CompletionParams) -> tuple[Document, Positions, int] | None:
        """The document, its positions and the offset that a request is about."""
        document = self.open.get(params.text_document.uri)
        if document is None:
            return None
        places = self.positions(document)
        return document, places, places.offset(params.position.line, params.position.character)


def _range(span: Span, places: Positions) -> lsp.Range:
    (line, character), (end_line, end_character) = places.of(span.start), places.of(span.end)
    return lsp.Range(lsp.Position(line, character), lsp.Position(end_line, end_character))


def _problem(d: Diagnostic, uri: str, places: Positions) -> lsp.Diagnostic:
    lines = [f"{d.title}: {d.label}" if d.label else d.title, *(f"note: {n}" for n in d.notes), *(f"help: {h}" for h in d.hints)]
    severity = lsp.DiagnosticSeverity.Error if d.severity == "error" else lsp.DiagnosticSeverity.Warning
    related = [lsp.DiagnosticRelatedInformation(lsp.Location(uri, _range(r.span, places)), r.label) for r in d.related]
    tags = [lsp.DiagnosticTag.Unnecessary] if d.code == "unused" else None
    return lsp.Diagnostic(
        _range(d.span, places), "\n".join(lines), severity, code=d.code, source="rnndsl", related_information=related or None, tags=tags
    )


def _edits(document: Document, places: Positions) -> list[lsp.TextEdit]:
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
        edits.append(lsp.TextEdit(_range(span, places), lines.replace("\n", document.newline)))
    return edits


def _item(choice: Choice, where: lsp.Range, place: int) -> lsp.CompletionItem:
    return lsp.CompletionItem(
        choice.text,
        kind=_KINDS.get(choice.kind, lsp.CompletionItemKind.Variable),
        detail=choice.detail or None,
        documentation=choice.about or None,
        sort_text=f"{place:03d}",
        text_edit=lsp.TextEdit(where, choice.text),
    )


def make_server() -> Server:
    """A server that answers everything rnndsl can; nothing runs yet."""
    server = Server()

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: lsp.DidOpenTextDocumentParams) -> None:
        server.update(params.text_document.uri, params.text_document.text, pause=0)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: lsp.DidChangeTextDocumentParams) -> None:
        server.update(params.text_document.uri, params.content_changes[-1].text)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: lsp.DidCloseTextDocumentParams) -> None:
        server.close(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def on_hover(params: lsp.HoverParams) -> lsp.Hover | None:
        if (asked := server.at(params)) is None or (found := hover(asked[0], asked[2])) is None:
            return None
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, found.text), _range(found.span, asked[1]))

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def on_definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        if (asked := server.at(params)) is None or (word := asked[0].outline.word_at(asked[2])) is None:
            return None
        symbol = asked[0].outline.meaning(word)
        return lsp.Location(params.text_document.uri, _range(symbol.span, asked[1])) if symbol else None

    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=["[", "~", "."]))
    def on_completion(params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
        if (asked := server.at(params)) is None:
            return []
        choices, span = complete(asked[0], asked[2])
        where = _range(span, asked[1])
        return [_item(choice, where, i) for i, choice in enumerate(choices)]

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def on_formatting(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit] | None:
        document = server.open.get(params.text_document.uri)
        try:
            return _edits(document, server.positions(document)) if document else None
        except RnnError:
            return None  # its errors are shown already

    return server


def serve() -> None:
    """Serves on standard input and output until the editor ends it."""
    make_server().start_io(Messages(sys.stdin.buffer))  # type: ignore[arg-type]
