"""Authored messages for syntax errors, looked up by the state in which the parser stopped.

The wrong snippets of grammar/mistakes.toml are parsed once, on the first error; the pair (parser state, token type)
at which each stops becomes a key of the table. State numbers are never stored: they change with the grammar.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import Lark, Token
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_analysis import Shift

from rnndsl.diagnostics import Collector, Related, Span
from rnndsl.resources import resource_folder
from rnndsl.syntax.keywords import KEYWORDS
from rnndsl.syntax.tree import token_span


@dataclass(frozen=True)
class Mistake:
    """One entry of grammar/mistakes.toml; the file's head says what the fields mean."""

    code: str
    title: str
    label: str
    examples: tuple[str, ...]
    hint: str | None = None
    word: str | None = None
    word_before: str | None = None
    word_after: str | None = None
    first: str | None = None
    inside: str | None = None
    own: bool = False
    once: bool = False
    at: str = "token"


Key = tuple[object, str]  # (parser state, token type)


@cache
def _authored() -> dict[str, Any]:
    import tomllib  # only a wrong program pays for it

    return tomllib.loads((resource_folder("grammar") / "mistakes.toml").read_text(encoding="utf-8"))


@cache
def authored() -> tuple[Mistake, ...]:
    """The entries of grammar/mistakes.toml, the forms in their examples written out."""
    forms = _authored()["forms"]
    return tuple(
        Mistake(**{**e, "examples": tuple(x for text in e["examples"] for x in _written_out(text, forms))})
        for e in _authored()["mistake"]
    )


def _written_out(example: str, forms: dict[str, list[str]]) -> list[str]:
    """The examples that one with `{form}` in it stands for."""
    found = re.search(r"\{(\w+)\}", example)
    if not found:
        return [example]
    return [e for form in forms[found[1]] for e in _written_out(example.replace(found[0], form, 1), forms)]


@cache
def table(lark: Lark) -> dict[Key, list[tuple[Mistake, frozenset[str]]]]:
    """(parser state, token type) -> the mistakes whose examples stop there, in the file's order.

    With each, the types of the tokens that the statements of those examples begin with.
    """
    found: dict[Key, dict[Mistake, set[str]]] = {}
    walk = Walk(lark, [e for mistake in authored() for e in mistake.examples])
    for mistake in authored():
        for example in mistake.examples:
            key, opener = walk.stopping_point(example)
            found.setdefault(key, {}).setdefault(mistake, set()).add(opener)
    return {key: [(m, frozenset(openers)) for m, openers in entries.items()] for key, entries in found.items()}


class Walk:
    """Follows wrong snippets to where the parser stops.

    Only states are followed, no tree is built; snippets are lexed together, and lines that they have in common followed
    once: there are thousands, and somebody waits.
    """

    def __init__(self, lark: Lark, snippets: list[str]):
        lines = list(dict.fromkeys(line for text in snippets for line in text.splitlines(keepends=True)))
        parser = lark.parse_interactive("".join(lines))
        self._states = parser.parser_state.parse_conf.parse_table.states
        self._start = tuple(parser.parser_state.state_stack)
        self._types: dict[str, list[str]] = {line: [] for line in lines}  # of the tokens of each line
        self._followed: dict[tuple[tuple[object, ...], str], tuple[tuple[object, ...], str]] = {}
        line = iter(self._types.values())
        types = next(line)
        for token in parser.lexer_thread.lex(None):  # type: ignore[arg-type]
            types.append(token.type)
            if token.type == "_NEWLINE":
                types = next(line, [])

    def stopping_point(self, text: str) -> tuple[Key, str]:
        """The state before the token that the parser refuses, and that token's type.

        With it, the type of the token that the statement begins with.
        """
        stack = self._start
        for line in text.splitlines(keepends=True):
            stack, refused = self._behind(stack, line)
            if refused:
                return (stack[-1], refused), self._types[line][0]
        raise ValueError(f"this snippet is not wrong: {text!r}")

    def _behind(self, stack: tuple[object, ...], line: str) -> tuple[tuple[object, ...], str]:
        """The parser's stack of states behind a line, or before the token of it that is refused, and that token's type."""
        known = self._followed.get((stack, line))
        if known:
            return known
        now, refused = stack, ""
        for token in self._types[line]:
            shifted = self._shift(list(now), token)
            if not shifted:
                refused = token
                break
            now = tuple(shifted)
        self._followed[stack, line] = now, refused
        return now, refused

    def _shift(self, stack: list, token: str) -> list:
        """The stack with a token more: first reduces the rules that it ends. Empty where the token is refused."""
        while True:
            action, target = self._states[stack[-1]].get(token, (None, None))
            if action is None:
                return []
            if action is Shift:
                return [*stack, target]
            del stack[len(stack) - len(target.expansion) :]
            stack.append(self._states[stack[-1]][target.origin.name][1])


