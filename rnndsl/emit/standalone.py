"""The runtime as one text, for a module that needs torch alone: its files one after the other, without what they import of each other."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
FILES = (  # each after those that it imports
    "scalars.py", "runtime/sizes.py", "runtime/dtypes.py", "runtime/ops.py", "runtime/initialise.py", "runtime/arguments.py", "runtime/params.py",
    "runtime/call.py", "runtime/backend.py", "runtime/reference.py", "runtime/absent.py", "runtime/traced.py", "runtime/choice.py", "runtime/seen.py", "runtime/sharded.py",
    "runtime/layer.py",
)  # fmt: skip


@dataclass(frozen=True)
class Runtime:
    """Definitions, and the lines that import what they and the module's classes need."""

    imports: tuple[str, ...]
    text: str


def runtime(classes: set[str]) -> Runtime:
    """The runtime; what it calls its own by a name of one of the module's classes makes way. No public name of it is the name of a class."""
    imported: dict[str, set[str]] = {"typing": {"NamedTuple"}}  # by module; "" for a module imported as a whole
    bodies, own = [], set()
    for file in FILES:
        text = (_PACKAGE / file).read_text(encoding="utf-8")
        lines = text.split("\n")
        tree = ast.parse(text)
        for node in tree.body:
            match node:
                case ast.Import(names=names):
                    imported.setdefault("", set()).update(map(ast.unparse, names))
                case ast.ImportFrom(module=str(module), names=names):
                    if not module.startswith("rnndsl."):
                        imported.setdefault(module, set()).update(map(ast.unparse, names))
                case ast.Expr() if node is tree.body[0]:  # the docstring
                    pass
                case _:
                    own |= _bound(node)
                    continue
            for i in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[i] = ""
        bodies.append("\n".join(lines).strip("\n"))
    return Runtime(_import_lines(imported), _making_way("\n\n\n".join(bodies), own & classes, classes))


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement at the top of a file gives a meaning."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _making_way(text: str, names: set[str], classes: set[str]) -> str:
    """The text with other names in place of these; the words in comments and formatted strings change with them."""
    for name in sorted(names):
        other = f"{name}_"
        while re.search(rf"\b{other}\b", text) or other in classes:
            other += "_"
        text = re.sub(rf"\b{name}\b", other, text)
    return text


def _import_lines(imported: dict[str, set[str]]) -> tuple[str, ...]:
    """Python's own modules first, then torch's."""
    lines = [f"import {name}" for name in sorted(imported.get("", ()))]
    lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(imported.items()) if module]
    return ("", *(line for line in lines if "torch" not in line), "", *(line for line in lines if "torch" in line))
