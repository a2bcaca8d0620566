"""The programs that a command line names: read, checked, and each in turn."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rnndsl import compiler
from rnndsl.checks import require_cells
from rnndsl.checks.cell import Cell
from rnndsl.cli.output import Found, complain, failed, report, shown
from rnndsl.cli.status import ERRORS, MISUSE, Misuse
from rnndsl.diagnostics import RnnError, Source
from rnndsl.files import read_file, read_stream
from rnndsl.reading import MAX_BYTES, decode
from rnndsl.tools import Unfit

Read = TypeVar("Read")


def take_file(p: ArgumentParser, several: bool = False) -> None:
    """The argument that names the program of a command, or its programs."""
    p.add_argument("files" if several else "file", nargs="+" if several else None, metavar="FILE", help="a .rnn file, or - for standard input")


def take_cell(p: ArgumentParser) -> None:
    """The option by which `chosen_cell` chooses."""
    p.add_argument("--cell", metavar="NAME", help="this cell; needed where the file has several")


def read(name: str) -> Source:
    """The program in a file, or on standard input for `-`. Raises Misuse where it cannot be read, RnnError where it is no text."""
    return decode(read_bytes(name), "<stdin>" if name == "-" else Path(name).name)


def read_bytes(name: str) -> bytes:
    """What a file holds, up to the limit. Raises Misuse where it cannot be read."""
    if name == "-" and sys.stdin is None:
        raise Misuse("standard input is closed")
    try:
        return read_stream(sys.stdin.buffer, MAX_BYTES) if name == "-" else read_file(name, MAX_BYTES)
    except IsADirectoryError:
        hint = "" if name == "-" else f"; name the files in it, as in {Path(name) / '*.rnn'}"
        raise Misuse(f"{'standard input' if name == '-' else name}: is a directory{hint}") from None
    except FileNotFoundError as e:
        raise Misuse(failed(name, e) + _beside(Path(name))) from None
    except OSError as e:
        raise Misuse(failed("standard input" if name == "-" else name, e)) from None
    except ValueError as e:  # a NUL in the name
        raise Misuse(f"{name!r}: {e}") from None


def _beside(path: Path) -> str:
    """The program in the same folder whose name is most like one that is not there."""
    from difflib import get_close_matches

    names = {p.stem: p.name for p in path.parent.glob("*.rnn") if p.exists()}
    near = get_close_matches(path.stem, names, n=1)
    return f"; did you mean {path.with_name(names[near[0]])}?" if near else ""


def checked(name: str) -> tuple[compiler.Compiled, list[Found]]:
    """A checked program and its warnings. Raises Misuse where it cannot be read, RnnError where it is wrong."""
    result = compiler.compiled(read(name))
    return result, shown(name, result.warnings, result.program.source.text)


def chosen_cell(source: Source, name: str | None) -> Cell:
    """The cell of that name, or the only one. Raises Unfit where that is none, RnnError for a wrong program."""
    program = compiler.compiled(source).program
    require_cells(program)
    names = [c.name for c in program.cells]
    if name is not None and name not in names:
        raise Unfit(f"there is no cell {name}; there is {', '.join(names)}")
    if name is None and len(names) > 1:
        raise Unfit(f"there are several cells; choose one with --cell: {', '.join(names)}")
    return program.cells[names.index(name) if name is not None else 0]


def each(options: Namespace, read: Callable[[str], tuple[Read, list[Found]]], act: Callable[[str, Read], None]) -> int:
    """Reads each program and acts on the good ones; then reports on all of them, and returns the exit status. A bad one hides no other."""
    if options.files.count("-") > 1:
        raise Misuse("- stands for standard input and can be given once")
    found: list[Found] = []
    misuses: list[Misuse] = []
    for name in options.files:
        try:
            result, warnings = read(name)
            found.extend(warnings)
            act(name, result)
        except RnnError as e:
            found.extend(shown(name, e.diagnostics, e.source.text))
        except Misuse as e:
            misuses.append(e)
    report(found, options.json)
    for misuse in misuses:
        complain(misuse)
    return MISUSE if misuses else ERRORS if any(d.severity == "error" for d, _ in found) else 0