@dataclass(frozen=True)
class Place:
    """A token that the parser refused: the `i`-th of a statement, or the newline behind its last."""

    statement: list[Token]
    i: int
    token: Token
    state: object

    @property
    def at_end(self) -> bool:
        return self.token.type == "_NEWLINE"

    def word(self, offset: int) -> str:
        """The token that stands `offset` places from the refused one, or nothing."""
        i = self.i + offset
        return str(self.statement[i]) if 0 <= i < len(self.statement) else ""

    @property
    def inside(self) -> str:
        """What the refused token stands in: a `shape`, other `brackets`, or the `line` itself."""
        opened: list[int] = []
        for i, token in enumerate(self.statement[: self.i]):
            if token in ("(", "["):
                opened.append(i)
            elif token in (")", "]") and opened:
                opened.pop()
        if not opened:
            return "line"
        return "shape" if opened[0] and self.statement[opened[0] - 1] in (":", "complex") else "brackets"

    def matches(self, mistake: Mistake, openers: frozenset[str]) -> bool:
        """Whether an entry's conditions hold here."""

        def is_like(pattern: str | None, text: str) -> bool:
            return pattern is None or re.fullmatch(pattern, text) is not None

        return (
            is_like(mistake.word, str(self.token).strip())
            and is_like(mistake.word_before, self.word(-1))
            and is_like(mistake.word_after, self.word(1))
            and is_like(mistake.first, str(self.statement[0]))
            and mistake.inside in (None, self.inside)
            and (not mistake.own or self.statement[0].type in openers)
        )

    def span(self, at: str) -> Span:
        """The characters to underline for an entry's `at`."""
        tokens, last = self.statement, token_span(self.statement[-1])
        here = Span(last.end, last.end + 1) if self.at_end else token_span(self.token)
        match at:
            case "previous" if self.i:
                return token_span(tokens[self.i - 1])
            case "first":
                return token_span(tokens[0])
            case "pair" if self.i + 1 < len(tokens):
                return here.to(token_span(tokens[self.i + 1]))
            case "slip" if self.i:
                return token_span(tokens[self.i - 1]).to(here)
            case "statement":
                return token_span(tokens[0]).to(last)
            case "rest" if len(tokens) > 1:
                return token_span(tokens[1]).to(last)
            case "dotted" if self.i:
                start = self.i - 1
                while start and tokens[start].type == "ATTRIBUTE":
                    start -= 1
                return token_span(tokens[start]).to(token_span(tokens[self.i - 1]))
        return here


