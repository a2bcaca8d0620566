"""What a generated module says of its kernels, as data and as text."""

import json
from dataclasses import dataclass, field
from typing import Any

WIDTH = 110  # of a line of generated code


@dataclass(frozen=True)
class Carried:
    """The kernels of a cell for one backend. title: a line for whoever reads the module; said: names and values, which the backend's `carried`
    takes; text: that of the kernels, empty where there are none; texts: further ones, by name."""

    title: str
    said: dict[str, Any]
    text: str = ""
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """The recurrences without kernels, and why."""
        return tuple(self.said.get("refused", {}).items())

    @property
    def lines(self) -> list[str]:
        """Arguments of a call, `name=value,` each, over several lines where they are long; the text last."""
        found = [line for name, value in self.said.items() for line in _lines(f"{name}=", value)]
        return found + [f"{name}={_text(text)}," for name, text in {"source": self.text, **self.texts}.items() if text]


def literal(value: Any) -> str:
    """A value as Python writes it: numbers, strings in double quotes, tuples and dictionaries."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    return repr(value)


def _lines(head: str, value: Any) -> list[str]:
    """`head` and a value, a dictionary with an entry a line where it is long."""
    line = f"{head}{literal(value)},"
    if not isinstance(value, dict) or len(line) <= WIDTH:
        return [line]
    inner = [f"    {line}" for k, v in value.items() for line in _lines(f"{literal(k)}: ", v)]
    return [f"{head}{{", *inner, "},"]


def _text(text: str) -> str:
    """A text of several lines as a Python string, readable where it can be: not where it has the quotes or a backslash."""
    quotes = next((q for q in ('"""', "'''") if q not in text), "")
    return f"r{quotes}\n{text}{quotes}" if quotes and "\\" not in text else repr(text)
