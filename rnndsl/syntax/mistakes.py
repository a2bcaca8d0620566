"""Authored messages for syntax errors, looked up by the state in which the parser stopped.

The wrong snippets of grammar/mistakes.toml are parsed once, on the first error; the pair (parser state, token type)
at which each stops becomes a key of the table. State numbers are never stored: they change with the grammar.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from lark import Lark, Token
from lark.exceptions import UnexpectedToken

from rnndsl.diagnostics import Collector, Related, Span
from rnndsl.resources import resource_folder
from rnndsl.syntax.keywords import KEYWORDS
from rnndsl.syntax.tree import token_span


@dataclass(frozen=True)
class Mistake:
    """One entry of grammar/mistakes.toml."""

    code: str
    title: str
    label: str
    examples: tuple[str, ...]
    hint: str | None = None
    word: str | None = None  # the offending token must match this
    word_before: str | None = None  # the token before it must be this
    word_after: str | None = None  # the token after it must be this


@cache
def _authored() -> tuple[dict[str, str], tuple[Mistake, ...]]:
    import tomllib  # only a wrong program pays for it

    data = tomllib.loads((resource_folder("grammar") / "mistakes.toml").read_text(encoding="utf-8"))
    entries = (Mistake(**{**entry, "examples": tuple(entry["examples"])}) for entry in data["mistake"])
    return data["characters"], tuple(entries)


@cache
def table(lark: Lark) -> dict[tuple[object, str], list[Mistake]]:
    """(parser state, token type) -> the mistakes whose examples stop there, in the file's order."""
    found: dict[tuple[object, str], list[Mistake]] = {}
    for mistake in _authored()[1]:
        for example in mistake.examples:
            key = stopping_point(lark, example)
            if mistake not in found.setdefault(key, []):
                found[key].append(mistake)
    return found


def stopping_point(lark: Lark, text: str) -> tuple[object, str]:
    """Where the parser stops in a wrong snippet: the state before the token that it refuses, and that token's type."""
    parser = lark.parse_interactive(text)
    depth = 0
    for token in parser.lexer_thread.lex(None):  # type: ignore[arg-type]
        depth += (token in ("(", "[")) - (token in (")", "]"))
        if token.type == "_NEWLINE" and depth > 0:
            continue
        state = parser.parser_state.position
        try:
            parser.feed_token(token)
        except UnexpectedToken:
            return state, token.type
    raise ValueError(f"this snippet is not wrong: {text!r}")


def report(lark: Lark, state: object, error: UnexpectedToken, statement: list[Token], i: int, out: Collector) -> None:
    """Reports a token that the parser refused: the `i`-th of `statement` (one past its end for the newline)."""
    token = error.token
    at_end = token.type == "_NEWLINE"
    shown = "the end of the line" if at_end else str(token)
    before = str(statement[i - 1]) if i else ""
    after = str(statement[i + 1]) if i + 1 < len(statement) else ""
    span = token_span(statement[-1]) if at_end else token_span(token)
    span = Span(span.end, span.end + 1) if at_end else span
    for mistake in table(lark).get((state, token.type), ()):
        if mistake.word is not None and not re.fullmatch(mistake.word, str(token)):
            continue
        if mistake.word_before not in (None, before) or mistake.word_after not in (None, after):
            continue
        if mistake.code == "keyword" and str(token) == "=":
            span, shown = token_span(statement[i - 1]), before
        words = {"token": shown, "previous": before}
        fill = lambda text: re.sub(r"\{(token|previous)\}", lambda m: words[m[1]], text)  # noqa: E731
        hint = fill(mistake.hint) if mistake.hint else None
        out.error(mistake.code, fill(mistake.title), span, fill(mistake.label), hint=hint)
        return
    quoted = shown if at_end else f"`{shown}`"
    place = f" after `{before}`" if before else ""
    label = _expected(error.accepts or error.expected)
    if str(token) in KEYWORDS:
        out.error("keyword", f"`{token}` is a keyword", span, label or "it cannot be used as a name")
    else:
        out.error("syntax", f"{quoted} cannot stand here{place}", span, label)


_VALUE = {"NAME", "NUMBER", "LPAR"}
_SPOKEN = {"_NEWLINE": "the end of the line", "NAME": "a name", "STRING": "a docstring", "NUMBER": "a number"}


def _expected(terminals: set[str]) -> str:
    """What could have stood here, in words."""
    if terminals >= _VALUE:
        return "expected a value"
    symbols = {"LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "COMMA": ",", "COLON": ":", "EQUAL": "=", "SEMICOLON": ";"}
    words = [_SPOKEN.get(t) or (f"`{symbols[t]}`" if t in symbols else None) for t in sorted(terminals)]
    named = [w for w in words if w]
    return f"expected {' or '.join(named[:4])}" if named else "not expected here"


def report_character(text: str, at: int, out: Collector) -> None:
    """Reports a character that begins no token."""
    char = text[at]
    hint = _authored()[0].get(char)
    name = unicodedata.name(char, f"U+{ord(char):04X}").lower()
    if char in "'\u2019" and at and (text[at - 1].isalnum() or text[at - 1] in "_]"):
        start = at
        while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
            start -= 1
        word = text[start:at]
        out.error("prime", f"`{word}'` is not a name", Span(start, at + 1), "a prime is not part of a name",
                  hint=f"write the new value of a state as `{word or 'h'}[t]`, the old one as `{word or 'h'}[t-1]`")  # fmt: skip
        return
    shown = f"`{char}`" if char.isprintable() else "an unprintable character"
    out.error("character", f"{shown} ({name}) has no meaning here", Span(at, at + 1), "not part of the language", hint=hint)


def report_name(token: Token, out: Collector) -> None:
    """Reports a word that is not an identifier."""
    bad = next((c for c in token if not ("a" + c).isidentifier()), token[0])
    name = unicodedata.name(bad, f"U+{ord(bad):04X}").lower()
    out.error("character", f"`{token}` is not a name", token_span(token), f"`{bad}` ({name}) cannot be part of a name",
              hint=_authored()[0].get(bad))  # fmt: skip


def report_outside(statement: list[Token], out: Collector) -> None:
    """Reports a statement that stands before the first cell."""
    span = token_span(statement[0]).to(token_span(statement[-1]))
    word = str(statement[0])
    if word in ("class", "Cell", "CELL", "model", "layer", "rnn", "module"):
        out.error("outside-cell", "a file holds `cell` and `def` items", token_span(statement[0]), "expected `cell`",
                  hint="a header reads `cell NAME(D, H):`")  # fmt: skip
        return
    if word in ("import", "from"):
        out.error("outside-cell", "there are no imports", span, "all functions are built in, or defined with `def`")
        return
    out.error("outside-cell", "this statement belongs to no cell", span, "it stands before the first cell",
              hint="begin with a header, `cell NAME(D, H):`")  # fmt: skip


def report_unclosed_repeat(chunk: list[list[Token]], out: Collector) -> None:
    """Reports a repeat without its `end`."""
    opened = next(s for s in reversed(chunk) if s[0] == "repeat")
    last = chunk[-1][-1]
    out.error("unclosed-repeat", "this repeat is never closed", token_span(opened[0]), "no `end` follows",
              hint="put `end` on a line of its own after the body",
              related=(Related(token_span(last), "the cell ends here"),))  # fmt: skip
