"""What every stage knows of a function: one row."""

import re
from collections.abc import Callable
from dataclasses import dataclass

Range = tuple[float, float]  # its ends, possibly infinite


@dataclass(frozen=True)
class Function:
    """A function or operator of the language, or one that only kernels call.

    Nothing here needs torch, SymPy or Triton: a column names what a stage has, or says it in the language.
    """

    name: str
    arguments: str = "v"  # as a call shows them; `…` for any number more
    means: str = ""  # in a line, for hovers and completions

    # checks
    shape: str = "elementwise"  # a rule of checks/shapes/rules.py
    domain: str = "real"  # "real" refuses complex arguments, "any" keeps them complex, "to-real" gives a real result
    optional: int = 0  # how many of the last arguments may be left out
    param_only: bool = False  # computed once a call, of params and consts
    hint: str | None = None  # for a call with another number of arguments
    of_matrix: str | None = None  # what to write for a matrix where a vector is needed; may name {rows}, {columns} and {entries}

    # calculus
    formula: str | None = None  # a function of SymPy, `sympy.tanh`, or the name of one that `slopes` define; None: its own name
    slopes: tuple[str, ...] = ()  # the derivative in each argument, in the language; where there are none, it is SymPy's
    interval: Callable[..., Range] | None = None  # of the ranges of its arguments
    rising: bool = False  # it never falls: an interval is its values at the ends
    kinks: bool = False  # its derivative jumps somewhere, and is found all the same
    linear: bool = False  # in each argument, the others being constant
    cost: tuple[int, int] = (1, 0)  # for each value of a result: operations, and special functions, which hardware has by table or series
    roots: int = 0  # square roots, one a vector

    # what computes it
    number: Callable[..., float] | None = None  # of plain numbers, in double precision; text calls it by its name, `Scalars.tanh`
    torch: str = ""  # of printed arguments; `ops.` stands before a function of the runtime
    node: str = ""  # the name of a graph's operation, where it is another
    cpp: str = ""  # a function of runtime/cpp/lanes.h, where its name is another; or an expression of printed arguments
    triton: str = ""  # a function of Triton, `tl.exp`, or of runtime/triton/functions.py; or an expression of printed arguments

    definition: str = ""  # its line of grammar/prelude.rnn, which is then all that these stages need

    # how it is shown
    latex: str | None = None  # a command of TeX; None: its name, upright

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its arguments."""
        return tuple(a for a in self.arguments.split(", ") if a and a != "…")

    @property
    def arity(self) -> tuple[int, int | None]:
        """The least and the largest number of arguments."""
        count = len(self.parameters)
        return (1, None) if "…" in self.arguments else (count - self.optional, count)

    @property
    def form(self) -> str:
        """A call of it: `max(a, b)`."""
        return f"{self.name}({self.arguments})"

    @property
    def operation(self) -> str:
        """What a graph calls it."""
        return self.node or self.name

    def reads(self, parameter: str) -> int:
        """How often its definition reads an argument."""
        return len(re.findall(rf"\b{parameter}\b", self.definition.partition(" = ")[2]))

    @property
    def is_surrogate(self) -> bool:
        """Whether its definition gives a derivative for the backward pass."""
        return " grad " in self.definition

    @property
    def is_flat(self) -> bool:
        """Whether its derivative is 0 wherever it has one."""
        return bool(self.slopes) and all(s == "0" for s in self.slopes)
