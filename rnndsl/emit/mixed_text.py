"""Expressions of a whole call, whose products of params and sequences have a dtype of their own: all else is computed in that of `kind`.

So a call with half inputs multiplies in half, as torch.autocast has it, and reads half streams; no function is taken of half values.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from rnndsl.checks.cell import Apply, Expr, Ref, Type
from rnndsl.emit.torch_text import ATOM, Text, TorchText

VIEWS = frozenset(("re", "im", "conj", "merge", "heads", "reshape", "split", "transpose", "slice"))  # whose result may be a view of an argument


@dataclass
class MixedText(TorchText):
    """narrow: the names of values that may be half; wide: the identifier that stands for each in arithmetic, bound where it is read."""

    wide: Callable[[str], str] = str
    narrow: set[str] = field(default_factory=set)
    is_kept: bool = False  # whether what is printed may stay half: a stream, or an operand of a product

    def as_it_is(self, expr: Expr, target: Type | None = None) -> Text:
        """The expression in the dtype in which it comes."""
        is_kept, self.is_kept = self.is_kept, True
        try:
            return self.aligned(expr, target) if target else self.text(expr)
        finally:
            self.is_kept = is_kept

    def is_product(self, expr: Expr) -> bool:
        """Whether it is a product of a param, or what is made of params alone, and a sequence, which torch takes as one of matrices."""
        if not isinstance(expr, Apply) or expr.type.is_complex or len(expr.args) != 2 or self.lead(expr.args[0]) == self.lead(expr.args[1]):
            return False
        if any(a.type.is_complex or self.is_number(a) for a in expr.args):
            return False
        return self.is_linear(expr) if expr.op == "dot" else expr.op == "@" and any(a.type.rank == 2 for a in expr.args)

    def is_narrow(self, expr: Expr) -> bool:
        """Whether the value may be half."""
        return (isinstance(expr, Ref) and not expr.lag and expr.name in self.narrow) or self.is_product(expr)

    def text(self, expr: Expr) -> Text:
        is_kept, self.is_kept = self.is_kept, self.is_kept and isinstance(expr, Apply) and expr.op in VIEWS
        try:
            code = super().text(expr)
        finally:
            self.is_kept = is_kept
        if is_kept or not self.is_narrow(expr):
            return code
        return Text(self.wide(expr.name)) if isinstance(expr, Ref) else Text(f'{code.within(ATOM)}.to(kind["dtype"])')

    def operand(self, product: Apply, side: Expr, target: Type | None = None) -> Text:
        """A side of a product; cast to the dtype of products where it is one of params and sequences."""
        if not self.is_product(product):
            return super().operand(product, side, target)
        return Text(f"{self.as_it_is(side, target).within(ATOM)}.to(products)")
