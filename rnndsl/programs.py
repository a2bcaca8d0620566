"""The modules of `rnndsl.load`: `rnndsl.programs.` and a name that spells the whole program, so that importing one compiles it.

Pickles name a class by its module. So whatever holds such a class, a layer, a state, can be read in any process that has rnndsl, and holds the
text of the program alone: it is compiled there, by the same compiler, with the same checks.
"""

import base64
import binascii
import hashlib
import importlib
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from rnndsl.diagnostics import Source

__path__: list[str] = []  # a package whose modules come from the finder below


def module_name(source: Source) -> str:
    """The module of a program."""
    spelt = base64.b32encode(f"{source.name}\0{source.text}".encode(errors="surrogatepass")).decode()
    return f"{__name__}.{spelt.rstrip('=').lower()}"


def load(source: Source) -> ModuleType:
    """The module of a program, whose classes are its cells. Raises RnnError for a wrong program."""
    return importlib.import_module(module_name(source))


def program_of(name: str) -> Source | None:
    """The program that the name of a module spells, if it spells one."""
    spelt = name.removeprefix(f"{__name__}.").upper()
    try:
        file, _, text = base64.b32decode(spelt + "=" * (-len(spelt) % 8)).decode(errors="surrogatepass").partition("\0")
    except (binascii.Error, ValueError):
        return None
    source = Source(file, text)
    return source if module_name(source) == name else None


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Compiles a program. Raises RnnError where it is wrong, ImportError where rnndsl's compiler is not installed."""
        source = program_of(fullname) if fullname.startswith(f"{__name__}.") else None
        if source is None:
            return None
        try:
            from rnndsl import compiler
            from rnndsl.checks import require_cells
            from rnndsl.reading import as_program
        except ImportError as e:
            raise ImportError(f"a program of rnndsl.load is compiled where it is used, which needs all of rnndsl: {e}", name=fullname) from e
        result = compiler.compiled(as_program(source.text, source.name))
        require_cells(result.program)
        file = Path(_folder().name) / f"rnndsl_cells_{hashlib.sha256(fullname.encode()).hexdigest()[:16]}.py"
        file.write_text(result.module(), encoding="utf-8")
        cells = tuple(c.name for c in result.program.cells)
        return spec_from_file_location(fullname, file, loader=_Loader(fullname, str(file), source, cells))


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: Source, cells: tuple[str, ...]):
        super().__init__(fullname, path)
        self.program, self.cells = source, cells

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _show_in_notebooks(module, self.program, self.cells)


@cache
def _folder() -> tempfile.TemporaryDirectory:
    """Where the text of modules lies, so that tracebacks show its lines; removed when Python ends."""
    return tempfile.TemporaryDirectory(prefix="rnndsl-")


def _show_in_notebooks(module: ModuleType, source: Source, cells: tuple[str, ...]) -> None:
    """Layers of a loaded module show their cell's page in a notebook; it is made when it is asked for."""

    def shown(cell: str, form: str) -> Callable[[Any], str]:
        def show(layer: Any) -> str:
            from rnndsl import compiler
            from rnndsl.tools.explain import explain

            return getattr(explain(compiler.compiled(source), cell, sizes=dict(layer._sizes)), form)()

        return show

    for cell in cells:
        for form in ("_repr_html_", "_repr_latex_"):
            setattr(getattr(module, cell), form, shown(cell, form))


sys.meta_path.append(_Finder())
