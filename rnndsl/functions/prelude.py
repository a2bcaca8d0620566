"""The lines of grammar/prelude.rnn, as rows."""

import re
from collections.abc import Iterable
from dataclasses import replace

from rnndsl.functions.row import Function
from rnndsl.resources import resource_folder

_LINE = re.compile(r"^def (\w+)\(([^)]*)\) = (.*)$", re.MULTILINE)


def with_definitions(rows: Iterable[Function]) -> dict[str, Function]:
    """A row a line, in their order: the one given for it, or one of real entries; with the line as its definition."""
    known = {row.name: row for row in rows}
    text = (resource_folder("grammar") / "prelude.rnn").read_text(encoding="utf-8")
    found = {}
    for line in _LINE.finditer(text):
        name, arguments, body = line.groups()
        row = known.get(name, Function(name))
        found[name] = replace(row, arguments=arguments, means=row.means or body, definition=line.group())
    return found