def report(lark: Lark, place: Place, error: UnexpectedToken, out: Collector) -> str:
    """Reports a token that the parser refused; returns the code of what was reported."""
    token, before = place.token, place.word(-1)
    shown = "the end of the line" if place.at_end else str(token)
    for mistake, openers in table(lark).get((place.state, token.type), ()):
        if not place.matches(mistake, openers):
            continue
        rest = out.source.slice(place.span("rest")) if len(place.statement) > 1 else ""
        words = {
            "token": shown, "previous": before, "function": before.lstrip("."), "next": place.word(1),
            "first": str(place.statement[0]), "name": place.word(1 - place.i), "rest": " ".join(rest.split()),
        }  # fmt: skip

        def fill(text: str, words: dict[str, str] = words) -> str:
            return re.sub(r"\{(\w+)\}", lambda m: words[m[1]], text)

        if not (mistake.once and any(d.code == mistake.code for d in out.found)):
            hint = fill(mistake.hint) if mistake.hint else None
            if mistake.code in ("unknown-word", "declaration-word"):
                hint = _declaring_word(str(place.statement[0])) or hint
            elif mistake.code == "output-expression" and ("," in rest or "->" in rest):
                hint = "several outputs are separated by commas: `output h, y = expression`"
            out.error(mistake.code, fill(mistake.title), place.span(mistake.at), fill(mistake.label), hint=hint)
        return mistake.code
    quoted = shown if place.at_end else f"`{shown}`"
    after = f" after `{before}`" if before else ""
    label = _expected(error.accepts or error.expected)
    if str(token) in KEYWORDS:
        out.error("keyword", f"`{token}` is a keyword", place.span("token"), label or "it cannot be used as a name")
        return "keyword"
    out.error("syntax", f"{quoted} cannot stand here{after}", place.span("token"), label)
    return "syntax"


def _declaring_word(word: str) -> str | None:
    """A hint for a word that a statement cannot begin with."""
    from difflib import get_close_matches

    told = _authored()["words"].get(word.lower())
    if told:
        return told
    near = get_close_matches(word.lower(), ["input", "state", "param", "const", "noise", "output", "repeat"], n=1)
    return f"did you mean `{near[0]}`?" if near else None


