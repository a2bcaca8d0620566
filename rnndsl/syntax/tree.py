"""From Lark's parse tree to the frozen syntax tree."""

import unicodedata

from lark import Token, Tree, v_args
from lark.tree import Meta
from lark.visitors import Transformer_NonRecursive

from rnndsl.diagnostics import Span
from rnndsl.syntax import ast


def span_of(meta: Meta) -> Span:
    """The characters that a parse tree covers."""
    return Span(meta.start_pos, meta.end_pos)


def token_span(token: Token) -> Span:
    """The characters of a token."""
    start = token.start_pos or 0
    return Span(start, start + len(token))


def _name(token: Token) -> ast.Name:
    return ast.Name(unicodedata.normalize("NFKC", str(token)), span=token_span(token))


def _constant_value(token: Token) -> float:
    return float("inf") if token == "inf" else 3.141592653589793


def _number_value(text: str) -> float | complex:
    return complex(0.0, float(text[:-1])) if text.endswith("j") else float(text)


@v_args(meta=True)
class ToAst(Transformer_NonRecursive):
    """One method a grammar rule; children are syntax nodes, tokens, or None where an optional part is missing."""

    def start(self, meta, children):
        return ast.File(tuple(children))

    def cell(self, meta, children):
        name, *rest = children
        header = tuple(c for c in rest if isinstance(c, ast.HeaderName))
        doc = next((c for c in rest if isinstance(c, str)), None)
        statements = tuple(c for c in rest if isinstance(c, ast.Statement))
        return ast.CellDef(_name(name), header, doc, statements, span=span_of(meta))

    def header(self, meta, children):
        return ast.HeaderName(_name(children[0]), children[1], span=span_of(meta))

    def docstring(self, meta, children):
        text = str(children[0])
        quote = '"""' if text.startswith('"""') and len(text) >= 6 else '"'
        return text[len(quote) : -len(quote)]

    def function(self, meta, children):
        name, *rest = children
        *parameters, body, slope = rest
        names = tuple(_name(p) for p in parameters if p is not None)
        return ast.FunctionDef(_name(name), names, body, slope, span=span_of(meta))

    def input(self, meta, children):
        return ast.Declaration("input", *children, span=span_of(meta))

    def state(self, meta, children):
        names, shape, value = children
        return ast.Declaration("state", names, shape, value=value, span=span_of(meta))

    def param(self, meta, children):
        names, shape, constraint, draw = children
        return ast.Declaration("param", names, shape, constraint=constraint, draw=draw, span=span_of(meta))

    def const(self, meta, children):
        names, shape, value = children
        return ast.Declaration("const", names, shape, value=value, span=span_of(meta))

    def noise(self, meta, children):
        names, shape, draw, how = children
        return ast.Declaration("noise", names, shape, draw=draw, how=_name(how) if how is not None else None, span=span_of(meta))

    def names(self, meta, children):
        return tuple(_name(t) for t in children)

    def shape(self, meta, children):
        *marks, axes = children
        return ast.Shape((), axes or (), bool(marks), span=span_of(meta))

    def headed_shape(self, meta, children):
        *marks, heads, axes = children
        return ast.Shape(heads, axes or (), bool(marks), span=span_of(meta))

    def axes(self, meta, children):
        return tuple(children)

    def above(self, meta, children):
        return ast.Above(children[1], str(children[0]), span=span_of(meta))

    def between(self, meta, children):
        return ast.Between(*children, span=span_of(meta))

    def draw(self, meta, children):
        return ast.Draw(_name(children[0]), children[1] or (), span=span_of(meta))

    def assign(self, meta, children):
        *targets, value = children
        return ast.Assign(tuple(targets), value, span=span_of(meta))

    def target(self, meta, children):
        return ast.Target(_name(children[0]), children[1], span=span_of(meta))

    def output(self, meta, children):
        return ast.Output(tuple(children), span=span_of(meta))

    def returned(self, meta, children):
        return ast.Returned(_name(children[0]), children[1], span=span_of(meta))

    def repeat(self, meta, children):
        variable, low, high, *body = children
        return ast.Repeat(_name(variable), low, high, tuple(body), span=span_of(meta))

    def binary(self, meta, children):
        left, op, right = children
        symbol = "^" if op == "**" else str(op)
        return ast.Binary(symbol, left, right, span=span_of(meta))

    def prefix(self, meta, children):
        return ast.Prefix(str(children[0]), children[1], span=span_of(meta))

    def attribute(self, meta, children):
        base, name = children
        where = token_span(name)
        return ast.Attribute(base, str(name)[1:], Span(where.start + 1, where.end), span=span_of(meta))

    def number(self, meta, children):
        return ast.Number(_number_value(str(children[0])), str(children[0]), span=span_of(meta))

    def constant(self, meta, children):
        return ast.Number(_constant_value(children[0]), str(children[0]), span=span_of(meta))

    def name(self, meta, children):
        return _name(children[0])

    def call(self, meta, children):
        return ast.Call(_name(children[0]), children[1] or (), span=span_of(meta))

    def index(self, meta, children):
        return ast.Index(_name(children[0]), children[1], span=span_of(meta))

    def arguments(self, meta, children):
        return tuple(children)


def depth_exceeds(tree: Tree, limit: int) -> Tree | None:
    """The first subtree that lies more than `limit` rules deep, found without recursion."""
    stack: list[tuple[Tree, int]] = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > limit:
            return node
        stack.extend((c, depth + 1) for c in node.children if isinstance(c, Tree))
    return None
