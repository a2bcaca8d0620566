"""The names that a text defines and where: from its tokens alone, so that a half-typed program has them too."""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from lark import Token

from rnndsl.diagnostics import Collector, Source, Span
from rnndsl.syntax.parser import tokens_of
from rnndsl.syntax.tokens import begins_statement, lex, span_of_statement
from rnndsl.syntax.tree import token_span

ROLES = ("input", "state", "param", "const", "noise")


@dataclass(frozen=True)
class Symbol:
    """A name where it is defined. Roles: cell, function, argument, size, hyper, counter, local, and those that declarations give."""

    name: str
    role: str
    span: Span
    statement: Span


@dataclass(frozen=True)
class Item:
    """A cell or function: its own symbol, and the names in it; it goes on to the next one."""

    symbol: Symbol
    names: dict[str, Symbol] = field(default_factory=dict)


@dataclass(frozen=True)
class Outline:
    """What a text defines."""

    source: Source
    tokens: list[Token]
    statements: list[list[Token]]
    items: list[Item]

    def item_at(self, offset: int) -> Item | None:
        """The cell or function that a place belongs to."""
        return next((i for i in reversed(self.items) if i.symbol.statement.start <= offset), None)

    def word_at(self, offset: int) -> Token | None:
        """The word or symbol at a place, a name rather than what follows it."""
        i = bisect_left(self.tokens, offset, key=lambda t: (t.start_pos or 0) + len(t))  # the first that ends there or later
        for token in self.tokens[i : i + 2]:
            span = token_span(token)
            if span.start <= offset <= span.end and (token[0].isalpha() or token[0] == "_" or token.type == "ATTRIBUTE"):
                return token
        return None

    def after(self, word: Token) -> Token | None:
        """The token behind another."""
        i = bisect_left(self.tokens, token_span(word).end, key=lambda t: t.start_pos or 0)
        return self.tokens[i] if i < len(self.tokens) else None

    def before(self, offset: int) -> list[Token]:
        """The tokens of the statement that a place stands in, as far as they end before it; none where a new one begins."""
        statement = next((s for s in reversed(self.statements) if token_span(s[0]).start < offset), [])
        found = [t for t in statement if token_span(t).end <= offset]
        is_open = sum((t in ("(", "[")) - (t in (")", "]")) for t in found) > 0
        if not found or is_open or "\n" not in self.source.text[token_span(found[-1]).end : offset]:
            return found
        return []

    def meaning(self, word: Token) -> Symbol | None:
        """What a word of the text stands for; None for one that is not defined, and for the name that an output is given."""
        at, following = token_span(word).start, self.after(word)
        if self.gives_output(word):
            return None
        named = [f for f in self.functions() if f.name == plain(word)] if following == "(" else []
        return named[0] if named else self.find(plain(word), at)

    def gives_output(self, word: Token) -> bool:
        """Whether a word is the name before `=` in an output."""
        return self.after(word) == "=" and self.before(token_span(word).start)[:1] == ["output"]

    def find(self, name: str, offset: int) -> Symbol | None:
        """What a name means at a place."""
        item = self.item_at(offset)
        if item and name in item.names:
            return item.names[name]
        return next((i.symbol for i in self.items if i.symbol.name == name), None)

    def functions(self) -> list[Symbol]:
        return [i.symbol for i in self.items if i.symbol.role == "function"]


def outline(source: Source) -> Outline:
    """The outline of any text."""
    tokens = [t for t in lex(tokens_of, Collector(source)) if t]
    found = list(_statements(tokens))
    items: list[Item] = []
    for statement in found:
        if statement[0] in ("cell", "def") and len(statement) > 1 and statement[1].type == "NAME":
            role = "cell" if statement[0] == "cell" else "function"
            symbol = Symbol(plain(statement[1]), role, token_span(statement[1]), span_of_statement(statement))
            items.append(Item(symbol))
        if items:
            for symbol in _symbols(statement):
                items[-1].names.setdefault(symbol.name, symbol)
    return Outline(source, [t for t in tokens if t.type != "_NEWLINE"], found, items)


def plain(token: Token) -> str:
    """A name as the compiler reads it: letters that only look different are the same."""
    return unicodedata.normalize("NFKC", str(token))


def _statements(tokens: list[Token]) -> Iterator[list[Token]]:
    """Splits tokens as the parser does, but keeps statements whose brackets are open."""
    current: list[Token] = []
    depth = 0
    for i, token in enumerate(tokens):
        header_ends = bool(current) and current[0] == "cell" and current[-1] == ":" and not depth
        newline = token.type == "_NEWLINE"
        if header_ends or (newline and (depth <= 0 or begins_statement(tokens, i + 1, current))):
            if current:
                yield current
            current, depth = [], 0
        if not newline:
            current.append(token)
            depth += (token in ("(", "[")) - (token in (")", "]"))
    if current:
        yield current


def _symbols(statement: list[Token]) -> Iterator[Symbol]:
    """The names that one statement defines, its cell's or function's own left out."""
    first = statement[0]
    where = span_of_statement(statement)

    def symbol(token: Token, role: str) -> Symbol:
        return Symbol(plain(token), role, token_span(token), where)

    if first in ("cell", "def"):
        depth = 0
        for i, token in enumerate(statement[2:], 2):
            depth += (token in ("(", "[")) - (token in (")", "]"))
            if depth == 0:
                return
            if token.type == "NAME" and depth == 1 and statement[i - 1] in ("(", ","):
                hyper = statement[i + 1 : i + 2] == ["="]
                yield symbol(token, "argument" if first == "def" else "hyper" if hyper else "size")
    elif first in ROLES:
        for token in statement[1:]:
            if token.type == "NAME":
                yield symbol(token, str(first))
            elif token != ",":
                return
    elif first == "repeat":
        if len(statement) > 1 and statement[1].type == "NAME":
            yield symbol(statement[1], "counter")
    elif first.type == "NAME" and "=" in statement:
        for token, following in pairwise(statement):
            if token == "=":
                return
            if token.type == "NAME" and following in (",", "="):
                yield symbol(token, "local")
