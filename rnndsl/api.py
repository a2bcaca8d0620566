"""The public functions: check, format, compile, load, explain, verify. Text or a path goes in; diagnostics, source or classes come out."""

from pathlib import Path
from types import ModuleType
from typing import Any

from rnndsl import compiler
from rnndsl.checks import require_cells
from rnndsl.diagnostics import Diagnostic, RnnError
from rnndsl.reading import MAX_BYTES, as_source, decode, normalised, read_source


def check(text_or_path: str | Path, name: str | None = None) -> list[Diagnostic]:
    """Everything wrong with a program, errors and warnings, in the order of the text; empty where nothing is.

    Errors are those of the first stage that fails. Raises OSError where the file cannot be read.
    """
    try:
        return list(compiler.compiled(as_source(text_or_path, name)).warnings)
    except RnnError as e:
        return e.diagnostics


def format(text_or_path: str | Path, name: str | None = None) -> str:
    """A program in the canonical style, as text; only its blanks and line ends change.

    Raises RnnError for syntax errors, OSError where the file cannot be read.
    """
    from rnndsl.syntax.formatter import formatted

    return formatted(as_source(text_or_path, name))


def compile(text_or_path: str | Path, name: str | None = None, *, standalone: bool = False) -> str:
    """The Python module that a program becomes, as text: a class a cell.

    standalone: a module that needs torch alone, without rnndsl. Raises RnnError for a wrong program or one without a cell.
    """
    result = compiler.compiled(as_source(text_or_path, name))
    require_cells(result.program)
    return result.module(standalone)


def explain(
    text_or_path: str | Path,
    cell: str | None = None,
    name: str | None = None,
    *,
    shape: tuple[int, int] | None = None,
    sizes: dict[str, int] | None = None,
    ranks: int | None = None,
) -> Any:
    """What the compiler finds in a program's cells, or in the one called `cell`; it prints as a page and shows itself in a notebook.

    The result has `text`, `data` (plain data), `latex`, and `cells`, each with a `picture(path)`. shape: sequences and steps of
    a call, for the schedule; sizes: `{"H": 256}`, for numbers in place of formulas; ranks: how
    many share the time of a call, for what they send (needs torch, the shape and all sizes). Raises RnnError for a wrong program, ValueError for a cell, shape
    or size that does not fit it.
    """
    from rnndsl.tools.arguments import whole_number, whole_numbers
    from rnndsl.tools.explain import explain
    from rnndsl.tools.ranks import over_ranks

    result = compiler.compiled(as_source(text_or_path, name))
    require_cells(result.program)
    if shape is not None:
        shape = tuple(whole_number("shape", n) for n in shape)  # type: ignore[assignment]
    over = None if ranks is None else over_ranks(whole_number("ranks", ranks))
    return explain(result, cell, shape, whole_numbers(sizes), over)


def verify(
    text_or_path: str | Path,
    cell: str | None = None,
    name: str | None = None,
    *,
    backends: tuple[str, ...] | None = None,
    dtypes: tuple[str, ...] = ("float64", "float32", "bfloat16", "float16"),
    sizes: dict[str, int] | None = None,
    seed: int = 0,
) -> Any:
    """Checks the layers of a program's cells, or of the one called `cell`, on this machine; it prints as a page with a verdict a line.

    The result has `passed`, `text`, `data` (plain data) and `cells`. backends: of reference, cpu, triton and torch; those that can run the cell
    here if None. dtypes: of the inputs. sizes: `{"H": 33}`; small odd ones where none is given. seed: of weights and inputs. Raises
    RnnError for a wrong program, ValueError for a cell, size, backend or dtype that does not fit.
    """
    from rnndsl.tools.arguments import whole_numbers
    from rnndsl.tools.verify.run import verify
    from rnndsl.tools.verify.settings import Settings

    settings = Settings(whole_numbers(sizes), None if backends is None else tuple(backends), tuple(dtypes), seed)
    return verify(as_source(text_or_path, name), cell, settings, lambda *_: None)


def load(text_or_path: str | Path, name: str | None = None) -> ModuleType:
    """The classes of a program, as attributes of a module: `load("gru.rnn").GRU`.

    The same program gives the same module. Its classes, layers and states can be pickled: what is stored is the program, which is compiled again
    where it is read. Raises RnnError for a wrong program, OSError where the file cannot be read.
    """
    from rnndsl import programs

    return programs.load(as_source(text_or_path, name))


__all__ = [
    "MAX_BYTES", "as_source", "check", "compile", "decode", "explain", "format", "load", "normalised", "read_source", "verify",
]  # fmt: skip