_VALUE = {"NAME", "NUMBER", "LPAR"}
_SPOKEN = {"_NEWLINE": "the end of the line", "NAME": "a name", "STRING": "a docstring", "NUMBER": "a number"}
_SYMBOLS = {"LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "COMMA": ",", "COLON": ":", "EQUAL": "=", "SEMICOLON": ";"}


def _expected(terminals: set[str]) -> str:
    """What could have stood here, in words."""
    if terminals >= _VALUE:
        return "expected a value"
    words = [_SPOKEN.get(t) or (f"`{_SYMBOLS[t]}`" if t in _SYMBOLS else None) for t in sorted(terminals)]
    named = [w for w in words if w]
    return f"expected {' or '.join(named[:4])}" if named else "not expected here"


def _called(char: str) -> str:
    """`a minus sign`'s Unicode name in small letters, or its number."""
    name = unicodedata.name(char, "")
    return name.lower() if name else f"U+{ord(char):04X}"


_QUOTES = "\"'“”‘«„"  # what prose may begin with


def report_character(text: str, at: int, out: Collector) -> int:
    """Reports a character that begins no token; returns where reading goes on."""
    char = text[at]
    hint = _authored()["characters"].get(char)
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    behind_name = at > 0 and (text[at - 1].isalnum() or text[at - 1] in "_]")
    if char in "'’′" and behind_name:
        start = at
        while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
            start -= 1
        word = text[start:at] or "h"
        out.error("prime", f"`{text[start:at]}{char}` is not a name", Span(start, at + 1), "a prime is not part of a name",
                  hint=f"write the new value of a state as `{word}[t]`, the old one as `{word}[t-1]`")  # fmt: skip
        return at + 1
    if char == '"' and (text[max(at - 2, 0) : at] == '""' or text[at : at + 3] == '"""'):
        start = at - 2 if text[at : at + 3] != '"""' else at
        out.error("unclosed-string", "this docstring is never closed", Span(start, start + 3), "no `\"\"\"` follows",
                  hint='put `"""` behind its last line')  # fmt: skip
        return len(text)
    if char == '"':
        out.error("unclosed-string", "this text is never closed", Span(at, line_end), 'no `"` follows on this line',
                  hint='a docstring is `"text"` on one line, or `"""text"""` over several')  # fmt: skip
        return line_end
    if char in _QUOTES:
        out.error("character", f"`{char}` ({_called(char)}) begins no text", Span(at, at + 1), "not part of the language",
                  hint='quotes are plain and double: `"text"`')  # fmt: skip
        return line_end
    line_start = text.rfind("\n", 0, at) + 1
    told = {out.source.text[d.span.start] for d in out.found if d.code == "character" and line_start <= d.span.start < at}
    if char == "{" and (behind_name or text[at - 1 : at] == "^"):
        hint = "a time stands in square brackets, as in `h[t-1]`"
    if char not in told and not (told & {"{"} and char == "}"):  # a character is told once a line
        shown = f"`{char}`" if char.isprintable() and not unicodedata.combining(char) else "an unprintable character"
        out.error("character", f"{shown} ({_called(char)}) has no meaning here", Span(at, at + 1), "not part of the language",
                  hint=hint)  # fmt: skip
    if char == "\\" and not text[at + 1 : line_end].strip():
        return line_end + 1  # it was meant to join two lines: so be it
    return at + 1


def report_name(token: Token, out: Collector) -> None:
    """Reports a word that is not an identifier."""
    bad = next((c for c in token if not ("a" + c).isidentifier()), token[0])
    hint = _authored()["characters"].get(bad)
    plain = unicodedata.normalize("NFKC", str(token))
    if "SUBSCRIPT" in unicodedata.name(bad, "") and plain.isidentifier():
        hint = f"write `{plain}`"
    out.error("character", f"`{token}` is not a name", token_span(token), f"`{bad}` ({_called(bad)}) cannot be part of a name",
              hint=hint)  # fmt: skip


def report_outside(statement: list[Token], header: list[Token] | None, out: Collector) -> None:
    """Reports a statement that stands before the first cell, whose header is given where there is one."""
    span = token_span(statement[0]).to(token_span(statement[-1]))
    word = str(statement[0])
    close = re.fullmatch(r"(?i)c?e?l+l?|cells?|class|model|layer|rnn|module|network|struct|model|cel|clel", word)
    if close and len(statement) > 2:
        out.error("outside-cell", "a file holds `cell` and `def` items", token_span(statement[0]), "expected `cell`",
                  hint="a header reads `cell NAME(D, H):`")  # fmt: skip
    elif word == "/":
        out.error("comment", "this begins no comment", span, "a comment begins with `#`")
    elif word in ("import", "from"):
        out.error("outside-cell", "there are no imports", span, "all functions are built in, or defined with `def`")
    elif word in ("function", "func", "fn", "define", "lambda", "fun", "defn") and len(statement) > 2:
        out.error("outside-cell", "a file holds `cell` and `def` items", token_span(statement[0]), "expected `def`",
                  hint="write `def f(z) = expression`, on one line")  # fmt: skip
    else:
        where = out.source.slice(token_span(header[0]).to(token_span(header[-1]))) if header else ""
        hint = "begin with a header, `cell NAME(D, H):`"
        if header and header[0] == "cell" and "\n" not in where:
            docstring = statement[0].type == "STRING"
            hint = f"{'a docstring stands right after the header: ' if docstring else ''}move it below `{where}`"
        out.error("outside-cell", "this statement belongs to no cell", span, "it stands before the first cell", hint=hint)


def report_after_function(chunk: list[list[Token]], number: int, cell: str | None, out: Collector) -> None:
    """Reports a statement behind a `def`, which is one line; `cell` is the name of the cell before it."""
    head, statement = chunk[0], chunk[number]
    name = str(head[1]) if len(head) > 1 else "…"
    hint = "a function's body stands behind its `=`; statements belong to a cell"
    if cell is not None:
        hint = f"move `def {name}` above `cell {cell}`, so that the cell is in one piece"
    defined = token_span(head[0]).to(token_span(head[min(1, len(head) - 1)]))
    related = (Related(defined, "a function is one line, and ends the cell before it"),)
    span = token_span(statement[0]).to(token_span(statement[-1]))
    out.error("outside-cell", "this statement belongs to no cell", span, "it stands behind a function", hint=hint, related=related)


def report_unclosed_repeat(chunk: list[list[Token]], out: Collector) -> None:
    """Reports a repeat without its `end`."""
    opened = next(s for s in reversed(chunk) if s[0] == "repeat")
    last = chunk[-1][-1]
    out.error("unclosed-repeat", "this repeat is never closed", token_span(opened[0]), "no `end` follows",
              hint="put `end` on a line of its own after the body",
              related=(Related(token_span(last), "the cell ends here"),))  # fmt: skip
