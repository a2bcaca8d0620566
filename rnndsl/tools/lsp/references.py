"""Every place of a text where a name means the same, and a new name for it."""

from rnndsl.diagnostics import Span
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax.keywords import KEYWORDS, ONCE, TIME
from rnndsl.syntax.tree import token_span
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.outline import Outline, Symbol, plain


class CannotRename(ValueError):
    """Why a name cannot be given, for the editor to show."""


def occurrences(found: Outline, offset: int) -> list[Span]:
    """Where the name at a place stands with the same meaning, its definition among them; none where there is no name of the program's own."""
    word = found.word_at(offset)
    if word is None or word.type != "NAME" or _is_foreign(found, token_span(word).start):
        return []
    if found.gives_output(word):
        return [token_span(word)]
    symbol = found.meaning(word)
    return [] if symbol is None else _places(found, symbol)


def definition(found: Outline, offset: int) -> Span | None:
    """Where the name at a place is defined."""
    word = found.word_at(offset)
    symbol = found.meaning(word) if word is not None else None
    return symbol.span if symbol else None


def renamed(found: Outline, offset: int, name: str) -> list[Span]:
    """The places to write a new name to. Raises CannotRename where that would not mean the same any more."""
    places = occurrences(found, offset)
    if not places:
        raise CannotRename("this is no name of the program")
    old = plain(found.word_at(offset))  # type: ignore[arg-type]
    if not name.isidentifier():
        raise CannotRename(f"`{name}` is not a name")
    if name in KEYWORDS or name == TIME or name in FUNCTIONS:
        raise CannotRename(f"`{name}` has a meaning of its own in the language")
    word = found.word_at(offset)
    if word is not None and not found.gives_output(word):
        symbol = found.meaning(word)
        item = found.item_at(offset)
        seen = [i for i in found.items if symbol is None or symbol.role in ("cell", "function") or i is item]
        if any(name in i.names for i in seen) or any(name == i.symbol.name for i in found.items):
            raise CannotRename(f"`{name}` has a meaning here already")
    before, after = (Document("", text).problems for text in (found.source.text, _with(found.source.text, places, name)))
    if len(after) > len(before):
        new = next((d for d in after if f"`{name}`" in d.title or f"`{name}`" in d.label), after[0])
        raise CannotRename(f"`{old}` cannot be `{name}`: {new.title}")
    return places


def _with(text: str, places: list[Span], name: str) -> str:
    for span in sorted(places, reverse=True):
        text = text[: span.start] + name + text[span.end :]
    return text


def _places(found: Outline, symbol: Symbol) -> list[Span]:
    named = [t for t in found.tokens if t.type == "NAME" and plain(t) == symbol.name]
    return [token_span(t) for t in named if not _is_foreign(found, token_span(t).start) and found.meaning(t) == symbol]


def _is_foreign(found: Outline, start: int) -> bool:
    """Whether the word that begins at a place is one of the language's where no name stands: a distribution, or how often it is drawn."""
    before = found.before(start)
    return bool(before) and (before[-1] == "~" or (before[0] == "noise" and before[-1] == ")" and found.source.text.startswith(ONCE, start)))
