"""text -> File. Each item is parsed by itself, so that one broken statement hides no other."""

from collections.abc import Iterator
from functools import cache

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedToken

from rnndsl.diagnostics import Collector, Source
from rnndsl.resources import resource_folder
from rnndsl.syntax import ast, mistakes
from rnndsl.syntax.tokens import Statement, lex, span_of_statement, statements
from rnndsl.syntax.tree import ToAst, depth_exceeds, span_of, token_span

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
    for chunk in _chunks(statements(lex(tokens_of, out), out), out):
        items.extend(_parse_chunk(chunk, out))
        if len(out.found) >= _MAX_ERRORS:
            break
    out.stop_if_any()
    return ast.File(tuple(items))


def _chunks(found: list[Statement], out: Collector) -> list[list[Statement]]:
    """Groups statements by the `cell` or `def` that they belong to."""
    chunks: list[list[Statement]] = []
    for statement in found:
        if statement[0] in ("cell", "def"):
            chunks.append([statement])
        elif chunks:
            chunks[-1].append(statement)
        elif not out.failed:
            mistakes.report_outside(statement, out)
    return chunks


def _parse_chunk(chunk: list[Statement], out: Collector) -> tuple[ast.CellDef | ast.FunctionDef, ...]:
    """Parses one item; after an error the statement that holds it is left out and the rest is tried again."""
    while chunk:
        parser = lark().parse_interactive("")
        for number, statement in enumerate(chunk):
            for i, token in enumerate([*statement, _newline_after(statement)]):
                state = parser.parser_state.position
                try:
                    parser.feed_token(token)
                except UnexpectedToken as e:
                    mistakes.report(lark(), state, e, statement, i, out)
                    if number == 0 or statement[0] in ("repeat", "end") or len(out.found) >= _MAX_ERRORS:
                        return ()
                    chunk = chunk[:number] + chunk[number + 1 :]
                    break
            else:
                continue
            break
        else:
            try:
                tree = parser.feed_eof()
            except UnexpectedToken:
                mistakes.report_unclosed_repeat(chunk, out)
                return ()
            return () if out.failed else _to_ast(tree, out)
    return ()


def _newline_after(statement: Statement) -> Token:
    end = span_of_statement(statement).end
    return Token("_NEWLINE", "\n", start_pos=end, end_pos=end)


def _to_ast(tree: Tree, out: Collector) -> tuple[ast.CellDef | ast.FunctionDef, ...]:
    deep = depth_exceeds(tree, MAX_DEPTH)
    if deep is not None:
        where = span_of(deep.meta) if not deep.meta.empty else token_span(next(deep.scan_values(lambda _: True)))
        title = f"this expression is nested more than {MAX_DEPTH} levels deep"
        out.error("too-deep", title, where, "give a part of it a name of its own")
        return ()
    return ToAst().transform(tree).items
