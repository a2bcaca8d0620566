"""Typed expressions as PyTorch text. One rule for shapes: everything is counted from the right.

A value is laid out as [lead…, heads…, axes…], where lead is [B, T], [B], or nothing for what depends on params alone. Since no
text counts from the left, the same text serves all three.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from rnndsl.checks.cell import Apply, Expr, Number, Ref, Type, walk
from rnndsl.checks.dims import Dim
from rnndsl.checks.prelude import written_out
from rnndsl.functions import COMPARISONS, COMPOUNDS, ENTRIES, FUNCTIONS, numbers
from rnndsl.plan.hoist import scales

# How tightly a text binds; higher binds tighter.
COMPARE, ADD, MUL, NEG, POW, ATOM = 1, 2, 3, 4, 5, 6
_OPERATORS = {"+": ("+", ADD), "-": ("-", ADD), "*": ("*", MUL), "/": ("/", MUL), "^": ("**", POW)}


@dataclass(frozen=True)
class Text:
    """Code and how tightly it binds."""

    code: str
    binds: int = ATOM

    def within(self, level: int) -> str:
        """The code, in brackets if it binds looser than `level`."""
        return self.code if self.binds >= level else f"({self.code})"


@dataclass
class TorchText:
    """Prints expressions; `name` gives the identifier of a Ref, `has_lead` tells whether it has batch axes."""

    name: Callable[[Ref], str]
    has_lead: Callable[[Ref], bool]
    size_name: Callable[[str], str]
    used: set[str]  # runtime functions and modules that the text needs
    numbers: dict[int, tuple[Expr, bool]] = field(default_factory=dict)  # by id, with what keeps the id its own: whether it is a number

    def __call__(self, expr: Expr, target: Type | None = None) -> str:
        """The code of an expression, with its axes placed to broadcast into `target`."""
        return (self.aligned(expr, target) if target else self.text(expr)).code

    def is_number(self, expr: Expr) -> bool:
        """Whether the code is a plain number of Python's: a number, a size, a hyperparameter, the counter, and what they alone make."""
        if id(expr) not in self.numbers:
            self.numbers[id(expr)] = expr, self._is_number(expr)
        return self.numbers[id(expr)][1]

    def _is_number(self, expr: Expr) -> bool:
        match expr:
            case Number():
                return True
            case Ref():
                return expr.role in ("size", "hyper", "counter")
            case Apply(op="+" | "-" | "*" | "neg"):
                return all(self.is_number(a) for a in expr.args)
            case Apply():
                real = (expr.op in numbers.NUMBERS or (expr.op in COMPOUNDS and expr.op in ENTRIES)) and not any(a.type.is_complex for a in expr.args)
                return real and all(self.is_number(a) for a in expr.args)
        return False

    def lead(self, expr: Expr) -> bool:
        """Whether the value has batch axes."""
        return any(isinstance(n, Ref) and self.has_lead(n) for n in walk(expr))

    def dims(self, dims) -> str:
        """A tuple of sizes."""
        parts = [self.dim(d) for d in dims]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"

    def dim(self, dim: Dim | int) -> str:
        """A size as Python arithmetic."""
        if isinstance(dim, int):
            return str(dim)
        above, below = dim.divided()
        names = {n: self.size_name(n) for n in dim.names}
        if below == Dim.of(1):
            return above.text(names)
        self.used.add("divide")
        return f"divide({above.text(names)}, {below.text(names)})"

    def number(self, value: float | complex) -> Text:
        """A literal."""
        if isinstance(value, complex):
            return Text(f"{value.imag!r}j") if value.imag >= 0 else Text(f"-{-value.imag!r}j", NEG)
        if math.isinf(value):
            self.used.add("math")
            return Text("math.inf") if value > 0 else Text("-math.inf", NEG)
        if math.isnan(value):
            self.used.add("math")
            return Text("math.nan")
        if value == math.pi:
            self.used.add("math")
            return Text("math.pi")
        text = repr(int(value)) if value == int(value) and abs(value) < 1e6 else repr(value)
        return Text(text, NEG if value < 0 else ATOM)

    def tensor(self, expr: Expr, target: Type | None = None) -> Text:
        """The expression as a tensor even where it is a plain number."""
        if not self.is_number(expr):
            return self.aligned(expr, target) if target else self.text(expr)
        self.used.add("scalar")
        return Text(f"scalar({self.text(expr).code}, **kind)")

    def as_it_is(self, expr: Expr) -> Text:
        """The expression in the dtype in which it comes; one of `text` where that may be another."""
        return self.text(expr)

    def aligned(self, expr: Expr, target: Type) -> Text:
        """The expression with axes of length one where `target` has axes or head axes that it lacks."""
        text = self.text(expr)
        return text if self.is_number(expr) else self._placed(text, expr, target)

    def _placed(self, text: Text, expr: Expr, target: Type) -> Text:
        t = expr.type
        code = text
        if target.rank and not t.rank and (t.heads or self.lead(expr)):
            code = Text(f"{code.within(ATOM)}[..., {', '.join(['None'] * target.rank)}]")
        if target.heads and not t.heads and self.lead(expr):
            for _ in target.heads:
                code = Text(f"{code.within(ATOM)}.unsqueeze({-1 - target.rank})")
        return code

    def text(self, expr: Expr) -> Text:
        """The expression as it stands."""
        match expr:
            case Number():
                return self.number(expr.value)
            case Ref():
                return Text(self.name(expr))
            case Apply():
                if expr.op in COMPOUNDS and (not COMPOUNDS[expr.op].torch or self.is_number(expr)):
                    return self.text(written_out(expr))
                if expr.op not in ("+", "-", "*", "neg") and self.is_number(expr):
                    return self._of_numbers(expr)
                special = getattr(self, f"_{expr.op}", None) if expr.op.isidentifier() else None
                if special is not None:
                    return special(expr)
                if expr.op == "@":
                    return self._matmul(expr)
                if expr.op in _OPERATORS:
                    return self._arithmetic(expr)
                if expr.op in COMPARISONS:
                    return Text(f'({self._comparison(expr).code}).to(kind["dtype"])')
                return self._builtin(expr)

    def _of_numbers(self, expr: Apply) -> Text:
        """A function of numbers alone, in double precision, as kernels have it."""
        if expr.op == "/" and isinstance(expr.args[1], Number) and expr.args[1].value != 0:  # Python's own
            return Text(f"{self.text(expr.args[0]).within(MUL)} / {self.text(expr.args[1]).within(POW)}", MUL)
        code = numbers.call(numbers.NUMBERS[expr.op], [self.text(a).within(ADD) for a in expr.args])
        if "Scalars." in code:
            self.used.add("Scalars")
        return Text(code)

    def _arithmetic(self, expr: Apply) -> Text:
        symbol, level = _OPERATORS[expr.op]
        a, b = expr.args
        left, right = self.aligned(a, expr.type), self.aligned(b, expr.type)
        if expr.op in ("/", "^") and self.is_number(a) and self.is_number(b):
            left = self.tensor(a)  # IEEE arithmetic: 1 / 0 is inf, not an exception
        if expr.op == "^":
            return Text(f"{left.within(ATOM)} ** {right.within(ATOM if right.binds != NEG else NEG)}", POW)
        return Text(f"{left.within(level)} {symbol} {right.within(level + 1)}", level)

    def _comparison(self, expr: Apply) -> Text:
        """A comparison as PyTorch has it, true or false."""
        a, b = expr.args
        left, right = self.aligned(a, expr.type), self.aligned(b, expr.type)
        if self.is_number(a) and self.is_number(b):
            left = self.tensor(a)
        return Text(f"{left.within(ADD)} {expr.op} {right.within(ADD)}", COMPARE)

    def _neg(self, expr: Apply) -> Text:
        return Text(f"-{self.text(expr.args[0]).within(NEG)}", NEG)

    def _transpose(self, expr: Apply) -> Text:
        return Text(f"{self.text(expr.args[0]).within(ATOM)}.mT")

    def _complex_pair(self, a: Expr, b: Expr, left: Text, right: Text) -> tuple[Text, Text]:
        """Both sides complex if one is: products of matrices do not mix the two."""
        if a.type.is_complex == b.type.is_complex:
            return left, right
        self.used.add("cast_complex")
        if a.type.is_complex:
            return left, Text(f"cast_complex({right.code})")
        return Text(f"cast_complex({left.code})"), right

    def is_scaling(self, expr: Apply) -> bool:
        """Whether it is diag(a) @ b, which scales the rows of b, or a @ diag(b), which scales the columns of a: no product of matrices."""
        return scales(expr) and not any(isinstance(x, Apply) and x.op == "diag" and self.is_number(x.args[0]) for x in expr.args)

    def _scaling(self, expr: Apply) -> Text:
        a, b = expr.args
        is_left = isinstance(a, Apply) and a.op == "diag"
        diag, other = (a, b) if is_left else (b, a)
        (vector,) = diag.args  # type: ignore[union-attr]
        factor, scaled = (self.aligned(x, Type(expr.type.heads, x.type.axes)) for x in (vector, other))
        if other.type.rank == 2:
            factor = Text(f"{factor.within(ATOM)}.unsqueeze({-1 if is_left else -2})")
        return Text(f"{factor.within(MUL)} * {scaled.within(MUL + 1)}", MUL)

    def _matmul(self, expr: Apply) -> Text:
        if self.is_scaling(expr):
            return self._scaling(expr)
        a, b = expr.args
        heads = expr.type.heads
        left, right = self.operand(expr, a, Type(heads, a.type.axes)), self.operand(expr, b, Type(heads, b.type.axes))
        left, right = self._complex_pair(a, b, left, right)
        plain_left, plain_right = not a.type.heads and not self.lead(a), not b.type.heads and not self.lead(b)
        match a.type.rank, b.type.rank:
            case 2, 1 if plain_left:
                self.used.add("F")
                return Text(f"F.linear({right.code}, {left.code})")
            case 2, 1:
                self.used.add("matvec")
                return Text(f"matvec({left.code}, {right.code})")
            case 1, 2 if plain_right:
                return Text(f"{left.within(MUL)} @ {right.within(POW)}", MUL)
            case 1, 2:
                self.used.add("vecmat")
                return Text(f"vecmat({left.code}, {right.code})")
            case 2, 2:
                return Text(f"{left.within(MUL)} @ {right.within(POW)}", MUL)
        return Text(f"torch.sum({left.within(MUL)} * {right.within(NEG)}, -1)")

    def operand(self, product: Apply, side: Expr, target: Type | None = None) -> Text:
        """A side of a product."""
        return self.aligned(side, target) if target else self.text(side)

    def is_linear(self, dot: Apply) -> bool:
        """Whether a `dot` is a product of a param's rows and a vector of each step."""
        w, x = self._by_lead(dot)
        heads = not self.lead(w) and self.lead(x) and not x.type.heads and len(w.type.heads) == 1
        return heads and w.type.is_complex == x.type.is_complex

    def _by_lead(self, dot: Apply) -> tuple[Expr, Expr]:
        """The sides of a `dot`, one that every step has behind one of params."""
        a, b = dot.args
        return (b, a) if self.lead(a) and not self.lead(b) else (a, b)

    def _dot(self, expr: Apply) -> Text:
        a, b = expr.args
        if self.is_linear(expr):
            self.used.add("F")
            w, x = self._by_lead(expr)
            return Text(f"F.linear({self.operand(expr, x).code}, {self.operand(expr, w).code})")
        wide = Type(expr.type.heads, a.type.axes)
        return Text(f"torch.sum({self.aligned(a, wide).within(MUL)} * {self.aligned(b, wide).within(NEG)}, -1)")

    def _outer(self, expr: Apply) -> Text:
        a, b = expr.args
        heads = expr.type.heads
        left, right = self.aligned(a, Type(heads, a.type.axes)), self.aligned(b, Type(heads, b.type.axes))
        return Text(f"{left.within(ATOM)}.unsqueeze(-1) * {right.within(ATOM)}.unsqueeze(-2)", MUL)

    def _split(self, expr: Apply) -> Text:
        count, i = expr.static
        return Text(f"{self.text(expr.args[0]).within(ATOM)}.chunk({count}, -1)[{i}]")

    def _merge(self, expr: Apply) -> Text:
        t = expr.args[0].type
        joined = len(t.heads) + t.rank
        inner = self.text(expr.args[0])
        return inner if joined == 1 else Text(f"{inner.within(ATOM)}.flatten(-{joined})")

    def _heads(self, expr: Apply) -> Text:
        inner = self.text(expr.args[0])
        if not expr.type.axes:
            return inner
        return Text(f"{inner.within(ATOM)}.unflatten(-1, {self.dims(expr.static)})")

    def _reshape(self, expr: Apply) -> Text:
        rank, *axes = expr.static
        inner = self.text(expr.args[0])
        if self.is_number(expr.args[0]):
            inner = self.tensor(expr.args[0])
        flat = {
            0: f"{inner.within(ATOM)}.unsqueeze(-1)",
            1: inner.within(ATOM),
            2: f"{inner.within(ATOM)}.flatten(-2)",
        }[int(rank)]  # type: ignore[arg-type]
        return Text(flat if len(axes) == 1 else f"{flat}.unflatten(-1, {self.dims(axes)})")

    def _eye(self, expr: Apply) -> Text:
        return Text(f"torch.eye({self.dim(expr.static[0])}, **kind)")

    def _ones(self, expr: Apply) -> Text:
        return Text(f"torch.ones({self.dim(expr.static[0])}, **kind)")

    def _concat(self, expr: Apply) -> Text:
        self.used.add("join_vectors")
        parts = [self.aligned(a, Type(expr.type.heads, a.type.axes)).code for a in expr.args]
        return Text(f"join_vectors({', '.join(parts)})")

    def _rows(self, expr: Apply) -> Text:
        return Text(f"torch.cat([{', '.join(self.text(a).code for a in expr.args)}], -2)")

    def _broadcast(self, expr: Apply) -> Text:
        value = self.aligned(expr.args[0], expr.type)
        shape = self.dims(expr.type.heads + expr.type.axes)
        dtype = "**kind" if not expr.type.is_complex else 'dtype=complex_of(kind["dtype"]), device=kind["device"]'
        if expr.type.is_complex:
            self.used.add("complex_of")
        return Text(f"{value.within(ADD)} + torch.zeros({shape}, {dtype})", ADD)

    def _slice(self, expr: Apply) -> Text:
        self.used.add("select")
        return Text(f"select({self.text(expr.args[0]).code}, {self.text(expr.args[1]).code})")

    def _surrogate(self, expr: Apply) -> Text:
        self.used.add("surrogate")
        return Text(f"surrogate({', '.join(self.tensor(a, expr.type).code for a in expr.args)})")

    def _re(self, expr: Apply) -> Text:
        inner = self.tensor(expr.args[0])
        return Text(f"torch.real({inner.code})") if expr.args[0].type.is_complex else inner

    def _where(self, expr: Apply) -> Text:
        condition, a, b = expr.args
        left, right = self._complex_pair(a, b, self.tensor(a, expr.type), self.tensor(b, expr.type))  # torch.where has no gradient for a mixed pair
        if isinstance(condition, Apply) and condition.op in COMPARISONS and not self.is_number(condition):
            chosen = self._placed(self._comparison(condition), condition, expr.type)
        else:
            chosen = Text(f"{self.tensor(condition, expr.type).within(ADD)} != 0")
        return Text(f"torch.where({chosen.code}, {left.code}, {right.code})")

    def _diag(self, expr: Apply) -> Text:
        return Text(f"torch.diag_embed({self.text(expr.args[0]).code})")

    def _builtin(self, expr: Apply) -> Text:
        row = FUNCTIONS[expr.op]
        target = expr.type if len(expr.args) > 1 else None
        level = ATOM if row.torch.startswith("{0}.") else 0
        args = [(self.tensor(a, target) if target else self.tensor(a)).within(level) for a in expr.args]
        code = row.torch.format(*args)
        if code.startswith("ops."):
            code = code[4:]
            self.used.add(code.split("(")[0])
        if code.startswith("F."):
            self.used.add("F")
        return Text(code)
