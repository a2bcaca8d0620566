"""Sizes that remember how they were written."""

from collections.abc import Sequence
from typing import Any


class Size(int):
    """A size that remembers how it was written, for messages: `4*H` = 512."""

    text: str

    def __new__(cls, value: int, text: str) -> "Size":
        size = super().__new__(cls, value)
        size.text = text
        return size

    def __reduce__(self) -> tuple:
        return Size, (int(self), self.text)

    @staticmethod
    def _text(value: Any) -> str:
        return value.text if isinstance(value, Size) else str(value)

    @staticmethod
    def _term(value: Any) -> str:
        """As it stands behind a minus and in a product: a sum in brackets."""
        text = Size._text(value)
        return f"({text})" if " " in text else text

    def __neg__(self) -> "Size":
        return Size(-int(self), f"-{self._term(self)}")

    def _with(self, other: Any, value: Any, text: str) -> Any:
        """A size where the other is a whole number too; else a plain value, of whatever kind."""
        return Size(value, text) if isinstance(other, int) else value

    def __mul__(self, other: Any) -> Any:
        return self._with(other, int(self) * other, f"{self._term(self)}*{self._term(other)}")

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, other * int(self), f"{self._term(other)}*{self._term(self)}")

    def __add__(self, other: Any) -> Any:
        return self._with(other, int(self) + other, f"{self.text} + {self._text(other)}")

    def __radd__(self, other: Any) -> Any:
        return self._with(other, other + int(self), f"{self._text(other)} + {self.text}")

    def __sub__(self, other: Any) -> Any:
        return self._with(other, int(self) - other, f"{self.text} - {self._term(other)}")

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, other - int(self), f"{self._text(other)} - {self._term(self)}")


def divide(a: int, b: int) -> int:
    """a / b, where it is a whole number; raises ValueError elsewhere."""
    below = f"({Size._text(b)})" if "*" in Size._text(b) else Size._term(b)
    if a % b:
        raise ValueError(f"{Size._term(a)} / {below} is not a whole number: {int(a)} / {int(b)}")
    return Size(a // b, f"{Size._term(a)}/{below}")


def axes_text(shape: Sequence[int]) -> list[str]:
    """Axes as the cell writes them: `D=64`; a number where they are not written there."""
    return [f"{s.text}={int(s)}" if isinstance(s, Size) else str(s) for s in shape]
