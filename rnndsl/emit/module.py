"""Plans and kernels -> the text of one Python module."""

import re
from collections.abc import Sequence

from rnndsl.backends import NAMES
from rnndsl.checks.attributes import MODULE_NAMES
from rnndsl.diagnostics import Source
from rnndsl.emit.carried import Carried
from rnndsl.emit.cell_text import cell_text
from rnndsl.emit.naming import RESERVED, Names
from rnndsl.emit.standalone import runtime
from rnndsl.emit.templates import rendered
from rnndsl.kernel.build import CellKernels
from rnndsl.origin import made_from
from rnndsl.runtime_names import RUNTIME_NAMES
from rnndsl.source import printable


def module_text(kernels: Sequence[CellKernels], carried: Sequence[dict[str, Carried]], source: Source, standalone: bool = False) -> str:
    """A Python module with one class a cell; `standalone` puts the runtime into it, so that it needs torch alone."""
    class_names = Names(RESERVED | MODULE_NAMES)
    for k in kernels:  # a cell keeps its name; its named tuples make way
        name = k.plan.cell.name
        class_names.keep(("cell", name), name)
    cells = [cell_text(*made, source, class_names, standalone) for made in zip(kernels, carried, strict=True)]
    used = {"bind_kernels", "bind_program", *(name for c in cells for name in c.used)}
    classes = {name for c in cells for name in (c.name, c.state_class, c.output_class) if name}
    own = runtime(classes) if standalone else None
    lines = (line for c in cells for line in [*c.run, *c.initial, *c.declare, *(m for method in c.methods for m in method)])
    imports = own.imports if own else _imports(used, any("torch." in line for line in lines))
    text = rendered(
        "module.py.jinja", made=made_from(printable(source.name)), imports=imports, runtime=own.text if own else "", absent=NAMES, cells=cells, standalone=standalone,
        file=repr(source.name), program=[repr(line) for line in source.text.splitlines(keepends=True)] or ["\"\""],
    )  # fmt: skip
    return re.sub(r"[ \t]+\n", "\n", text).rstrip("\n") + "\n"


def _imports(used: set[str], torch: bool) -> list[str]:
    lines = ["", *(["import math"] if "math" in used else []), "from typing import NamedTuple", ""]
    if torch:
        lines.append("import torch")
    lines.append("from torch import Tensor")
    if "F" in used:
        lines.append("from torch.nn import functional as F")
    names = sorted(used & RUNTIME_NAMES, key=lambda n: (n.lower() == n, n))
    line = f"from rnndsl.runtime import {', '.join(names)}"
    if len(line) <= 110:
        return [*lines, "", line]
    return [*lines, "", "from rnndsl.runtime import (", *(f"    {n}," for n in names), ")"]
