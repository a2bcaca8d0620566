"""Identifiers found in generated text, and programs that use them as names of their own."""

import keyword
import random
import re
from functools import cache
from pathlib import Path

from rnndsl import compiler
from rnndsl.checks.attributes import CONSTRUCTOR_ARGUMENTS, LAYER_ATTRIBUTES
from rnndsl.diagnostics import Source
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import KEYWORDS, TIME
from rnndsl.syntax.parser import parse, tokens_of

ROOT = Path(__file__).resolve().parent.parent
_RICH = ("gru", "para_lstm", "rhn", "slstm", "lru", "lif", "m2rnn", "zoo/sru", "zoo/gru_d", "zoo/linoss", "zoo/kalman")  # every kind of kernel
_FIXED = ("rnndsl/runtime/cpp/*.h", "rnndsl/runtime/triton/*.py", "rnndsl/runtime/ops.py", "templates/*.jinja", *(f"templates/{of}/**/*.jinja" for of in ("c", "cpp", "triton")))


def texts_of(text: str) -> dict[str, str]:
    """What is generated of a program, by language: cpp, triton, python."""
    found = compiler.compiled(Source("c.rnn", text))
    return {
        "cpp": "\n".join(c["cpu"].text for c in found.carried),
        "triton": "\n".join(c["triton"].text for c in found.carried),
        "python": found.module().partition("\n# The program as it stands")[0],  # what is behind is one string
    }


def identifiers(text: str) -> set[str]:
    """Every word of a text that could be an identifier."""
    return set(re.findall(r"[^\W\d]\w*", text))


def may_be_named(name: str) -> bool:
    """Whether anything of a program may have this name: a local, a state, an input."""
    return name.isidentifier() and name not in KEYWORDS and name not in FUNCTIONS and name != TIME


def may_be(role: str, name: str) -> bool:
    """Whether what has a role (header, param, const, input, state, noise, local, function) may have this name."""
    if role == "header" and (name in CONSTRUCTOR_ARGUMENTS or keyword.iskeyword(name)):
        return False
    return may_be_named(name) and not (role in ("param", "const", "header") and (name in LAYER_ATTRIBUTES or name.startswith("__")))


def harvested(text: str) -> tuple[str, ...]:
    """Identifiers in what is generated of a program that could be names in one."""
    found = set().union(*map(identifiers, texts_of(text).values()))
    return tuple(sorted(filter(may_be_named, found)))


@cache
def pool() -> tuple[str, ...]:
    """Identifiers of the generated text of cells of every kind, of the templates and of the headers, that could be names in a program."""
    found: set[str] = set()
    for name in _RICH:
        found.update(harvested((ROOT / "examples" / f"{name}.rnn").read_text(encoding="utf-8")))
    for pattern in _FIXED:
        for path in ROOT.glob(pattern):
            found.update(filter(may_be_named, identifiers(path.read_text(encoding="utf-8"))))
    return tuple(sorted(found))


def roles_of(text: str) -> dict[str, str]:
    """The role of each name that a program declares or assigns; of all its cells and functions together."""
    found: dict[str, str] = {}
    file = parse(Source("c.rnn", text))
    for function in file.functions:
        found[function.name.id] = "function"
        found.update({p.id: "local" for p in function.parameters})
    for cell in file.cells:
        found.update({h.name.id: "header" for h in cell.header})
        statements = list(cell.statements)
        for s in statements:
            match s:
                case ast.Declaration():
                    found.update({n.id: s.role for n in s.names})
                case ast.Repeat():
                    found[s.variable.id] = "local"
                    statements.extend(s.body)
                case ast.Assign():
                    for target in s.targets:
                        found.setdefault(target.name.id, "local")
                case ast.Output():
                    for r in s.returned:
                        found.setdefault(r.name.id, "output")
    return found


def renamed(text: str, names: dict[str, str]) -> str:
    """A program with some names in place of others, changed where a token is a name of the program."""
    parts, at, before = [], 0, ""
    for token in tokens_of(text):
        start, end = token.start_pos, token.end_pos
        if token.type == "NAME" and before not in (".", "~") and str(token) in names:
            parts += [text[at:start], names[str(token)]]
            at = end
        before = str(token)
    return "".join([*parts, text[at:]])


def assignment(text: str, words: tuple[str, ...], seed: int, roles: tuple[str, ...] = (), share: float = 1.0) -> dict[str, str]:
    """New names for a share of a program's names, of some roles alone where any are given: each gets a word that it may have and that no
    other name has, for sizes in their order, which the text of a product of sizes follows."""
    rng = random.Random(seed)
    mine = roles_of(text)
    chosen = [n for n, role in mine.items() if (not roles or role in roles) and (role == "header" or rng.random() < share)]
    free = [w for w in words if w not in mine]
    found: dict[str, str] = {}
    for name in chosen:
        fitting = [w for w in free if may_be(mine[name], w)]
        if fitting:
            found[name] = rng.choice(fitting)
            free.remove(found[name])
    sizes = sorted(n for n in found if mine[n] == "header")
    return found | dict(zip(sizes, sorted(found[n] for n in sizes), strict=True))


def assignments(text: str, seed: int = 0) -> list[dict[str, str]]:
    """Ways to rename a program: what others' names were made into goes to params, to what changes by the step, to the header, to all."""
    own = tuple(w for w in harvested(text) if "_" in w or len(w) > 2) or pool()
    return [
        assignment(text, own, seed, ("param", "const", "noise")),
        assignment(text, own, seed + 1, ("state", "input", "local", "function", "output")),
        assignment(text, pool(), seed + 2, ("header", "param", "local"), 0.7),
        assignment(text, pool(), seed + 3),
    ]
