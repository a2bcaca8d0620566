"""Values of the language as real nodes and real arrays."""

from dataclasses import dataclass

from rnndsl.checks.cell import Type
from rnndsl.kernel.graph import Shape


@dataclass(frozen=True)
class Value:
    """A value of the language: its real part, and its imaginary part where it is complex. A part may be a scalar that broadcasts."""

    parts: tuple[int, ...]
    type: Type


@dataclass(frozen=True)
class Array:
    """One real array that a kernel reads: `part` of a complex value is re or im, else empty."""

    name: str
    part: str
    shape: Shape

    @property
    def label(self) -> str:
        """What it is called after."""
        return f"{self.name}_{self.part}" if self.part else self.name


def parts_of(name: str, t: Type) -> list[Array]:
    """The real arrays that a value is passed as."""
    return [Array(name, part, t.heads + t.axes) for part in (("re", "im") if t.is_complex else ("",))]
