"""From names of the language to Python identifiers that clash with nothing the generated module uses."""

import builtins
import keyword
import re
from collections.abc import Callable

from rnndsl.runtime_names import RUNTIME_NAMES

# What the methods of a generated class call things that are no name of the program.
_OWN = {"torch", "F", "math", "Tensor", "NamedTuple", "self", "params", "inputs", "state", "initial", "reset", "lead", "kind", "products", "guess", "all_states", "call"}
RESERVED = frozenset(keyword.kwlist) | frozenset(dir(builtins)) | _OWN | RUNTIME_NAMES
_NO_PART = re.compile(r"[^\w\u0300-\u036f]")  # of a name: letters, digits, underscores and accents are


class Names:
    """Gives each key one identifier, near to the name that was asked for."""

    def __init__(self, reserved: frozenset[str] = RESERVED):
        self._taken = set(reserved)
        self._given: dict[object, str] = {}
        self._numbers: dict[str, int] = {}  # by name, where the search for a free one goes on

    def __call__(self, key: object, wanted: str | None = None) -> str:
        if key not in self._given:
            self._given[key] = self._fresh(wanted if wanted is not None else str(key))
        return self._given[key]

    def keep(self, key: object, name: str) -> None:
        """Gives a key exactly this name, which nothing else may have."""
        self._given[key] = name
        self._taken.add(name)

    def of(self, name: str, what: str) -> str:
        """The identifier of something that belongs to what another identifier stands for: its pointer, its sum."""
        return self(("of", name, what), f"{name}_{what}")

    def _fresh(self, wanted: str) -> str:
        name = (
            _NO_PART.sub("_", wanted).strip("_")
            if wanted.endswith(".") or wanted.startswith("_")
            else _NO_PART.sub("_", wanted)
        )
        if not name or not name.isidentifier():
            name = f"v_{name}"
        if name in self._taken:
            name = f"{name}_"
        return self._free(name, lambda n: f"{name}{n}")

    def _free(self, wanted: str, numbered: Callable[[int], str]) -> str:
        """A name, or the first of those with a number, from 2 on, that nothing else has."""
        unique = wanted
        while unique in self._taken:
            n = self._numbers[wanted] = self._numbers.get(wanted, 1) + 1
            unique = numbered(n)
        self._taken.add(unique)
        return unique


class KernelNames(Names):
    """Identifiers of a kernel's text, in C++ or Triton: ASCII, with one `_` at the end and never two in a row.

    What headers, templates and printers call their own, and what the languages and their libraries define, has no `_` at its end, and a
    template that makes a name of another puts two between them. So no name of a program, or made of one, is any of theirs.
    """

    def __init__(self) -> None:
        super().__init__(frozenset())

    def _fresh(self, wanted: str) -> str:
        plain = "".join(c if c.isascii() and c.isalnum() else f"u{ord(c):x}" if c.isalpha() else "_" for c in wanted)
        plain = re.sub("__+", "_", plain).strip("_")
        if not plain or plain[0].isdigit():
            plain = f"v{plain}"
        return self._free(f"{plain}_", lambda n: f"{plain}_{n}_")

    def child(self) -> "KernelNames":
        """Names of an inner scope: those given so far stand, and new ones stay inside."""
        inner = KernelNames()
        inner._taken, inner._given, inner._numbers = set(self._taken), dict(self._given), dict(self._numbers)
        return inner

    def inside(self, parameters: list[str]) -> "KernelNames":
        """Names of a function that has these parameters."""
        inner = self.child()
        for p in parameters:
            inner.keep(("parameter", p), p)
        return inner


def field_names(fields: list[str]) -> list[str]:
    """Field names for a named tuple: keywords and leading underscores, which Python refuses, are mended."""
    names = Names(frozenset(keyword.kwlist) | {"_replace", "_fields", "_make", "_asdict"})
    return [names(i, f.lstrip("_") or f"f{f}") for i, f in enumerate(fields)]
