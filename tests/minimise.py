"""Makes a program that shows a fault smaller: edits of its text that leave it valid, as long as the fault is there."""

import re
import time
from collections.abc import Callable, Iterator

import rnndsl
from rnndsl.diagnostics import RnnError, Source, Span
from rnndsl.syntax import ast
from rnndsl.syntax.parser import parse

Edit = tuple[Span, str]  # what to replace, and by what


def minimised(text: str, fails: Callable[[str], bool], seconds: float = 120.0) -> str:
    """The smallest program that was found in the time, for which `fails` still holds."""
    end = time.monotonic() + seconds
    tried = {text}
    again = True
    while again:
        again = False
        for edit in sorted(_edits(text), key=lambda e: len(e[1]) - (e[0].end - e[0].start)):
            if time.monotonic() > end:
                return text
            smaller = _tidy(text[: edit[0].start] + edit[1] + text[edit[0].end :])
            if edit[1] == _GONE:
                smaller = _without(text, text[edit[0].start : edit[0].end])
            if smaller in tried or not _valid(smaller):
                continue
            tried.add(smaller)
            if fails(smaller):
                text, again = smaller, True
                break
    return text


_GONE = "\0"  # in place of a state's name: all lines that declare and assign it are left out


def _without(text: str, state: str) -> str:
    """A program without a state's own lines."""
    return _tidy("\n".join(line for line in text.splitlines() if not re.match(rf"\s*(state {re.escape(state)}:|{re.escape(state)}\[t\] =)", line)))


def _tidy(text: str) -> str:
    return "".join(line.rstrip() + "\n" for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))


def _valid(text: str) -> bool:
    try:
        return not any(d.severity == "error" for d in rnndsl.check(text)) and bool(parse(Source("a", text)).cells)
    except RnnError:
        return False


def _edits(text: str) -> Iterator[Edit]:
    """Everything that may be left out, or written more simply."""
    file = parse(Source("a", text))
    for item in file.items:
        if isinstance(item, ast.FunctionDef):
            yield item.span, ""
            continue
        if item.name.id != "Random":
            yield item.span, ""
        for size in item.header:
            if size.default is not None or not re.search(rf"\b{re.escape(size.name.id)}\b", text[item.header[-1].span.end :]):
                yield Span(size.span.start, size.span.end + 2), ""  # with the comma behind it
                yield Span(size.span.start - 2, size.span.end), ""  # and before it
        if item.doc is not None and (quoted := re.compile(r'"""(.|\n)*?"""|"[^"\n]*"').search(text, item.span.start)):
            yield Span(quoted.start(), quoted.end()), ""
        yield from ((n.span, _GONE) for s in item.statements if isinstance(s, ast.Declaration) and s.role == "state" for n in s.names)
        inputs = [n.id for s in item.statements if isinstance(s, ast.Declaration) and s.role == "input" for n in s.names]
        for statement in item.statements:
            yield from _of_statement(statement, text, inputs)
        declared = {n.id for s in item.statements if isinstance(s, ast.Declaration) for n in s.names}
        yield from _inlined(item, text, declared)


def _inlined(cell: ast.CellDef, text: str, declared: set[str]) -> Iterator[Edit]:
    """The first use of a local by its value."""
    values = {}
    for s in cell.statements:
        if isinstance(s, ast.Assign) and len(s.targets) == 1 and s.targets[0].index is None:
            values[s.targets[0].name.id] = text[s.value.span.start : s.value.span.end]
    for s in cell.statements:
        for e in _expressions(s):
            if isinstance(e, ast.Name) and e.id in values and e.id not in declared:
                yield e.span, f"({values[e.id]})"


def _of_statement(s: ast.Statement, text: str, inputs: list[str]) -> Iterator[Edit]:
    yield s.span, ""
    match s:
        case ast.Output(returned=returned) if len(returned) > 1:
            for i, r in enumerate(returned):
                yield (Span(r.span.start, returned[i + 1].span.start) if i + 1 < len(returned) else Span(returned[i - 1].span.end, r.span.end)), ""
        case ast.Repeat():
            if s.body:
                yield s.span, "\n".join(text[b.span.start : b.span.end] for b in s.body)
            for b in s.body:
                yield from _of_statement(b, text, inputs)
        case ast.Declaration():
            shape = Span(s.shape.span.start, s.shape.span.end)
            if shape.end < s.span.end:
                yield Span(shape.end, s.span.end), ""
            if s.draw is not None and s.constraint is not None:
                yield Span(s.constraint.span.end, s.draw.span.end), ""
            if s.shape.is_complex:
                yield shape, text[shape.start : shape.end].replace("complex ", "")
            if s.shape.heads:
                yield shape, f"[{', '.join(text[a.span.start : a.span.end] for a in s.shape.axes)}]"
            if s.role == "const":
                yield Span(s.span.start, s.span.start + 5), "param"
    for e in _expressions(s):
        yield from ((e.span, f"({text[c.span.start : c.span.end]})" if isinstance(c, ast.Binary | ast.Prefix) else text[c.span.start : c.span.end]) for c in _children(e))
        if not isinstance(e, ast.Number):
            yield from ((e.span, simple) for simple in ("0.5", *inputs[:1]) if len(simple) < e.span.end - e.span.start or isinstance(e, ast.Name))
        if text[e.span.start - 1 : e.span.start] == "(" and text[e.span.end : e.span.end + 1] == ")" and not isinstance(e, ast.Number):
            yield Span(e.span.start - 1, e.span.end + 1), text[e.span.start : e.span.end]


def _children(e: ast.Expr) -> tuple[ast.Expr, ...]:
    match e:
        case ast.Prefix():
            return (e.operand,)
        case ast.Binary():
            return (e.left, e.right)
        case ast.Call():
            return e.arguments
        case ast.Attribute():
            return (e.base,)
    return ()


def _expressions(s: ast.Statement) -> Iterator[ast.Expr]:
    """Every expression of a statement, the large ones first."""
    match s:
        case ast.Assign():
            stack: list[ast.Expr] = [s.value]
        case ast.Output():
            stack = [r.value for r in s.returned if r.value is not None]
        case ast.Declaration():
            stack = [v for v in (s.value, *(s.draw.arguments if s.draw else ())) if v is not None]
        case ast.Repeat():
            for b in s.body:
                yield from _expressions(b)
            return
    while stack:
        e = stack.pop(0)
        yield e
        stack.extend(_children(e))
