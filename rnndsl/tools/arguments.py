"""Arguments of commands and of the notebook's magic: shapes, sizes, names of known things. Each raises Unfit."""

import operator
from collections.abc import Mapping, Sequence
from typing import SupportsIndex, overload

from rnndsl.tools import Unfit


def parse_shape(text: str | None) -> tuple[int, int] | None:
    """`8,4096` as two numbers. Raises Unfit."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(p.strip().isascii() and p.strip().isdigit() and int(p) >= 1 for p in parts):
        raise Unfit(f"--shape {text}: give sequences and steps, both from 1 on, as in --shape 8,4096")
    return int(parts[0]), int(parts[1])


def parse_sizes(texts: list[str]) -> dict[str, int]:
    """`H=256` as a name and a number. Raises Unfit."""
    found: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name.isidentifier() or not (value.isascii() and value.isdigit()):
            raise Unfit(f"--size {text}: give a name and a whole number, as in --size H=256 (and FILE before --size)")
        if found.setdefault(name, int(value)) != int(value):
            raise Unfit(f"--size {text}: {name} is given twice, as {found[name]} and {value}")
    return found


def check_sizes(sizes: Mapping[str, int], known: Sequence[str]) -> None:
    """Raises Unfit for a size that is none of those known, or that is not positive."""
    for name, value in sizes.items():
        if name not in known:
            raise Unfit(f"there is no size {name}; there is {', '.join(known) or 'none'}")
        if value < 1:
            raise Unfit(f"size {name} must be at least 1, not {value}")


def do_not_fit(cell: str, sizes: Mapping[str, int], why: Exception) -> Unfit:
    """What to raise where a layer of a cell cannot have its sizes."""
    return Unfit(f"{cell} with {', '.join(f'{n}={v}' for n, v in sizes.items())}: {why}")


@overload
def parse_count(option: str, text: str) -> int: ...
@overload
def parse_count(option: str, text: str | None) -> int | None: ...
def parse_count(option: str, text: str | None) -> int | None:
    """A whole number from 1 on. Raises Unfit."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise Unfit(f"{option} {text}: give a whole number from 1 on")
    return int(text)


def whole_number(what: str, value: SupportsIndex) -> int:
    """A number as Python's; NumPy's are taken too. Raises Unfit for what is no whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise Unfit(f"{what}: expected a whole number, got {value!r}") from None


def whole_numbers(sizes: Mapping[str, SupportsIndex] | None) -> dict[str, int]:
    """Sizes by name, each a `whole_number`."""
    return {name: whole_number(f"size {name}", value) for name, value in (sizes or {}).items()}


def one_of(option: str, name: str, known: tuple[str, ...]) -> str:
    """A name, if it is known. Raises Unfit."""
    if name not in known:
        raise Unfit(f"{option} {name}: there is {', '.join(known)}")
    return name


def names_of(option: str, text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """`loop,nn` as names, each once; all of them for None."""
    if text is None:
        return known
    names = tuple(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
    for name in names:
        if name not in known:
            raise Unfit(f"{option} {text}: there is no {name}; there is {', '.join(known)}")
    return names
