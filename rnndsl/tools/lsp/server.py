"""The server itself: what editors ask over the language server protocol, answered by the other files of this folder."""

import asyncio
import sys
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from rnndsl.diagnostics import RnnError, Span
from rnndsl.tools.lsp.complete import complete
from rnndsl.tools.lsp.convert import actions_of, edits_of, item_of, problem_of, range_of, symbols_of
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.hover import hover
from rnndsl.tools.lsp.messages import Messages
from rnndsl.tools.lsp.positions import Positions
from rnndsl.tools.lsp.references import CannotRename, definition, occurrences, renamed
from rnndsl.version import VERSION

PAUSE = 0.1  # seconds without typing before a text is checked
Placed = (
    lsp.HoverParams | lsp.DefinitionParams | lsp.CompletionParams | lsp.ReferenceParams | lsp.DocumentHighlightParams | lsp.PrepareRenameParams
    | lsp.RenameParams
)  # fmt: skip


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
        found = [problem_of(d, uri, places) for d in document.problems]
        version = self.workspace.get_text_document(uri).version
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri=uri, diagnostics=found, version=version))

    def positions(self, document: Document) -> Positions:
        encoding = self.workspace.position_encoding or lsp.PositionEncodingKind.Utf16
        return Positions(document.source, getattr(encoding, "value", encoding))

    def at(self, params: Placed) -> tuple[Document, Positions, int] | None:
        """The document, its positions and the offset that a request is about."""
        document = self.open.get(params.text_document.uri)
        if document is None:
            return None
        places = self.positions(document)
        return document, places, places.offset(params.position.line, params.position.character)


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
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, found.text), range_of(found.span, asked[1]))

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def on_definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        if (asked := server.at(params)) is None or (word := asked[0].outline.word_at(asked[2])) is None:
            return None
        symbol = asked[0].outline.meaning(word)
        return lsp.Location(params.text_document.uri, range_of(symbol.span, asked[1])) if symbol else None

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    def on_references(params: lsp.ReferenceParams) -> list[lsp.Location] | None:
        if (asked := server.at(params)) is None:
            return None
        document, places, offset = asked
        defined = None if params.context.include_declaration else definition(document.outline, offset)
        spans = [s for s in occurrences(document.outline, offset) if s != defined]
        return [lsp.Location(params.text_document.uri, range_of(s, places)) for s in spans]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    def on_highlight(params: lsp.DocumentHighlightParams) -> list[lsp.DocumentHighlight] | None:
        if (asked := server.at(params)) is None:
            return None
        return [lsp.DocumentHighlight(range_of(s, asked[1])) for s in occurrences(asked[0].outline, asked[2])]

    @server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    def on_prepare_rename(params: lsp.PrepareRenameParams) -> lsp.Range | None:
        if (asked := server.at(params)) is None:
            return None
        document, places, offset = asked
        here = (s for s in occurrences(document.outline, offset) if s.start <= offset <= s.end)
        return next((range_of(s, places) for s in here), None)

    @server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    def on_rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        if (asked := server.at(params)) is None:
            return None
        document, places, offset = asked
        try:
            spans = renamed(document.outline, offset, params.new_name)
        except CannotRename as e:
            raise JsonRpcInvalidParams(str(e)) from None
        edits = [lsp.TextEdit(range_of(s, places), params.new_name) for s in spans]
        return lsp.WorkspaceEdit(changes={params.text_document.uri: edits})

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def on_symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol] | None:
        document = server.open.get(params.text_document.uri)
        return symbols_of(document.outline, server.positions(document)) if document else None

    @server.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix]))
    def on_actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction] | None:
        if (document := server.open.get(params.text_document.uri)) is None:
            return None
        places = server.positions(document)
        start, end = (places.offset(p.line, p.character) for p in (params.range.start, params.range.end))
        return actions_of(document, params.text_document.uri, Span(start, end), places)

    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=["[", "~", "."]))
    def on_completion(params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
        if (asked := server.at(params)) is None:
            return []
        choices, span = complete(asked[0], asked[2])
        where = range_of(span, asked[1])
        return [item_of(choice, where, i) for i, choice in enumerate(choices)]

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def on_formatting(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit] | None:
        document = server.open.get(params.text_document.uri)
        try:
            return edits_of(document, server.positions(document)) if document else None
        except RnnError:
            return None  # its errors are shown already

    return server


def serve() -> None:
    """Serves on standard input and output until the editor ends it."""
    make_server().start_io(Messages(sys.stdin.buffer))  # type: ignore[arg-type]
