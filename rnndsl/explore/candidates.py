"""What is explored: cells of files, folders and the zoo, and baselines that need no equations."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from rnndsl import zoo
from rnndsl.checks.cell import Repeat
from rnndsl.diagnostics import Source
from rnndsl.tools import Unfit

BASELINES = ("torch.nn.RNN", "torch.nn.GRU", "torch.nn.LSTM", "transformer")


@dataclass(frozen=True)
class Candidate:
    """A cell of a program, or a baseline, which has none. label: what tables call it, different for each of a command."""

    label: str
    cell: str
    source: Source | None = None

    @cached_property
    def key(self) -> str:
        """What its program says, as a few letters: an edited cell is another one."""
        text = self.cell if self.source is None else f"{self.cell}\0{self.source.text}"
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]

    @cached_property
    def compiled(self) -> Any:
        """What the compiler made of the program. Raises RnnError."""
        from rnndsl import compiler

        assert self.source is not None
        return compiler.compiled(self.source)

    @cached_property
    def cls(self) -> Any:
        """The cell's class. Raises RnnError."""
        from rnndsl import programs

        assert self.source is not None
        return getattr(programs.load(self.source), self.cell)

    @cached_property
    def counts(self) -> set[str]:
        """The sizes that say how often a step repeats something."""
        cell = next(c for c in self.compiled.program.cells if c.name == self.cell)
        ends = [end for s in cell.body if isinstance(s, Repeat) for end in (s.low, s.high)]
        return {name for end in ends for name in end.names}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the compiler says of the recurrence, as plain data: families, structures, the bounds of its states."""
        if self.source is None:
            return {}
        from rnndsl.tools.explain import explain

        (found,) = explain(self.compiled, self.cell, None, {}).data["cells"]
        parts = found["components"]
        return {
            "family": ", ".join(dict.fromkeys(c["family"] for c in parts)),
            "structure": ", ".join(dict.fromkeys(c["structure"] for c in parts)),
            "growth": ", ".join(f"{name} {_interval(b)}" for c in parts for name, b in c["bounds"].items()),
        }


def _interval(bound: dict[str, Any]) -> str:
    """The range of a state, as the compiler proves it."""
    if bound["low"] is None and bound["high"] is None:
        return "unbounded"
    low, high = ("" if b is None else f"{b:g}" for b in (bound["low"], bound["high"]))
    return f"in [{low}, {high}]" if low and high else f"≥ {low}" if low else f"≤ {high}"


def candidates(names: list[str]) -> tuple[Candidate, ...]:
    """The candidates of a command line: files, folders of files, cells of the zoo by name, `FILE.rnn:NAME` for one cell of several, baselines.
    Raises Unfit for what is none, RnnError for a wrong program, OSError for a file that cannot be read."""
    found: list[Candidate] = []
    for name in names:
        found += [c for c in _of(name) if c.key not in {f.key for f in found}]
    if not found:
        raise Unfit(f"there is no cell in {', '.join(names)}")
    return tuple(_told_apart(found))


def _of(name: str) -> list[Candidate]:
    if name in BASELINES:
        return [Candidate(name, name)]
    path = Path(name)
    if path.is_dir():
        files = sorted(path.glob("*.rnn"))
        if not files:
            raise Unfit(f"{name}: there is no .rnn file in this folder")
        return [c for f in files for c in _cells(f, None)]
    file, _, cell = name.partition(".rnn:")
    if cell:
        return _cells(Path(f"{file}.rnn"), cell)
    if path.suffix == ".rnn":
        return _cells(path, None)
    try:
        return _cells(zoo.entry(name).path, None)
    except KeyError:
        known = {n.lower(): n for n in (*BASELINES, *(e.name for e in zoo.entries()))}
        near = get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        raise Unfit(f"there is no cell {name}: give a .rnn file, a folder of them, a cell of `rnndsl zoo`, or one of {', '.join(BASELINES)}{hint}") from None


def _cells(path: Path, chosen: str | None) -> list[Candidate]:
    """The cells of a file."""
    from rnndsl import compiler
    from rnndsl.checks import require_cells
    from rnndsl.reading import read_source

    source = read_source(path)
    program = compiler.compiled(source).program
    require_cells(program)
    names = [c.name for c in program.cells]
    if chosen is not None and chosen not in names:
        raise Unfit(f"{path}: there is no cell {chosen}; there is {', '.join(names)}")
    return [Candidate(n, n, source) for n in names if chosen in (None, n)]


def _told_apart(found: list[Candidate]) -> list[Candidate]:
    """Cells of one name are called after their files; several of such a file after both; where these are the same too, after what they say."""
    for name in ("{file}", "{file}:{cell}", "{cell}@{key}"):
        several = Counter(c.label for c in found)
        found = [replace(c, label=name.format(file=Path(c.source.name).stem, cell=c.cell, key=c.key)) if several[c.label] > 1 and c.source else c for c in found]
    return found
