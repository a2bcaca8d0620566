"""From text to statements of tokens: bad characters and unbalanced brackets are found here, all at once."""

from collections.abc import Callable, Iterator

from lark import Token
from lark.exceptions import UnexpectedCharacters

from rnndsl.diagnostics import Collector, Related, Span
from rnndsl.syntax.characters import report_character, report_hiding, report_name
from rnndsl.syntax.keywords import KEYWORDS
from rnndsl.syntax.tree import token_span

MAX_BRACKETS = 100  # levels of ( and [ inside one another
MAX_TOKENS = 20_000  # of one statement
_MAX_ERRORS = 20
_MAX_ATTEMPTS = 100  # times that reading goes on behind a bad character
_CLOSES = {"(": ")", "[": "]"}
_OPENERS = frozenset(KEYWORDS) - {"grad", "in", "complex", "inf", "pi"}  # keywords that begin a statement

Statement = list[Token]
Lexer = Callable[[str], Iterator[Token]]


def lex(lexer: Lexer, out: Collector) -> list[Token]:
    """Every token of the source; a character that begins none is reported and skipped."""
    report_hiding(out)
    text = out.source.text
    tokens: list[Token] = []
    start = 0
    for _ in range(_MAX_ATTEMPTS):
        try:
            for token in lexer(" " * start + text[start:]):
                tokens.append(token)
            break
        except UnexpectedCharacters as e:
            start = report_character(text, e.pos_in_stream or 0, out)
            if len(out.found) >= _MAX_ERRORS:
                return []
    else:
        return []
    for token in tokens:
        if token.type == "NAME" and not token.isidentifier():
            report_name(token, out)
    return tokens


def statements(tokens: list[Token], out: Collector) -> list[Statement]:
    """Splits tokens at the newlines that end a statement; a statement with unbalanced brackets is reported and left out."""
    found: list[Statement] = []
    current: Statement = []
    stack: list[Token] = []
    broken = False

    def finish() -> None:
        nonlocal current, broken
        if len(current) > MAX_TOKENS:
            out.error("too-large", f"this statement has {len(current)} words and symbols", token_span(current[0]),
                      f"a statement has at most {MAX_TOKENS}", hint="give parts of it names of their own")  # fmt: skip
        elif current and not broken:
            found.append(current)
        current, broken = [], False

    for i, token in enumerate(tokens):
        text = str(token)
        if token.type == "_NEWLINE":
            if stack and begins_statement(tokens, i + 1, current):
                if not broken:
                    _report_unclosed(stack[-1], "when the next statement begins", out)
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
        elif text in (")", "]") and token.type != "STRING":
            if stack and _CLOSES[str(stack[-1])] == text:
                stack.pop()
                continue
            if not broken:
                _report_unexpected(token, stack, out)
            broken = True
            if len(stack) > 1 and _CLOSES[str(stack[-2])] == text:
                stack.pop()  # the inner bracket was forgotten: this one closes the outer
            if stack:
                stack.pop()
    if stack:
        if not broken:
            _report_unclosed(stack[-1], "where the program ends", out)
        broken = True
    finish()
    # a statement that holds a character already reported would only give a second message
    bad_lines = {out.source.line_of(d.span.start) for d in out.found if d.code in ("character", "prime", "unclosed-string")}
    return [s for s in found if s[0] in ("cell", "def") or not _lines(s, out) & bad_lines]


def _lines(statement: Statement, out: Collector) -> set[int]:
    if not out.found:
        return set()
    span = span_of_statement(statement)
    return set(range(out.source.line_of(span.start), out.source.line_of(span.end) + 1))


def _report_unexpected(token: Token, stack: list[Token], out: Collector) -> None:
    """Reports a closing bracket that does not close the last one that is open."""
    if not stack:
        out.error("unbalanced", f"`{token}` closes nothing", token_span(token), "no bracket is open here")
        return
    opened = stack[-1]
    wanted = _CLOSES[str(opened)]
    outer = len(stack) > 1 and _CLOSES[str(stack[-2])] == token
    out.error(
        "unbalanced",
        f"`{opened}` is closed by `{token}`",
        token_span(token),
        f"expected `{wanted}`",
        hint=f"add `{wanted}` before it" if outer else f"write `{wanted}`",
        related=(Related(token_span(opened), "opened here"),),
    )


def _report_unclosed(opened: Token, when: str, out: Collector) -> None:
    label = f"this bracket is still open {when}"
    hint = f"add `{_CLOSES[str(opened)]}`"
    out.error("unbalanced", f"`{opened}` is never closed", token_span(opened), label, hint=hint)


def begins_statement(tokens: list[Token], i: int, current: Statement) -> bool:
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
