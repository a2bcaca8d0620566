"""What an editor shows of the word under the pointer, in Markdown."""

from dataclasses import dataclass

from lark import Token

from rnndsl.diagnostics import Span
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax.keywords import KEYWORDS, TIME
from rnndsl.syntax.spacing import spaced
from rnndsl.syntax.tree import token_span
from rnndsl.tools.lsp import meanings
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.outline import ROLES, Outline, Symbol, plain


@dataclass(frozen=True)
class Hover:
    text: str
    span: Span


def hover(document: Document, offset: int) -> Hover | None:
    """What there is to say of the word at a place."""
    found = document.outline
    word = found.word_at(offset)
    if word is None:
        return None
    text = _text(document, found, word)
    return Hover(text, token_span(word)) if text else None


def _text(document: Document, found: Outline, word: Token) -> str | None:
    name = plain(word)
    if word.type == "ATTRIBUTE":
        return _titled("A.T", meanings.TRANSPOSE) if word == ".T" else None
    before = found.before(token_span(word).start)
    if before and before[-1] == "~" and name in meanings.DRAWS:
        return _titled(*meanings.DRAWS[name])
    if str(word) in KEYWORDS:
        return _titled(meanings.FORMS[str(word)], KEYWORDS[str(word)])
    if name == TIME:
        return _titled(TIME, meanings.TIME)
    if found.gives_output(word):
        return _titled(f"output {name}", meanings.OUTPUT)
    symbol = found.meaning(word)
    if symbol is not None:
        return _symbol(document, found, symbol)
    return _titled(FUNCTIONS[name].form, FUNCTIONS[name].means) if name in FUNCTIONS else None


def _titled(code: str, *paragraphs: str) -> str:
    return "\n\n".join([f"```rnn\n{code}\n```", *paragraphs])


def _symbol(document: Document, found: Outline, symbol: Symbol) -> str:
    """A name of the program: how it is defined, what it is, and what the compiler makes of it."""
    item = found.item_at(symbol.span.start)
    owner = item.symbol.name if item else ""
    analysis = document.analysis
    shape = analysis.shape(owner, symbol.name) if analysis and symbol.role == "local" else None
    what = f"{meanings.ROLES[symbol.role]}{f', {shape}' if shape else ''}"
    said: list[str] = []
    data = analysis.data(owner) if analysis and symbol.role not in ("function", "argument") else None
    if data:
        from rnndsl.tools.lsp.facts import facts  # loads sympy

        said = list(facts(symbol, data, item.names if item else ()))
        if said and not document.is_current:
            said.append("*(as of the last text without errors)*")
    elif analysis and owner in analysis.refused:
        said.append(f"*{analysis.refused[owner]}*")
    return _titled(definition(found, symbol), what, *said)


def definition(found: Outline, symbol: Symbol) -> str:
    """The text that defines a name, on one line and about this name alone."""
    statement = next(s for s in found.statements if s[0].start_pos == symbol.statement.start)
    if symbol.role in ROLES:
        colon = next((i for i, t in enumerate(statement) if t == ":"), len(statement))
        return f"{symbol.role} {symbol.name}{_joined(statement[colon:])}"
    if symbol.role in ("size", "hyper"):
        return f"{symbol.name}{_default(statement, symbol)}"
    return _joined(statement).removesuffix(":")


def _default(statement: list[Token], symbol: Symbol) -> str:
    """` = 0.05` of a hyperparameter."""
    if symbol.role == "size":
        return ""
    depth, value = 0, []
    for token in statement[next(i for i, t in enumerate(statement) if token_span(t) == symbol.span) + 1 :]:
        if not depth and token in (",", ")"):
            break
        depth += (token in ("(", "[")) - (token in (")", "]"))
        value.append(token)
    return f" {_joined(value)}"


def _joined(tokens: list[Token]) -> str:
    """Tokens in the canonical style."""
    try:
        return "".join((" " if blank else "") + t for t, blank in zip(tokens, spaced(tokens), strict=True))
    except IndexError:  # a bracket that closes nothing
        return " ".join(tokens)
