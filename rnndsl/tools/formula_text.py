"""SymPy formulas of the calculus as text of the language."""

import re
from collections.abc import Callable

import sympy
from sympy import Expr as Formula
from sympy import Symbol
from sympy.printing.str import StrPrinter

from rnndsl.calculus import functions
from rnndsl.calculus.functions import ELEMENTWISE, surrogate, where
from rnndsl.calculus.jacobian import Jacobian
from rnndsl.calculus.lanes import Factored, Lanes, Mix
from rnndsl.plan.ir import Scan, names_of
from rnndsl.plan.single import own_name
from rnndsl.tools.names import Shown, timed

_CALLED = {f: op for op, f in ELEMENTWISE.items()}
COMPARED = {
    functions.less: "<", functions.less_equal: "<=", functions.greater: ">", functions.greater_equal: ">=",
    functions.equal: "==", functions.not_equal: "!=",
}  # fmt: skip
_DECIDED: dict[type, Callable[[Formula, Formula], bool]] = {
    functions.less: lambda a, b: bool(a < b), functions.less_equal: lambda a, b: bool(a <= b),
    functions.greater: lambda a, b: bool(a > b), functions.greater_equal: lambda a, b: bool(a >= b),
    functions.equal: lambda a, b: bool(a == b), functions.not_equal: lambda a, b: bool(a != b),
}  # fmt: skip


def tidy(formula: Formula) -> Formula:
    """The formula with `where` decided where its condition compares numbers, as in the rounds of a repeat; and without the
    branch of a logaddexp's derivative for equal ends, which matters at infinity alone."""

    def decided(w: Formula) -> Formula:
        condition = w.args[0]
        if isinstance(condition, functions.equal) and w.args[1] == sympy.Rational(1, 2) and isinstance(w.args[2], functions.sigmoid):
            return w.args[2]
        if type(condition) in _DECIDED and all(a.is_Number for a in condition.args):
            return w.args[1] if _DECIDED[type(condition)](*condition.args) else w.args[2]
        return w

    return formula.replace(lambda e: isinstance(e, where), decided)


def symbol_names(lanes: Lanes, jacobian: Jacobian, scan: Scan, shown: Shown) -> dict[Symbol, str]:
    """What each symbol of a component is shown as: `h[t-1]`, `h[t]`, `x[t-1]`, `z_in`."""
    names: dict[Symbol, str] = {s.symbol: timed(s.state, s.lag) for s in lanes.slots}
    streams = {f"{r.name}_{r.lag}" if r.lag else r.name: shown.ref(r) for r in scan.streams}
    bound = {own_name(n) for o in scan.body for n in names_of(o)}
    for leaf in lanes.leaves:
        known = streams.get(leaf.name) if leaf.role == "stream" else None
        written = re.sub(r"[A-Za-z_]\w*(\.\w+)+", lambda m: shown(m.group()), leaf.name)
        names[leaf.symbol] = known or (written if "[" in leaf.name or "(" in leaf.name else shown(leaf.name))
    for symbol in lanes.definitions:
        text = str(symbol)
        names[symbol] = f"{text[:-1]}[t]" if text.endswith("'") else shown(text if text in bound else f"{text}.")
    for mix in lanes.mixes:
        names[mix.symbol] = shown(f"{mix.symbol}.")
    for bar, symbol in jacobian.conjugates.items():
        names[bar] = f"conj({names.get(symbol, str(symbol))})"
    for i, (symbol, _) in enumerate(jacobian.locals, 1):
        root, by = jacobian.named[symbol]
        names[symbol] = f"∂{names[root]}/∂{names.get(by, str(by))}" if root in names else shown(f"q{i}.")
    return names


class _Printer(StrPrinter):
    def __init__(self, names: dict[Symbol, str]):
        super().__init__()
        self.names = names

    def _print_Symbol(self, expr: Symbol) -> str:
        name = self.names.get(expr, str(expr.name))
        return f"({name})" if name.startswith("∂") else name

    def _print_Function(self, expr: Formula) -> str:
        if isinstance(expr, surrogate):
            return self._print(expr.args[1])
        if isinstance(expr, Factored):
            return self._print(expr.args[0])
        if type(expr) in COMPARED:
            return f"({self._print(expr.args[0])} {COMPARED[type(expr)]} {self._print(expr.args[1])})"
        called = _CALLED.get(expr.func, expr.func.__name__)
        return f"{called}({', '.join(self._print(a) for a in expr.args)})"

    def _print_Float(self, expr: Formula) -> str:
        return f"{float(expr):.12g}"

    def _print_Infinity(self, expr: Formula) -> str:
        return "inf"

    def _print_NegativeInfinity(self, expr: Formula) -> str:
        return "-inf"

    def _print_ImaginaryUnit(self, expr: Formula) -> str:
        return "1j"


def formula_text(formula: Formula, names: dict[Symbol, str]) -> str:
    """One formula."""
    if isinstance(formula, Symbol):
        return names.get(formula, str(formula))
    return _Printer(names).doprint(tidy(formula)).replace("**", "^")


def mix_text(mix: Mix, names: dict[Symbol, str]) -> str:
    """What a mixing operation computes: `R_z @ h[t-1]`."""

    def operand(f: Formula) -> str:
        text = formula_text(f, names)
        return text if f.is_Atom or isinstance(f, sympy.Function) else f"({text})"

    inner = operand(mix.operand)
    match mix.operation:
        case "@":
            other = operand(mix.others[0])
            return f"{other} @ {inner}" if mix.argument == 1 else f"{inner} @ {other}"
        case "broadcast":
            return f"{inner}, along every entry"
        case "rows":
            return f"{inner}, one row each entry"
        case "columns":
            return f"{inner}, one column each entry"
        case "transpose":
            return f"{inner}.T"
        case "split":
            count, place = mix.static
            return f"part {int(place) + 1} of {count} of {inner}"  # type: ignore[arg-type]
    return f"{mix.operation}({formula_text(mix.operand, names)})"
