"""The file that a program's module goes to."""

import keyword
import sys
from pathlib import Path

from rnndsl.cli.output import failed
from rnndsl.cli.status import Misuse
from rnndsl.files import write_whole
from rnndsl.origin import is_made


def module_path(program: Path) -> Path:
    """Where the module of a program goes: beside it, under a name that Python can import."""
    stem = "".join(c if c.isalnum() or c == "_" else "_" for c in program.stem)
    if not stem.isidentifier():
        stem = f"cell_{stem}"
    if keyword.iskeyword(stem) or stem in sys.stdlib_module_names or stem in ("torch", "rnndsl"):
        stem += "_"  # random.py would hide Python's own module from whatever stands beside it
    return program.with_name(f"{stem}.py")


def write_module(out: Path, text: str) -> None:
    """Writes a module. Raises Misuse where it cannot, and where it would overwrite a file that was not made here."""
    try:
        if out.is_file() and out.stat().st_size:
            with out.open(encoding="utf-8", errors="replace") as there:
                first = there.readline(1000).removesuffix("\n")
                if not (first.startswith("# ") and is_made(first[2:])):
                    raise Misuse(f"{out} exists and was not made by rnndsl; name another file with -o")
        write_whole(out, text.encode())
    except (OSError, RuntimeError) as e:  # RuntimeError: links that lead in a circle
        raise Misuse(failed(out, e) if isinstance(e, OSError) else f"{out}: {e}".lower()) from None
