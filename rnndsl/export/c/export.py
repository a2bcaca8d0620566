"""`rnndsl.export_c`: a layer as a C header in a file."""

import errno
from pathlib import Path
from typing import Any

from rnndsl.export.c.header import header
from rnndsl.export.c.report import Report, report
from rnndsl.files import write_whole
from rnndsl.origin import MADE


def export_c(layer: Any, path: str | Path, prefix: str | None = None, *, real: str = "float", int8: bool = False) -> Report:
    """Writes the step of a layer as one C99 header, with its weights as they are now: `PREFIX_state`, `PREFIX_init`, `PREFIX_step` and a self-test.

    layer: of a generated class, or a `rnndsl.nn.Recurrent` of several that runs forwards. path: the file, `NAME.h`, or a folder, made where there is none, in
    which it is called after its prefix. prefix: what all names in it begin with; the cell's name in snake case if None. real: `float` or `double`. int8:
    whether matrices are stored as whole numbers with a scale a row. Returns what it takes, which prints as lines. Raises TypeError or ValueError for what
    cannot be exported, RnnError with the place in the program for an equation that C has no form for, OSError where the file cannot be written, or was not
    made here.
    """
    made = header(layer, prefix, real, int8)
    file = Path(path)
    if file.suffix != ".h":
        file.mkdir(parents=True, exist_ok=True)
        file = file / f"{made.prefix}.h"
    if file.is_file() and file.stat().st_size and not file.read_bytes()[:100].startswith(f"/* {MADE}".encode()):
        raise FileExistsError(errno.EEXIST, "exists and was not made by rnndsl", str(file))
    write_whole(file, made.text.encode())
    return report(file, made)
