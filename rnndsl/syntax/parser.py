"""text -> File. Each item is parsed by itself, so that one broken statement hides no other."""

from collections.abc import Iterator
from functools import cache

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedToken

from rnndsl.diagnostics import Collector, Source
from rnndsl.resources import resource_folder
from rnndsl.syntax import ast, mistakes, outside
from rnndsl.syntax.keywords import KEYWORDS
from rnndsl.syntax.place import Place
from rnndsl.syntax.tokens import Statement, lex, span_of_statement, statements
from rnndsl.syntax.tree import ToAst, depth_exceeds, span_of, token_span

Items = tuple[ast.CellDef | ast.FunctionDef, ...]

MAX_DEPTH = 150  # rules inside one another in one statement
_MAX_ERRORS = 20


@cache
def lark() -> Lark:
    """The parser that Lark makes of grammar/rnn.lark."""
    grammar = (resource_folder("grammar") / "rnn.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer="basic", propagate_positions=True)


def tokens_of(text: str) -> Iterator[Token]:
    """The tokens of a text. (`Lark.lex` would build its lexer anew at every call.)"""
    return lark().parse_interactive(text).lexer_thread.lex(None)  # type: ignore[arg-type]


def parse(source: Source) -> ast.File:
    """The syntax tree of a program.

    Raises RnnError with every syntax error found (at most about twenty).
    """
    out = Collector(source)
    items: list[ast.CellDef | ast.FunctionDef] = []
    cell = None
    for chunk in _chunks(statements(lex(tokens_of, out), out), out):
        items.extend(_parse_chunk(chunk, cell, out))
        cell = str(chunk[0][1]) if chunk[0][0] == "cell" and len(chunk[0]) > 1 else None
        if len(out.found) >= _MAX_ERRORS:
            break
    out.stop_if_any()
    return ast.File(tuple(items))


def parse_expression(text: str) -> ast.Expr:
    """The tree of one expression. Raises RnnError."""
    (function,) = parse(Source("expression", f"def f() = {text}\n")).functions
    return function.body


def _chunks(found: list[Statement], out: Collector) -> list[list[Statement]]:
    """Groups statements by the `cell` or `def` that they belong to."""
    chunks: list[list[Statement]] = []
    strays: list[Statement] = []
    for statement in found:
        if statement[0] in ("cell", "def"):
            chunks.append([statement])
        else:
            (chunks[-1] if chunks else strays).append(statement)
    if strays and not out.failed:
        outside.report_outside(strays[0], chunks[0][0] if chunks else None, out)
    return chunks


def _parse_chunk(chunk: list[Statement], cell: str | None, out: Collector) -> Items:
    """Parses one item; after an error the statement that holds it is left out and the rest is tried again.

    cell: the name of the item before it where that is a cell.
    """
    for _ in range(_MAX_ERRORS):
        refused = _first_refused(chunk)
        if isinstance(refused, Tree):
            return () if out.failed else _to_ast(refused, out)
        if refused is None:
            outside.report_unclosed_repeat(chunk, out)
            return ()
        number, place, error = refused
        if number and chunk[0][0] == "def":
            outside.report_after_function(chunk, number, cell, out)
            return ()
        code = mistakes.report(lark(), place, error, out)
        if number == 0 or chunk[number][0] in ("repeat", "end") or len(out.found) >= _MAX_ERRORS:
            return ()
        # an operator at the end of a line was meant to go on in the next one
        broken = 2 if code == "missing-value" and place.at_end and _goes_on(chunk, number + 1) else 1
        chunk = chunk[:number] + chunk[number + broken :]
    return ()


def _first_refused(chunk: list[Statement]) -> tuple[int, Place, UnexpectedToken] | Tree | None:
    """Where the parser stops and in which statement; the tree of a chunk without errors; None where only its end is wrong."""
    parser = lark().parse_interactive("")
    for number, statement in enumerate(chunk):
        for i, token in enumerate([*statement, _newline_after(statement)]):
            state = parser.parser_state.position
            try:
                parser.feed_token(token)
            except UnexpectedToken as e:
                return number, Place(statement, i, token, state), e
    try:
        return parser.feed_eof()
    except UnexpectedToken:
        return None


def _goes_on(chunk: list[Statement], number: int) -> bool:
    """Whether a statement is no statement by itself, but the rest of the one before."""
    return number < len(chunk) and str(chunk[number][0]) not in KEYWORDS and "=" not in map(str, chunk[number])


def _newline_after(statement: Statement) -> Token:
    end = span_of_statement(statement).end
    return Token("_NEWLINE", "\n", start_pos=end, end_pos=end)


def _to_ast(tree: Tree, out: Collector) -> Items:
    deep = depth_exceeds(tree, MAX_DEPTH)
    if deep is not None:
        where = span_of(deep.meta) if not deep.meta.empty else token_span(next(deep.scan_values(lambda _: True)))
        title = f"this expression is nested more than {MAX_DEPTH} levels deep"
        out.error("too-deep", title, where, "give a part of it a name of its own")
        return ()
    return ToAst().transform(tree).items
