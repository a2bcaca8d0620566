"""Messages for statements that stand in no cell, and for a repeat that is never closed."""

import re

from lark import Token

from rnndsl.diagnostics import Collector, Related
from rnndsl.syntax.tree import token_span


def report_outside(statement: list[Token], header: list[Token] | None, out: Collector) -> None:
    """Reports a statement that stands before the first cell, whose header is given where there is one."""
    span = token_span(statement[0]).to(token_span(statement[-1]))
    word = str(statement[0])
    close = re.fullmatch(r"(?i)c?e?l+l?|cells?|class|model|layer|rnn|module|network|struct|model|cel|clel", word)
    if close and len(statement) > 2:
        out.error("outside-cell", "a file holds `cell` and `def` items", token_span(statement[0]), "expected `cell`",
                  hint="a header reads `cell NAME(D, H):`")  # fmt: skip
    elif word == "/":
        out.error("comment", "this begins no comment", span, "a comment begins with `#`")
    elif word in ("import", "from"):
        out.error("outside-cell", "there are no imports", span, "all functions are built in, or defined with `def`")
    elif word in ("function", "func", "fn", "define", "lambda", "fun", "defn") and len(statement) > 2:
        out.error("outside-cell", "a file holds `cell` and `def` items", token_span(statement[0]), "expected `def`",
                  hint="write `def f(z) = expression`, on one line")  # fmt: skip
    else:
        where = out.source.slice(token_span(header[0]).to(token_span(header[-1]))) if header else ""
        hint = "begin with a header, `cell NAME(D, H):`"
        if header and header[0] == "cell" and "\n" not in where:
            docstring = statement[0].type == "STRING"
            hint = f"{'a docstring stands right after the header: ' if docstring else ''}move it below `{where}`"
        out.error("outside-cell", "this statement belongs to no cell", span, "it stands before the first cell", hint=hint)


def report_after_function(chunk: list[list[Token]], number: int, cell: str | None, out: Collector) -> None:
    """Reports a statement behind a `def`, which is one line; `cell` is the name of the cell before it."""
    head, statement = chunk[0], chunk[number]
    name = str(head[1]) if len(head) > 1 else "…"
    hint = "a function's body stands behind its `=`; statements belong to a cell"
    if cell is not None:
        hint = f"move `def {name}` above `cell {cell}`, so that the cell is in one piece"
    defined = token_span(head[0]).to(token_span(head[min(1, len(head) - 1)]))
    related = (Related(defined, "a function is one line, and ends the cell before it"),)
    span = token_span(statement[0]).to(token_span(statement[-1]))
    out.error("outside-cell", "this statement belongs to no cell", span, "it stands behind a function", hint=hint, related=related)


def report_unclosed_repeat(chunk: list[list[Token]], out: Collector) -> None:
    """Reports a repeat without its `end`."""
    opened = next(s for s in reversed(chunk) if s[0] == "repeat")
    last = chunk[-1][-1]
    out.error("unclosed-repeat", "this repeat is never closed", token_span(opened[0]), "no `end` follows",
              hint="put `end` on a line of its own after the body",
              related=(Related(token_span(last), "the cell ends here"),))  # fmt: skip
