"""Quick fixes: what the help lines of a message propose, tried by the compiler before an editor offers it."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lark import Token

from rnndsl.checks.draws import DISTRIBUTIONS, INITIALISERS
from rnndsl.checks.names import check_names
from rnndsl.diagnostics import Collector, Diagnostic, RnnError, Source, Span
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax.keywords import KEYWORDS, TIME
from rnndsl.syntax.parser import parse
from rnndsl.syntax.tokens import span_of_statement
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.outline import ROLES, Item

_CODE = re.compile(r"`([^`]+)`")
_MOVED = re.compile(r"move lines? ([\d, and]+)[^`]*(?:`[^`]*`[^`]*)? above this one")


@dataclass(frozen=True)
class Fix:
    """A text for another, and the help line that proposes it."""

    title: str
    span: Span
    text: str


def fixes(document: Document, problem: Diagnostic) -> list[Fix]:
    """The fixes of a message after which it is gone, and no other has come."""
    source = document.source
    before, stage = _checked(source)
    found: dict[str, Fix] = {}  # by the text that each leaves
    for hint, proposals in _by_hint(document, problem):
        for span, text in proposals:
            whole = source.text[: span.start] + text + source.text[span.end :]
            if whole == source.text or whole in found or not _is_meant(document, problem, hint, span, text):
                continue
            after, reached = _checked(Source(source.name, whole))
            gone = _key(problem) not in after or after.count(_key(problem)) < before.count(_key(problem))
            if gone and (reached > stage or not set(after) - set(before)):
                found[whole] = Fix(hint, span, text)
    return list(found.values())


_SHOWN = re.compile(r" reads |^for example|^such as|^as in")  # what introduces an illustration
_OFFERED = re.compile(r"did you mean|\bwrite |\bwritten ")
_ATOM = re.compile(r"[\w.]+")
_WORD = re.compile(r"[^\W\d]\w*")


def _is_meant(document: Document, problem: Diagnostic, hint: str, span: Span, text: str) -> bool:
    """Whether a text is meant for a place, not as an illustration: it is made of the program's own names, and keeps those that stand there."""
    if _SHOWN.search(hint):
        return False
    old, new = set(_WORD.findall(document.source.slice(span))), set(_WORD.findall(text))
    named = re.match(r"output (\w+) = ", text)  # an output is given a name
    new -= {named[1]} if named else set()
    known = set(_WORD.findall(document.source.text)) | set(KEYWORDS) | set(FUNCTIONS) | set(INITIALISERS) | set(DISTRIBUTIONS) | {TIME}
    item = document.outline.item_at(span.start)
    sizes = {n for n, s in item.names.items() if s.role in ("size", "hyper")} if item else set()
    outside = Counter(_ATOM.findall(document.source.slice(span))) - Counter(_ATOM.findall(document.source.slice(problem.span)))
    if span.start <= problem.span.start < problem.span.end <= span.end and outside - Counter(_ATOM.findall(text)):
        return False  # what stands beside the place at fault stays
    first, then = (_WORD.match(t) for t in (document.source.slice(span), text))
    if first is not None and first[0] in KEYWORDS and (then is None or then[0] != first[0]):
        return False
    return new <= known and old & sizes <= new and (not old or bool(old & new) or (bool(new) and _OFFERED.search(hint) is not None))


def _key(d: Diagnostic) -> tuple[str, str]:
    return d.code, d.title


def _checked(source: Source) -> tuple[list[tuple[str, str]], int]:
    """The errors of a text, and how far the compiler comes: 0 to the end of a syntax error, 1 to the names, 2 to the shapes, 3 through all."""
    from rnndsl import compiler

    try:
        compiler.compiled(source)
        return [], 3
    except RnnError as e:
        errors = [_key(d) for d in e.diagnostics]
    try:
        file = parse(source)
    except RnnError:
        return errors, 0
    names = Collector(source)
    check_names(file, names)
    return errors, 1 if names.failed else 2


def _by_hint(document: Document, problem: Diagnostic) -> Iterator[tuple[str, Iterator[tuple[Span, str]]]]:
    """Each help line, and the texts that it proposes for places. What is `expected` at the place itself comes first."""
    if problem.hints and (expected := re.fullmatch(r"expected `([^`]+)`", problem.label)):
        start = problem.span.start
        if expected[1].startswith(":"):  # which stands right behind a name
            start = len(document.source.text[:start].rstrip())
        yield problem.hints[0], iter([(Span(start, problem.span.end), expected[1])])
    for hint in problem.hints:
        yield hint, _proposals(document, problem, hint)


def _proposals(document: Document, problem: Diagnostic, hint: str) -> Iterator[tuple[Span, str]]:
    """Texts for places, as a help line may mean them."""
    source, span = document.source, problem.span
    item = document.outline.item_at(span.start)
    if (moved := _MOVED.search(hint)) is not None:
        yield _moved(source, span, [int(n) for n in re.findall(r"\d+", moved[1])])
    for code in _CODE.findall(hint):
        if "…" in code:
            continue
        first = code.split()[0]
        if first == "cell" and item is not None:
            yield item.symbol.statement, code
        elif first in (*ROLES, "output", "repeat", "def"):
            yield _statement(document, span), code
            if item is not None and first in ROLES:
                yield _line_below_header(document, item, code)
            elif item is not None and first == "output":
                yield _line_at_end(document, item, code)
        else:
            yield span, code
            yield _statement(document, span), code


def _statement(document: Document, span: Span) -> Span:
    """The statement that a place stands in, its line where it is in none."""
    for statement in document.outline.statements:
        whole = span_of_statement(statement)
        if whole.start <= span.start <= whole.end:
            return whole
    line = document.source.line_of(span.start)
    text = document.source.line_text(line)
    start = document.source.start_of(line) + len(text) - len(text.lstrip())
    return Span(start, start + len(text.strip()))


def _moved(source: Source, span: Span, lines: list[int]) -> tuple[Span, str]:
    """The lines from a place to the last of some, with these in front."""
    first, last = source.line_of(span.start), max(lines)
    texts = {n: source.line_text(n) for n in range(first, last + 1)}
    order = [*lines, *(n for n in texts if n not in lines)]
    whole = Span(source.start_of(first), source.start_of(last) + len(source.line_text(last)))
    return whole, "\n".join(texts[n] for n in order if n in texts)


def _line_below_header(document: Document, item: Item, code: str) -> tuple[Span, str]:
    """A declaration behind the last one of a cell, or behind its header."""
    own = _statements_of(document, item)
    declared = [s for s in own if str(s[0]) in ROLES] or own[:1]
    return _line_behind(document, declared[-1], code)


def _line_at_end(document: Document, item: Item, code: str) -> tuple[Span, str]:
    return _line_behind(document, _statements_of(document, item)[-1], code)


def _line_behind(document: Document, statement: list[Token], code: str) -> tuple[Span, str]:
    """A new line below that of a statement."""
    line = document.source.line_of(span_of_statement(statement).end)
    end = document.source.start_of(line) + len(document.source.line_text(line))
    return Span(end, end), f"\n  {code}"


def _statements_of(document: Document, item: Item) -> list[list[Token]]:
    return [s for s in document.outline.statements if document.outline.item_at(span_of_statement(s).start) is item]
