"""From text to statements of tokens: bad characters and unbalanced brackets are found here, all at once."""

from collections.abc import Callable, Iterator

from lark import Token
from lark.exceptions import UnexpectedCharacters

from rnndsl.diagnostics import Collector, Related, Span
from rnndsl.syntax import mistakes
from rnndsl.syntax.keywords import KEYWORDS
from rnndsl.syntax.tree import token_span

MAX_BRACKETS = 100  # levels of ( and [ inside one another
_MAX_ERRORS = 20
_CLOSES = {"(": ")", "[": "]"}
_OPENERS = frozenset(KEYWORDS) - {"grad", "in", "complex", "inf", "pi"}  # keywords that begin a statement

Statement = list[Token]
Lexer = Callable[[str], Iterator[Token]]


def lex(lexer: Lexer, out: Collector) -> list[Token]:
    """Every token of the source; a character that begins none is reported and skipped."""
    text = out.source.text
    while True:
        tokens: list[Token] = []
        try:
            tokens.extend(lexer(text))
            break
        except UnexpectedCharacters as e:
            at = e.pos_in_stream
            mistakes.report_character(text, at, out)
            if len(out.found) >= _MAX_ERRORS:
                return []
            # an unclosed quote would make tokens of its prose: the rest of its line goes with it
            end = text.find("\n", at) if text[at] in "\"'" else at + 1
            end = len(text) if end < 0 else end
            text = text[:at] + " " * (end - at) + text[end:]
    for token in tokens:
        if token.type == "NAME" and not token.isidentifier():
            mistakes.report_name(token, out)
    return tokens


def statements(tokens: list[Token], out: Collector) -> list[Statement]:
    """Splits tokens at the newlines that end a statement; a statement with unbalanced brackets is reported and left out."""
    found: list[Statement] = []
    current: Statement = []
    stack: list[Token] = []
    broken = False

    def finish() -> None:
        nonlocal current, broken
        if current and not broken:
            found.append(current)
        current, broken = [], False

    for i, token in enumerate(tokens):
        text = str(token)
        if token.type == "_NEWLINE":
            if stack and _begins_statement(tokens, i + 1, current):
                _report_unclosed(stack[-1], out)
                stack, broken = [], True
            if not stack:
                finish()
            continue
        current.append(token)
        if text in _CLOSES and token.type != "STRING":
            stack.append(token)
            if len(stack) > MAX_BRACKETS:
                out.error(
                    "too-deep",
                    f"brackets are nested more than {MAX_BRACKETS} deep",
                    token_span(token),
                    "give an inner part a name of its own",
                )
                return []
        elif text in (")", "]"):
            if not stack:
                title = f"`{text}` closes nothing"
                out.error("unbalanced", title, token_span(token), "there is no bracket open here")
                broken = True
            elif _CLOSES[str(stack[-1])] != text:
                opened = stack.pop()
                out.error(
                    "unbalanced",
                    f"`{text}` does not close `{opened}`",
                    token_span(token),
                    f"expected `{_CLOSES[str(opened)]}`",
                    related=(Related(token_span(opened), "opened here"),),
                )
                broken = True
            else:
                stack.pop()
    if stack:
        _report_unclosed(stack[-1], out)
        broken = True
    finish()
    # a statement that holds a character already reported would only give a second message
    bad_lines = {out.source.line_of(d.span.start) for d in out.found if d.code in ("character", "prime")}
    return [s for s in found if s[0] in ("cell", "def") or not _lines(s, out) & bad_lines]


def _lines(statement: Statement, out: Collector) -> set[int]:
    if not out.found:
        return set()
    span = span_of_statement(statement)
    return set(range(out.source.line_of(span.start), out.source.line_of(span.end) + 1))


def _report_unclosed(opened: Token, out: Collector) -> None:
    out.error(
        "unbalanced",
        f"`{opened}` is never closed",
        token_span(opened),
        "this bracket is still open when the next statement begins",
        hint=f"add `{_CLOSES[str(opened)]}`",
    )


def _begins_statement(tokens: list[Token], i: int, current: Statement) -> bool:
    """Whether a new statement plainly begins at token `i`, though a bracket is open."""
    while i < len(tokens) and tokens[i].type == "_NEWLINE":
        i += 1
    if i >= len(tokens):
        return False
    if str(tokens[i]) in _OPENERS:
        return True
    if tokens[i].type != "NAME" or (current and current[0] == "cell"):
        return False  # a cell's header holds `name = default`
    following = [str(t) for t in tokens[i + 1 : i + 6]]
    return following[:1] == ["="] or (following[:2] == ["[", "t"] and following[2:4] == ["]", "="])


def span_of_statement(statement: Statement) -> Span:
    """The characters from a statement's first token to its last."""
    return token_span(statement[0]).to(token_span(statement[-1]))
