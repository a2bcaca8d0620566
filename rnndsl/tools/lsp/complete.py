"""What may be written at a place: the words and names that fit there."""

from collections.abc import Iterator
from dataclasses import dataclass

from lark import Token

from rnndsl.checks.draws import DISTRIBUTIONS, INITIALISERS
from rnndsl.diagnostics import Span
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax.keywords import KEYWORDS, TIME
from rnndsl.syntax.tree import token_span
from rnndsl.tools.editors.words import CONSTANTS, ITEMS, OPENERS
from rnndsl.tools.lsp import meanings
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.hover import definition
from rnndsl.tools.lsp.outline import ROLES, Outline, Symbol

_STATIC = ("size", "hyper", "param", "const")  # what initial values and initialisers may use


@dataclass(frozen=True)
class Choice:
    """One thing to write. Kinds: keyword, function, constant, and the roles of names."""

    text: str
    kind: str
    detail: str = ""
    about: str = ""


def complete(document: Document, offset: int) -> tuple[list[Choice], Span]:
    """What fits at a place, and the part of a word before it that a choice replaces."""
    text, found = document.source.text, document.outline
    start = offset
    while start and ("a" + text[start - 1]).isidentifier():
        start -= 1
    if text[start:offset][:1].isdigit() or _in_comment_or_string(found, start):
        return [], Span(offset, offset)
    return list(_choices(found, start)), Span(start, offset)


def _in_comment_or_string(found: Outline, offset: int) -> bool:
    text = found.source.text
    ends = [token_span(t).end for t in found.tokens if token_span(t).end <= offset]
    between = text[ends[-1] if ends else 0 : offset]
    string = any(t.type == "STRING" and token_span(t).start < offset < token_span(t).end for t in found.tokens)
    return string or "#" in between.rsplit("\n", 1)[-1] or '"' in between


def _choices(found: Outline, at: int) -> Iterator[Choice]:
    before = found.before(at)
    item = found.item_at(at)
    word = str(before[0]) if before else ""
    last = str(before[-1]) if before else ""
    if found.source.text[at - 1 : at] == "." and last != "..":
        yield Choice("T", "keyword", meanings.TRANSPOSE)
    elif not before or (word == "cell" and last == ":"):
        yield from _openers(found, at, item is not None and item.symbol.role == "cell")
    elif last == "~":
        draws = DISTRIBUTIONS if word == "noise" else INITIALISERS
        yield from (Choice(n, "function", *meanings.DRAWS[n]) for n in draws)
    elif word in ROLES:
        yield from _declaring(found, at, before)
    elif word == "repeat" and "in" not in before:
        yield from [_keyword("in")] if len(before) > 1 else []
    elif word == "repeat":
        yield from _named(found, at, ("size",))
    elif word == "cell" or (word == "def" and "=" not in before):
        if _depth(before) and last == "=":  # a default
            yield from _constants()
            yield from _functions(found)
    elif last in ("[", ",", "-") and (index := _indexed(before)) and (symbol := found.find(index, at)) and symbol.role in ("state", "input"):
        yield from (Choice(t, "constant", meaning) for t, meaning in (("t-1", "the old value"), ("t", "now")) if last == "[")
    else:
        yield from _values(found, at, before)


def _openers(found: Outline, at: int, in_cell: bool) -> Iterator[Choice]:
    """What may begin a statement."""
    yield from (_keyword(w) for w in ((*OPENERS, *ITEMS) if in_cell else ITEMS))
    if in_cell:
        states = [s for s in _visible(found, at) if s.role == "state"]
        yield from (Choice(f"{s.name}[t]", "state", definition(found, s), "its new value") for s in states)


def _declaring(found: Outline, at: int, before: list[Token]) -> Iterator[Choice]:
    """Behind `input`, `state`, …: nothing while names are chosen, then sizes, then what a value may use."""
    if ":" not in before:
        return
    if "]" not in before:
        yield from [_keyword("complex")] if before[-1] == ":" else []
        yield from _named(found, at, ("size",)) if "[" in before else ()
    elif "=" in before or "~" in before or "in" in before or before[-1].type == "COMPARISON":
        yield from _named(found, at, _STATIC)
        yield from _constants()
        yield from _functions(found)
    elif before[0] == "param":
        yield _keyword("in")


def _values(found: Outline, at: int, before: list[Token]) -> Iterator[Choice]:
    """What may stand in an expression."""
    in_function = before[0] == "def"
    for s in _visible(found, at):
        what = definition(found, s)
        if s.role == "state":
            yield Choice(f"{s.name}[t-1]", "state", what, "its old value")
            if before[0] == "output" or _updated(found, s, at):
                yield Choice(f"{s.name}[t]", "state", what, "its new value")
            if before[0] == "output" and before[-1] in ("output", ","):
                yield Choice(s.name, "state", what, "returned under its own name")
        elif s.role in ("cell", "function"):
            continue
        elif s.role != "local" or s.statement.start < token_span(before[0]).start:
            yield Choice(s.name, s.role, what, meanings.ROLES[s.role])
    yield from _constants()
    if not in_function:
        yield Choice(TIME, "constant", meanings.TIME)
    yield from _functions(found)
    yield from [_keyword("grad")] if in_function else []


def _visible(found: Outline, at: int) -> list[Symbol]:
    item = found.item_at(at)
    return list(item.names.values()) if item else []


def _named(found: Outline, at: int, roles: tuple[str, ...]) -> Iterator[Choice]:
    yield from (Choice(s.name, s.role, definition(found, s), meanings.ROLES[s.role]) for s in _visible(found, at) if s.role in roles)


def _updated(found: Outline, state: Symbol, at: int) -> bool:
    """Whether a statement that ends before a place assigns a state."""
    item = found.item_at(at)
    start = item.symbol.statement.start if item else 0
    return any(
        s[0] == state.name and "=" in s and start < token_span(s[0]).start and token_span(s[-1]).end <= at for s in found.statements
    )


def _indexed(before: list[Token]) -> str | None:
    """The name whose [ ] is open, `h` in `h[t-`."""
    depth = 0
    for i in range(len(before) - 1, 0, -1):
        depth += (before[i] in (")", "]")) - (before[i] in ("(", "["))
        if depth < 0:
            return str(before[i - 1]) if before[i] == "[" and before[i - 1].type == "NAME" else None
    return None


def _depth(tokens: list[Token]) -> int:
    return sum((t in ("(", "[")) - (t in (")", "]")) for t in tokens)


def _keyword(word: str) -> Choice:
    return Choice(word, "keyword", meanings.FORMS[word], KEYWORDS[word])


def _constants() -> Iterator[Choice]:
    yield from (Choice(w, "constant", KEYWORDS[w]) for w in CONSTANTS)


def _functions(found: Outline) -> Iterator[Choice]:
    yield from (Choice(f.name, "function", definition(found, f), meanings.ROLES["function"]) for f in found.functions())
    yield from (Choice(n, "function", row.form, row.means) for n, row in FUNCTIONS.items())
