"""Where in a statement the parser stopped, and what stands there."""

import re
from dataclasses import dataclass

from lark import Token

from rnndsl.diagnostics import Span
from rnndsl.syntax.tree import token_span

_SIZE = r"\w+(?: [*/] \w+)*"
_SIZES = rf"{_SIZE}(?: [,;] {_SIZE})*"
_SHAPE = re.compile(rf"[\[(] ({_SIZES})(?: ,)? [\])]|({_SIZES})")


def _spaced(found: re.Match[str]) -> str:
    return f"{found[1]} " if found[1] in ",;" else found[1]


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
    def rest(self) -> str:
        """The statement without its first token and without blanks."""
        return "".join(self.statement[1:])

    @property
    def inside(self) -> str:
        """What the refused token stands in: a `shape`, the `index` behind a name, other `brackets`, or the `line` itself."""
        opened: list[int] = []
        for i, token in enumerate(self.statement[: self.i]):
            if token in ("(", "["):
                opened.append(i)
            elif token in (")", "]") and opened:
                opened.pop()
        if not opened:
            return "line"
        if opened[0] and self.statement[opened[0] - 1] in (":", "complex"):
            return "shape"
        last = opened[-1]
        return "index" if last and self.statement[last] == "[" and self.statement[last - 1].type == "NAME" else "brackets"

    @property
    def indexed(self) -> str:
        """The name whose index the refused token stands in."""
        start = max((i for i in range(self.i) if self.statement[i] == "["), default=0)
        return str(self.statement[start - 1]) if start else ""

    @property
    def names(self) -> str:
        """The names that a declaration begins with: `a, b`."""
        found = []
        for name, behind in zip(self.statement[1::2], [*self.statement[2::2], None], strict=False):
            found.append(str(name))
            if behind != ",":
                break
        return ", ".join(found)

    @property
    def _written(self) -> slice:
        """Where in a declaration a shape should stand: behind the names and their colon, before a value or a constraint."""
        words = list(map(str, self.statement))
        start = 2 + 2 * self.names.count(",")
        start += words[start : start + 1] == [":"]
        return slice(start, next((i for i, w in enumerate(words) if i >= start and w in ("=", "~", ">", "in")), len(words)))

    @property
    def shape(self) -> str | None:
        """The shape that a declaration means which has it in other brackets or in none: `[H, D]` for `(H, D)`. None where it is not clear."""
        words = ["," if w == "x" else str(w) for w in self.statement[self._written]]
        prefix = "complex " if words[:1] == ["complex"] else ""
        if prefix or (len(words) > 1 and words[0].isidentifier() and words[1] in ("[", "(")):  # `Tensor[H, D]`
            words = words[1:]
        found = _SHAPE.fullmatch(" ".join(words))
        return f"{prefix}[{re.sub(' *([,;*/]) *', _spaced, found[1] or found[2])}]" if found else None

    def words(self, rest: str) -> dict[str, str | None]:
        """What the blanks of a message stand for; None where there is nothing of the kind. `rest`: the text behind the first token."""
        before = self.word(-1)
        return {
            "token": "the end of the line" if self.at_end else str(self.token), "previous": before, "function": before.lstrip("."),
            "next": self.word(1), "first": str(self.statement[0]), "name": self.word(1 - self.i), "names": self.names,
            "rest": " ".join(rest.split()), "timeless": re.sub(r"\s*\[\s*t\s*\]", "", rest),
            "indexed": self.indexed or None, "shape": self.shape,
        }  # fmt: skip

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
            case "written" if written := tokens[self._written]:
                return token_span(written[0]).to(token_span(written[-1]))
            case "rest" if len(tokens) > 1:
                return token_span(tokens[1]).to(last)
            case "dotted" if self.i:
                start = self.i - 1
                while start and tokens[start].type == "ATTRIBUTE":
                    start -= 1
                return token_span(tokens[start]).to(token_span(tokens[self.i - 1]))
        return here
