"""From names of the language to Python identifiers that clash with nothing the generated module uses."""

import builtins
import keyword
import re

from rnndsl.runtime_names import RUNTIME_NAMES

# What the generated code itself calls things.
_OWN = {
    "torch", "F", "math", "Tensor", "NamedTuple", "self", "params", "inputs", "noises", "state", "initial", "reset", "kind", "lead",
    "cls", "Layer", "Above", "Between", "step_", "training", "T", "B",
}  # fmt: skip
RESERVED = frozenset(keyword.kwlist) | frozenset(dir(builtins)) | _OWN | RUNTIME_NAMES


class Names:
    """Gives each key one identifier, near to the name that was asked for."""

    def __init__(self, reserved: frozenset[str] = RESERVED):
        self._taken = set(reserved)
        self._given: dict[object, str] = {}

    def __call__(self, key: object, wanted: str | None = None) -> str:
        if key not in self._given:
            self._given[key] = self._fresh(wanted if wanted is not None else str(key))
        return self._given[key]

    def keep(self, key: object, name: str) -> None:
        """Gives a key exactly this name, which nothing else may have."""
        self._given[key] = name
        self._taken.add(name)

    def _fresh(self, wanted: str) -> str:
        name = (
            re.sub(r"\W", "_", wanted).strip("_")
            if wanted.endswith(".") or wanted.startswith("_")
            else re.sub(r"\W", "_", wanted)
        )
        if not name or not name.isidentifier():
            name = f"v_{name}"
        unique, n = name, 2
        if unique in self._taken:
            name = unique = f"{name}_"
        while unique in self._taken:
            unique, n = f"{name}{n}", n + 1
        self._taken.add(unique)
        return unique


def field_names(fields: list[str]) -> list[str]:
    """Field names for a named tuple: keywords and leading underscores, which Python refuses, are mended."""
    names = Names(frozenset(keyword.kwlist) | {"_replace", "_fields", "_make", "_asdict"})
    return [names(i, f.lstrip("_") or f"f{f}") for i, f in enumerate(fields)]
