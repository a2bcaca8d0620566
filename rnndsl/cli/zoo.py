"""`rnndsl zoo`: lists the published cells that come along, or copies the program of one."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from rnndsl.cli.output import failed, write
from rnndsl.cli.progress import Progress
from rnndsl.cli.status import JSON_VERSION, Misuse
from rnndsl.cli.terminal import width
from rnndsl.files import write_new


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "zoo",
        help="list the published cells that come along, or copy the program of one",
        description="Lists the published cells that come along: name, year, family of the recurrence, purpose. In Python each is a class: rnndsl.zoo.GRU. "
        "`copy` writes the program of one, to change.",
        epilog="examples:\n  rnndsl zoo\n  rnndsl zoo attention spiking    those with these words in their paper or purpose\n"
        "  rnndsl zoo copy GRU             writes gru.rnn\n  rnndsl zoo copy GRU -o mine.rnn\n",
    )
    p.add_argument("words", nargs="*", metavar="WORD", help="list those with one of these words; copy NAME copies the program of a cell")
    p.add_argument("-o", "--output", metavar="OUT", help="copy: where to write the program; - for standard output")
    p.add_argument("--json", action="store_true", help="print plain data")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Lists or copies."""
    if options.words[:1] == ["copy"]:
        return _copy(options)
    if options.output:
        raise Misuse("-o goes with copy NAME: rnndsl zoo copy GRU -o mine.rnn")
    from rnndsl import zoo

    wanted = [w.lower() for w in options.words]
    found = [e for e in zoo.entries() if not wanted or any(w in f"{e.name} {e.stem} {e.paper} {e.purpose}".lower() for w in wanted)]
    if not found:
        raise Misuse(f"no cell of the zoo mentions {' or '.join(options.words)}; `rnndsl zoo` lists all of them")
    families = _families(found)
    if options.json:
        cells = [
            {"name": e.name, "file": e.path.name, "year": e.year, "family": family, "paper": e.paper, "arxiv": e.arxiv, "purpose": e.purpose}
            for e, family in zip(found, families, strict=True)
        ]
        print(json.dumps({"version": JSON_VERSION, "cells": cells}, indent=2))
    else:
        write(_listing(found, families, width(sys.stdout)))
    return 0


def _copy(options: Namespace) -> int:
    from rnndsl import zoo

    if len(options.words) != 2:
        raise Misuse("copy takes the name of one cell: rnndsl zoo copy GRU")
    try:
        entry = zoo.entry(options.words[1])
    except KeyError:
        raise Misuse(f"there is no cell {options.words[1]} in the zoo{zoo._meant(options.words[1])}; `rnndsl zoo` lists them") from None
    if options.output == "-":
        write(entry.text)
        return 0
    path = Path(options.output or entry.path.name)
    try:
        write_new(path, entry.text.encode())
    except FileExistsError:
        raise Misuse(f"{path} exists already; name another file with -o") from None
    except OSError as e:
        raise Misuse(failed(path, e)) from None
    print(f"wrote {path}; next: rnndsl explain {quote(str(path))}")
    return 0


def _families(found: Sequence[Any]) -> list[str]:
    """The family of each cell's recurrences, as the compiler finds it."""
    from rnndsl import compiler
    from rnndsl.api import read_source

    progress = Progress()
    families = []
    try:
        for i, e in enumerate(found):
            progress("families", e.name, i, len(found))
            (system,) = compiler.compiled(read_source(e.path)).systems
            families.append(", ".join(dict.fromkeys(c.family for c in system.components)))
    finally:
        progress.clear()
    return families


def _listing(found: Sequence[Any], families: Sequence[str], columns: int) -> str:
    """A line a cell, cut to the columns."""
    rows = [("cell", "year", "family", "for"), *((e.name, str(e.year), f, e.summary) for e, f in zip(found, families, strict=True))]
    wide = [max(len(r[i]) for r in rows) for i in range(3)]
    lines = []
    for *facts, purpose in rows:
        line = "  ".join(f"{fact:<{w}}" for fact, w in zip(facts, wide, strict=True)) + f"  {purpose}"
        lines.append(line if len(line) <= columns else line[: columns - 1] + "…")
    return "\n".join([*lines, "", f"{len(found)} cell{'s' * (len(found) != 1)}; in Python: rnndsl.zoo.{found[0].name}; as a program: rnndsl zoo copy {found[0].name}"]) + "\n"
