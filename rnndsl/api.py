"""The public functions: check, format, compile, load, explain, verify. Text or a path goes in; diagnostics, source or classes come out."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from rnndsl import compiler
from rnndsl.diagnostics import Collector, Diagnostic, RnnError, Source, Span
from rnndsl.files import read_file

MAX_BYTES = 4_000_000


def read_source(path: str | Path) -> Source:
    """The program in a file. Raises RnnError where it is not UTF-8 text, OSError where it cannot be read."""
    path = Path(path)
    return decode(read_file(path, MAX_BYTES), path.name)


def decode(data: bytes, name: str) -> Source:
    """A program from bytes: UTF-8, any newline. Raises RnnError with the place of the first byte that is no text."""
    if len(data) > MAX_BYTES:
        raise _too_large(name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        before = data[: e.start].decode("utf-8", errors="replace")
        text = normalised(data.decode("utf-8", errors="replace"))
        at = len(normalised(before))
        title = f"byte 0x{data[e.start]:02x} is not UTF-8 text"
        hint = "save the file in the encoding UTF-8"
        raise RnnError(Source(name, text), [Diagnostic("encoding", title, Span(at, at + 1), "not a character", hints=(hint,))]) from None
    return Source(name, normalised(text))


def _too_large(name: str) -> RnnError:
    title = f"a program of more than {MAX_BYTES} bytes is too large"
    return RnnError(Source(name, ""), [Diagnostic("too-large", title, Span(0, 0), f"at most {MAX_BYTES} bytes")])


def normalised(text: str) -> str:
    """Text without a byte-order mark and with `\\n` for every newline."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def as_source(text_or_path: str | Path, name: str | None = None) -> Source:
    """A program from its text, or from a file where given a Path or a one-line string that ends in `.rnn`."""
    if not isinstance(text_or_path, str | Path):
        raise TypeError(f"expected the text of a program, or its path, got {type(text_or_path).__name__}")
    if isinstance(text_or_path, Path) or ("\n" not in text_or_path and text_or_path.endswith(".rnn")):
        return read_source(text_or_path)
    return as_program(text_or_path, name or "<string>")


def as_program(text: str, name: str) -> Source:
    """A program from its text, whatever that looks like. Raises RnnError where it is too large."""
    if len(text) > MAX_BYTES:
        raise _too_large(name)
    return Source(name, normalised(text))


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
    return module_of(as_source(text_or_path, name), standalone)


def module_of(source: Source, standalone: bool = False) -> str:
    """What `compile` returns, of a program."""
    result = compiler.compiled(source)
    require_cells(result.program)
    return result.module(standalone)


def require_cells(program: Any) -> None:
    """Raises RnnError where a program holds no cell."""
    if not program.cells:
        out = Collector(program.source)
        end = len(program.source.text.rstrip())
        hint = "a header reads `cell NAME(D, H):`"
        out.error("no-cell", "there is no cell to compile", Span(end, end + 1), "the program ends here", hint=hint)
        out.stop_if_any()


def explain(
    text_or_path: str | Path,
    cell: str | None = None,
    name: str | None = None,
    *,
    shape: tuple[int, int] | None = None,
    sizes: dict[str, int] | None = None,
) -> Any:
    """What the compiler finds in a program's cells, or in the one called `cell`; it prints as a page and shows itself in a notebook.

    The result has `text`, `data` (plain data), `latex`, and `cells`, each with a `picture(path)`. shape: sequences and steps of
    a call, for the schedule; sizes: `{"H": 256}`, for numbers in place of formulas. Raises RnnError for a wrong program,
    ValueError for a cell, shape or size that does not fit it.
    """
    from rnndsl.tools.explain import explain

    source = as_source(text_or_path, name)
    require_cells(compiler.compiled(source).program)
    return explain(source, cell, shape, sizes)


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

    The result has `passed`, `text`, `data` (plain data) and `cells`. backends: of reference, cpu and triton; those that can run the cell
    here if None. dtypes: of the inputs. sizes: `{"H": 33}`; small odd ones where none is given. seed: of weights and inputs. Raises
    RnnError for a wrong program, ValueError for a cell, size, backend or dtype that does not fit.
    """
    from rnndsl.tools.verify.run import verify
    from rnndsl.tools.verify.settings import Settings

    settings = Settings(sizes or {}, None if backends is None else tuple(backends), tuple(dtypes), seed)
    return verify(as_source(text_or_path, name), cell, settings, lambda *_: None)


def load(text_or_path: str | Path, name: str | None = None) -> ModuleType:
    """The classes of a program, as attributes of a module: `load("gru.rnn").GRU`.

    The same program gives the same module. Its classes, layers and states can be pickled: what is stored is the program, which is compiled again
    where it is read. Raises RnnError for a wrong program, OSError where the file cannot be read.
    """
    from rnndsl.programs import module_name

    return importlib.import_module(module_name(as_source(text_or_path, name)))
