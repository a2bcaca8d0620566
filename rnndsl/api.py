"""The public functions: check, format, compile, load, explain, verify. Text or a path goes in; diagnostics, source or classes come out."""

import hashlib
import importlib.util
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
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
    if len(text_or_path) > MAX_BYTES:
        raise _too_large(name or "<string>")
    return Source(name or "<string>", normalised(text_or_path))


def check(text_or_path: str | Path, name: str | None = None) -> list[Diagnostic]:
    """Everything wrong with a program, errors and warnings, in the order of the text; empty where nothing is.

    Errors are those of the first stage that fails. Raises OSError where the file cannot be read.
    """
    try:
        return list(compiler.checked(as_source(text_or_path, name)).warnings)
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
    source = as_source(text_or_path, name)
    program = compiler.checked(source).program
    require_cells(program)
    return compiler.module(program, standalone)


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
    require_cells(compiler.checked(source).program)
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

    The generated module lies in a temporary folder until Python ends, so that tracebacks show its lines; the same program
    gives the same module. Raises RnnError for a wrong program, OSError where the file cannot be read.
    """
    source = as_source(text_or_path, name)
    text = compile(source.text, source.name)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    module_name = f"rnndsl_cells_{digest}"
    with _loading:
        if module_name in sys.modules:
            return sys.modules[module_name]
        path = Path(_folder().name) / f"{module_name}.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        _show_in_notebooks(module, source)
        return module


def _show_in_notebooks(module: ModuleType, source: Source) -> None:
    """Layers of a loaded module show their cell's page in a notebook; it is made when it is asked for."""

    def shown(cell: str, form: str) -> Callable[[Any], str]:
        def show(layer: Any) -> str:
            from rnndsl.tools.explain import explain

            return getattr(explain(source, cell, sizes=dict(layer._sizes)), form)()

        return show

    for cell in compiler.checked(source).program.cells:
        if isinstance(found := getattr(module, cell.name, None), type):
            for form in ("_repr_html_", "_repr_latex_"):
                setattr(found, form, shown(cell.name, form))


_loading = threading.RLock()


@cache
def _folder() -> tempfile.TemporaryDirectory:
    """Where loaded modules lie; removed when Python ends."""
    return tempfile.TemporaryDirectory(prefix="rnndsl-")

