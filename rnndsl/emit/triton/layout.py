"""Where lines of generated Python break: lists of arguments, heads of functions, statements and what is returned."""

import itertools
import textwrap
from collections.abc import Sequence

WIDTH = 118


def filled(items: Sequence[str], indent: int = 4) -> str:
    """Items of a list, each with a comma, in lines that are as full as they may be; a template sets the first line's indent."""
    pad = " " * indent
    words = [f"{item},".replace(" ", "\0") for item in items]  # an item is never broken
    lines = textwrap.wrap(" ".join(words), WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return f"\n{pad}".join(lines).replace("\0", " ")


def imported(module: str, names: Sequence[str]) -> str:
    """The import of some names."""
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= WIDTH else f"from {module} import (\n    {filled(names)}\n)"


def listed(items: Sequence[str]) -> str:
    """A tuple on one line."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def tupled(items: Sequence[str], indent: int = 4) -> str:
    """A tuple, over several lines where it is long; `indent` is that of the line in which it begins."""
    line = listed(items)
    return line if len(line) + indent + 20 <= WIDTH else f"(\n{' ' * indent}    {filled(items, indent + 4)}\n{' ' * indent})"


def rows(items: Sequence[str], indent: int = 4, names: Sequence[str] = ()) -> str:
    """A tuple with an entry a line, and behind each what it is called; `indent` is that of the line in which it begins."""
    pad = " " * indent
    notes = [f"  # {name}" for name in names] or [""] * len(items)
    return "".join(["(\n", *(f"{pad}    {item},{note}\n" for item, note in zip(items, notes, strict=True)), f"{pad})"]) if items else "()"


def called(before: str, items: Sequence[str], indent: int = 4, after: str = "") -> str:
    """`before(items)after`, on one line where it fits, else over several; a template sets the first line's indent."""
    line = f"{before}({', '.join(items)}){after}"
    if len(line) + indent <= WIDTH:
        return line
    pad = " " * indent
    return f"{before}(\n{pad}    {filled(items, indent + 4)}\n{pad}){after}"


def within_brackets(line: str, indent: int = 4, depth: int = 1) -> str:
    """A line of which all that is long stands in brackets, over several lines where it is, which break inside brackets; a template sets the first line's
    indent. depth: the brackets that are open before it."""
    if len(line) + indent <= WIDTH:
        return line
    depths = itertools.accumulate(((c in "([{") - (c in ")]}") for c in line), initial=depth)
    kept = "".join("\0" if c == " " and not d else c for c, d in zip(line, depths, strict=False))
    lines = textwrap.wrap(kept, WIDTH - indent - 4, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * (indent + 4)}".join(lines).replace("\0", " ")


def assigned(name: str, code: str, indent: int = 4) -> list[str]:
    """A statement, over several lines where it is long."""
    line = f"{name} = {code}"
    return [line] if len(line) + indent <= WIDTH else [f"{name} = (", *_broken(code, indent + 4), ")"]


def returned(groups: Sequence[Sequence[str]], indent: int = 4) -> list[str]:
    """The return of a tuple a group; of one group alone, of that."""
    line = f"return {', '.join(listed(g) for g in groups)}"
    if len(line) + indent <= WIDTH:
        return [line]
    lines = []
    for group in groups:
        short = f"{listed(group)},"
        if len(short) + indent + 4 <= WIDTH and len(groups) > 1:
            lines.append(f"    {short}")
            continue
        entries = []
        for entry in group:
            broken = _broken(f"{entry},", indent + 8)
            entries += broken if len(broken) == 1 else ["    (", *(f"    {b}" for b in _broken(entry, indent + 12)), "    ),"]
        lines += ["    (", *(f"    {e}" for e in entries), "    ),"] if len(groups) > 1 else entries
    return ["return (", *lines, ")"]


def _broken(code: str, indent: int) -> list[str]:
    """An expression over lines that begin with an operator, each a step in."""
    for operator in "+-*/":
        code = code.replace(f" {operator} ", f" {operator}\0")
    lines = textwrap.wrap(code, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return [f"    {line}".replace("\0", " ") for line in lines]
