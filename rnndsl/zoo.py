"""Published recurrent cells by name: `rnndsl.zoo.GRU(D=64, H=128)`. A cell is compiled when it is first asked for.

    rnndsl.zoo.entries()            # what there is: name, year, paper, purpose, program
    rnndsl.zoo.entry("GRU").text    # a program, to change

Each is a file of examples/zoo, which an installed package holds inside.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rnndsl.resources import resource_folder

__all__ = ["Entry", "entries", "entry"]


@dataclass(frozen=True)
class Entry:
    """A published cell: its file, its name, and what the comment above it says."""

    path: Path
    name: str
    text: str  # the whole file
    paper: str
    purpose: str
    remarks: tuple[str, ...]

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def year(self) -> int:
        """Of the paper."""
        return int(re.findall(r"\b(?:19|20)\d\d\b", self.paper)[0])

    @property
    def summary(self) -> str:
        """The purpose up to its first stop."""
        return re.split(r"(?<=[.:;])\s", self.purpose)[0].rstrip(".:;")

    @property
    def arxiv(self) -> str | None:
        """The paper's number on arXiv, where the comment has it."""
        found = re.search(r"arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", self.paper)
        return found[1] if found else None

    @property
    def first_line(self) -> int:
        """The line of the file in which the program begins, below the comment."""
        return self.text.partition("\n\n")[0].count("\n") + 3


@cache
def entries() -> tuple[Entry, ...]:
    """Every published cell, by name."""
    found = [_read(p) for p in resource_folder("examples/zoo").glob("*.rnn")]
    return tuple(sorted(found, key=lambda e: e.name.lower()))


def entry(name: str) -> Entry:
    """The cell of a name, or of a file's name without its ending; capitals or not. Raises KeyError."""
    wanted = name.lower().removesuffix(".rnn")
    for e in entries():
        if wanted in (e.name.lower(), e.stem.lower()):
            return e
    raise KeyError(name)


def _read(path: Path) -> Entry:
    text = path.read_text(encoding="utf-8")
    paper, purpose, *remarks = (re.sub(r"\n?# ", " ", p).strip() for p in text.partition("\n\n")[0].split("\n#\n"))
    (name,) = re.findall(r"^cell (\w+)", text, re.MULTILINE)
    return Entry(path, name, text, paper, purpose, tuple(remarks))


def __getattr__(name: str) -> Any:
    """The class of a cell."""
    found = next((e for e in entries() if e.name == name), None) if not name.startswith("_") else None
    if found is None:
        raise AttributeError(f"module 'rnndsl.zoo' has no cell {name!r}{_meant(name)}")
    from rnndsl.api import load

    return getattr(load(found.path), name)


def __dir__() -> list[str]:
    return [*__all__, *(e.name for e in entries())]


def _meant(name: str) -> str:
    from difflib import get_close_matches

    names = {e.name.lower(): e.name for e in entries()} | {e.stem: e.name for e in entries()}
    near = get_close_matches(name.lower(), names, n=1)
    return f"; did you mean {names[near[0]]}?" if near else ""
