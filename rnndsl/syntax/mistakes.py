"""Authored messages for syntax errors, looked up by the state in which the parser stopped.

The wrong snippets of grammar/mistakes.toml are parsed once, on the first error; the pair (parser state, token type)
at which each stops becomes a key of the table. State numbers are never stored: they change with the grammar.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import Lark
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_analysis import Shift

from rnndsl.diagnostics import Collector
from rnndsl.resources import resource_folder
from rnndsl.syntax.keywords import KEYWORDS
from rnndsl.syntax.place import Place

_BLANK = re.compile(r"\{(\w+)\}")


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
    rest: str | None = None

    @property
    def blanks(self) -> frozenset[str]:
        """The words that its texts leave open."""
        return frozenset(_BLANK.findall(" ".join(t for t in (self.title, self.label, self.hint) if t)))

    def holds(self, place: Place, openers: frozenset[str]) -> bool:
        """Whether the entry's conditions hold at a place; `openers`: what statements of its examples begin with there."""

        def is_like(pattern: str | None, text: str) -> bool:
            return pattern is None or re.fullmatch(pattern, text) is not None

        return (
            is_like(self.word, str(place.token).strip())
            and is_like(self.word_before, place.word(-1))
            and is_like(self.word_after, place.word(1))
            and is_like(self.first, str(place.statement[0]))
            and is_like(self.rest, place.rest)
            and self.inside in (None, place.inside, "brackets" if place.inside == "index" else None)
            and (not self.own or place.statement[0].type in openers)
        )


Key = tuple[object, str]  # (parser state, token type)


@cache
def authored_file() -> dict[str, Any]:
    """grammar/mistakes.toml as it stands."""
    import tomllib  # only a wrong program pays for it

    return tomllib.loads((resource_folder("grammar") / "mistakes.toml").read_text(encoding="utf-8"))


@cache
def authored() -> tuple[Mistake, ...]:
    """The entries of grammar/mistakes.toml, the forms in their examples written out."""
    forms = authored_file()["forms"]
    return tuple(
        Mistake(**{**e, "examples": tuple(x for text in e["examples"] for x in _written_out(text, forms))})
        for e in authored_file()["mistake"]
    )


def _written_out(example: str, forms: dict[str, list[str]]) -> list[str]:
    """The examples that one with `{form}` in it stands for."""
    found = _BLANK.search(example)
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


def report(lark: Lark, place: Place, error: UnexpectedToken, out: Collector) -> str:
    """Reports a token that the parser refused; returns the code of what was reported."""
    rest = out.source.slice(place.span("rest")) if len(place.statement) > 1 else ""
    words = place.words(rest)
    for mistake, openers in table(lark).get((place.state, place.token.type), ()):
        if not mistake.holds(place, openers) or any(words[b] is None for b in mistake.blanks):
            continue

        def fill(text: str) -> str:
            return _BLANK.sub(lambda m: words[m[1]] or "", text)

        if not (mistake.once and any(d.code == mistake.code for d in out.found)):
            hint = fill(mistake.hint) if mistake.hint else None
            if mistake.code in ("unknown-word", "declaration-word"):
                hint = _declaring_word(str(place.statement[0])) or hint
            elif mistake.code == "output-expression" and ("," in rest or "->" in rest):
                hint = "several outputs are separated by commas: `output h, y = expression`"
            out.error(mistake.code, fill(mistake.title), place.span(mistake.at), fill(mistake.label), hint=hint)
        return mistake.code
    token, before = place.token, place.word(-1)
    quoted = words["token"] if place.at_end else f"`{token}`"
    after = f" after `{before}`" if before else ""
    label = _expected(error.accepts or error.expected)
    if str(token) in KEYWORDS:
        hint = "choose another name, or put an underscore behind it" if "NAME" in (error.accepts or error.expected) else None
        out.error("keyword", f"`{token}` is a keyword", place.span("token"), label or "it cannot be used as a name", hint=hint)
        return "keyword"
    out.error("syntax", f"{quoted} cannot stand here{after}", place.span("token"), label)
    return "syntax"


def _declaring_word(word: str) -> str | None:
    """A hint for a word that a statement cannot begin with."""
    from difflib import get_close_matches

    told = authored_file()["words"].get(word.lower())
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
