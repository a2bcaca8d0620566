"""The cells and functions of a file: each has a name of its own, and one that it may have."""

import keyword

from rnndsl.checks.attributes import MODULE_NAMES
from rnndsl.diagnostics import Collector, Related, Span
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import TIME


def check_items(file: ast.File, out: Collector) -> None:
    """Reports names that are taken, or reserved."""
    seen: dict[str, Span] = {}
    for item in file.items:
        what = "cell" if isinstance(item, ast.CellDef) else "function"
        name = item.name
        if name.id in FUNCTIONS and what == "function":
            out.error("reserved", f"`{name.id}` is a built-in function", name.span, "choose another name")
        elif name.id == TIME:
            out.error("reserved", "`t` is reserved for time", name.span, "choose another name")
        elif what == "cell" and (keyword.iskeyword(name.id) or name.id.startswith("__") or name.id in MODULE_NAMES):
            title = f"`{name.id}` cannot be the name of a cell"
            label = "the generated module needs this name" if name.id in MODULE_NAMES else "not a name for a Python class"
            out.error("reserved", title, name.span, label, hint=f"choose another name, such as `{name.id.strip('_').title()}Cell`")
        elif name.id in seen:
            out.error(
                "redeclared",
                f"`{name.id}` is defined twice",
                name.span,
                "defined again here",
                related=(Related(seen[name.id], "first defined here"),),
            )
        seen.setdefault(name.id, name.span)
