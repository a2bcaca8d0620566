"""Whether two generated texts are the same but for the names in them: whether no name of one stands for two things in the other."""

import ast
import re

_CPP = re.compile(r'//[^\n]*|"(?:[^"\\\n]|\\.)*"|[^\W\d]\w*|\d[\w.]*|\s+|.', re.S)
_NAME = re.compile(r"[^\W\d]\w*")


def _cpp_tokens(text: str) -> list[str]:
    """The tokens of C++, without comments; what stands behind a dot or `::` has it in front, but for members that are called after what is of the program,
    whose names end in `_`."""
    found: list[str] = []
    for t in _CPP.findall(text):
        if not t.isspace() and not t.startswith("//"):
            found.append("." + t if found[-1:] in (["."], [":"]) and not t.endswith("_") else t)
    return found


def _python_tokens(function: ast.FunctionDef) -> list[str]:
    """What a function of Python is made of, without what its strings say; attributes and the names of keyword arguments are marked, and
    those of the methods that a recurrence is called by are left out."""
    found: list[str] = []
    for node in ast.walk(function):
        match node:
            case ast.Name():
                found.append(node.id)
            case ast.arg():
                found.append(node.arg)
            case ast.Attribute():
                found.append("." + re.sub("^_(step|enter|exit)_.*", r"_\1_", node.attr))
            case ast.keyword() if node.arg:
                found.append(f"={'' if function.name == '__init__' else node.arg}")
            case ast.Constant():
                found.append("'" if isinstance(node.value, str) else f"'{node.value}")
            case _:
                found.append(f"<{type(node).__name__}>")
    return found


def functions(language: str, text: str) -> dict[str, list[str]]:
    """What each function of a file is made of, in `cpp`, `triton` or `python`, by its name and number."""
    if language == "cpp":
        parts = [_cpp_tokens(part) for part in re.split(r"(?m)^(?=EXPORT )", text)]
        return {f"{' '.join(tokens[:3])} {i}": tokens for i, tokens in enumerate(parts)}
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    return {f"{f.name} {i}": _python_tokens(f) for i, f in enumerate(found)}


def clash(before: list[str], after: list[str]) -> str | None:
    """Where two lists of tokens are not the same but for the names in them; None where they are."""
    there: dict[str, str] = {}
    back: dict[str, str] = {}
    for a, b in zip(before, after, strict=False):
        if not (_NAME.fullmatch(a) and _NAME.fullmatch(b)):
            if a != b:
                return f"`{a}` became `{b}`"
        elif there.setdefault(a, b) != b:
            return f"`{a}` became `{there[a]}` and `{b}`"
        elif back.setdefault(b, a) != a:
            return f"`{back[b]}` and `{a}` both became `{b}`"
    return None if len(before) == len(after) else f"{len(before)} and {len(after)} tokens"


def clashes(language: str, before: str, after: str) -> list[str]:
    """Every function of two texts of a language that is not the same but for the names in it."""
    mine, theirs = functions(language, before), functions(language, after)
    if len(mine) != len(theirs):
        return [f"{len(mine)} and {len(theirs)} functions"]
    return [f"{name}: {problem}" for (name, a), b in zip(mine.items(), theirs.values(), strict=True) if (problem := clash(a, b))]
