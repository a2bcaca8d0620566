"""Expressions of a whole call, whose products of params and sequences have a dtype of their own: all else is computed in that of `kind`.

So a call with half inputs multiplies in half, as torch.autocast has it, and reads half streams; no function is taken of half values.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from rnndsl.checks.cell import Apply, Expr, Ref, Type
from rnndsl.emit.torch_text import ADD, ATOM, MUL, Text, TorchText

VIEWS = frozenset(("re", "im", "conj", "merge", "heads", "reshape", "split", "transpose", "slice"))  # whose result may be a view of an argument


@dataclass
class MixedText(TorchText):
    """narrow: the names of values that may be half; wide: the identifier that stands for each in arithmetic, bound where it is read."""

    wide: Callable[[str], str] = str
    narrow: set[str] = field(default_factory=set)
    has_kernels: bool = True  # whether the runtime that is imported has kernels for large products, or PyTorch's alone
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
        if self.is_scaling(expr):
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

    def _arithmetic(self, expr: Apply) -> Text:
        found = self._biased(expr) if expr.op == "+" else None
        return found or super()._arithmetic(expr)

    def _biased(self, expr: Apply) -> Text | None:
        """A sum of a product and params as one call, which passes over all steps once; None where there is none in it."""
        terms = _terms(expr)
        products = [t for t in terms if isinstance(t, Apply) and self._is_linear_map(t) and t.type == expr.type]
        biases = [t for t in terms if t.type == expr.type and not (self.lead(t) or self.is_number(t))]
        if not (products and biases):
            return None
        product = products[0]
        others = [*products[1:], *(t for t in terms if t not in products and t not in biases)]
        self.used.add("biased_product")
        matrix, x = product.args if product.op == "@" else self._by_lead(product)
        bias = " + ".join(self.text(b).within(ADD) for b in biases)
        arguments = [self.as_it_is(x).code, self.as_it_is(matrix).code, bias, "products", *(["self.backend"] if self.has_kernels else [])]
        code = f"biased_product({', '.join(arguments)})"
        return Text(" + ".join([code, *(self.aligned(t, expr.type).within(MUL) for t in others)]), ADD if others else ATOM)

    def _is_linear_map(self, expr: Apply) -> bool:
        """Whether it is a product that torch has with a bias."""
        if not self.is_product(expr):
            return False
        matrix, _ = expr.args
        return expr.op == "dot" or (matrix.type.rank == 2 and expr.type.rank == 1 and not self.lead(matrix) and not expr.type.heads)


def _terms(expr: Expr) -> list[Expr]:
    """What is added up in an expression."""
    return [t for a in expr.args for t in _terms(a)] if isinstance(expr, Apply) and expr.op == "+" else [expr]
