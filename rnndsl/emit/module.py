"""Plans -> the text of one Python module."""

import re

from rnndsl.checks.attributes import MODULE_NAMES
from rnndsl.diagnostics import Source
from rnndsl.emit.cell_text import cell_text
from rnndsl.emit.naming import RESERVED, Names
from rnndsl.emit.templates import rendered
from rnndsl.plan.ir import Plan
from rnndsl.resources import resource_folder
from rnndsl.runtime_names import RUNTIME_NAMES
from rnndsl.version import VERSION

_RUNTIME_PARTS = (
    "../scalars.py", "sizes.py", "dtypes.py", "ops.py", "initialise.py", "arguments.py", "params.py", "choice.py", "layer.py",
)  # fmt: skip


def module_text(plans: tuple[Plan, ...], source: Source, standalone: bool = False) -> str:
    """A Python module with one class a cell; `standalone` puts the runtime into it, so that it needs torch alone."""
    class_names = Names(RESERVED | MODULE_NAMES)
    for p in plans:  # a cell keeps its name; its named tuples make way
        class_names.keep(("cell", p.cell.name), p.cell.name)
    cells = [cell_text(p, source, class_names) for p in plans]
    used = {name for c in cells for name in c.used}
    classes = {name for c in cells for name in (c.name, c.state_class, c.output_class) if name}
    runtime, runtime_imports = _standalone_runtime(classes) if standalone else ("", [])
    imports = runtime_imports or _imports(
        used, any("torch." in line for c in cells for line in [*c.run, *c.initial, *c.declare, *(m for method in c.methods for m in method)])
    )
    name = "".join(c if c.isprintable() else " " for c in source.name)
    text = rendered(
        "module.py.jinja", version=VERSION, source=name, imports=imports, runtime=runtime, cells=cells, standalone=standalone
    )
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


def _standalone_runtime(classes: set[str]) -> tuple[str, list[str]]:
    """The runtime as one text, and its imports; what it calls its own by a name of one of the module's classes makes way."""
    folder = resource_folder("runtime")
    imports: list[str] = ["from typing import NamedTuple"]
    bodies: list[str] = []
    for part in _RUNTIME_PARTS:
        text = (folder / part).read_text(encoding="utf-8")
        text = re.sub(r'\A""".*?"""\n', "", text, flags=re.S)
        lines = text.split("\n")
        kept = []
        inside_import = False
        for line in lines:
            if inside_import:
                inside_import = not line.startswith(")")
                continue
            if line.startswith("from rnndsl"):
                inside_import = line.rstrip().endswith("(")
                continue
            if re.match(r"(import|from) ", line):
                imports.append(line)
                continue
            kept.append(line)
        bodies.append("\n".join(kept).strip("\n"))
    runtime = "\n\n\n".join(bodies)
    own = set(re.findall(r"(?m)^(?:class |def )?(_\w+)", runtime))
    for name in sorted(own & classes):
        other = f"{name}_"
        while re.search(rf"\b{other}\b", runtime) or other in classes:
            other += "_"
        runtime = re.sub(rf"\b{name}\b", other, runtime)
    standard = sorted({i for i in imports if "torch" not in i})
    torch = sorted({i for i in imports if "torch" in i})
    return runtime, ["", *standard, "", *torch]
