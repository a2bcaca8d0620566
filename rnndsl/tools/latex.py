"""A cell's equations and Jacobian in LaTeX, for a document with amsmath."""

from sympy import Expr as Formula
from sympy import Symbol
from sympy.printing.latex import LatexPrinter

from rnndsl.calculus.analysis import Component, System
from rnndsl.calculus.functions import ELEMENTWISE, surrogate
from rnndsl.calculus.lanes import Mix
from rnndsl.checks.cell import Cell, Let, Repeat
from rnndsl.functions import FUNCTIONS, OPERATORS
from rnndsl.plan.single import own_name
from rnndsl.syntax import ast
from rnndsl.tools.data import called
from rnndsl.tools.formula_text import COMPARED, symbol_names, tidy
from rnndsl.tools.latex_names import LatexNames
from rnndsl.tools.names import Shown

_CALLED = {f: op for op, f in ELEMENTWISE.items()}
_ADD, _MUL, _AT, _POW, _ATOM = range(5)


def cell_latex(system: System, file: ast.File) -> str:
    """Equations, then the Jacobian entries of each component, as aligned displays."""
    cell = system.plan.cell
    parts = [f"% {_comment(cell.name)}: the equations", _display(_rows(system, file))]
    for c in system.components:
        rows = _jacobian(c, system)
        if rows:
            parts += [f"% {_comment(cell.name)}: the Jacobian of {_comment(', '.join(c.states))}", _display(rows)]
    return "\n".join(parts)


def equations_latex(system: System, file: ast.File) -> str:
    """The equations alone, to stand inside a formula."""
    return "\\begin{aligned}\n" + " \\\\\n".join(_rows(system, file)) + "\n\\end{aligned}"


def _comment(text: str) -> str:
    return text.replace("\n", " ")


def _display(rows: list[str]) -> str:
    return "\\begin{align*}\n" + " \\\\\n".join(f"  {r}" for r in rows) + "\n\\end{align*}"


def function_name(name: str) -> str:
    """A function of the language or of the program."""
    known = FUNCTIONS[name].latex if name in FUNCTIONS else None
    return known or f"\\operatorname{{{name.replace('_', chr(92) + '_')}}}"


def _transposed(text: str) -> str:
    """Braced where there is a superscript already: TeX takes no two in a row."""
    return f"{{{text}}}^{{\\top}}" if "^" in text else f"{text}^{{\\top}}"


# Equations, from the tree as written


def _rows(system: System, file: ast.File) -> list[str]:
    cell = system.plan.cell
    tree = next(c for c in file.cells if c.name.id == cell.name)
    defs = {f.name.id: f for f in file.functions}
    wanted = called(tree, defs)
    rows = []
    for f in file.functions:
        if f.name.id in wanted:
            writer = _Writer(cell, {p.id for p in f.parameters})
            row = f"{function_name(f.name.id)}({', '.join(writer.names(p.id) for p in f.parameters)}) &= {writer.text(f.body)}"
            if f.slope is not None:
                row += f", \\quad {function_name(f.name.id)}' := {writer.text(f.slope)}"
            rows.append(row)
    return rows + _Writer(cell).statements(tree.statements)


class _Writer:
    """Expressions as written; the ranks of names tell a scalar's product from an elementwise one."""

    def __init__(self, cell: Cell, parameters: set[str] | None = None):
        self.names = LatexNames()
        self.parameters = parameters or set()
        self.inputs = {v.name for v in cell.of_role("input")} - self.parameters
        self.states = {v.name for v in cell.of_role("state")}
        self.ranks = {v.name: v.type.rank for v in cell.variables}
        self.ranks |= dict.fromkeys([*cell.sizes, *(h.name for h in cell.hypers)], 0)
        for s in cell.body:
            for let in s.body if isinstance(s, Repeat) else [s] if isinstance(s, Let) else []:
                self.ranks[own_name(let.name)] = let.value.type.rank
        self.ranks |= dict.fromkeys(self.parameters, 1)
        for name in sorted(self.ranks):
            self.names(name)

    def statements(self, statements: tuple[ast.Statement, ...], inside: bool = False) -> list[str]:
        rows = []
        for s in statements:
            match s:
                case ast.Assign():
                    left = ", ".join(self._target(t) for t in s.targets)
                    rows.append(f"{left} &{chr(92) + 'leftarrow ' if inside else '= '}{self.text(s.value)}")
                case ast.Repeat():
                    counter = f"{self.names(s.variable.id)} = {self.text(s.low)}, \\dots, {self.text(s.high)}"
                    rows.append(f"&\\text{{for }} {counter}\\text{{:}}")
                    rows += [f"\\quad {r}" for r in self.statements(s.body, True)]
                case ast.Output():
                    rows += [f"{self.names(o.name.id)}^{{\\text{{out}}}}_{{t}} &= {self.text(o.value)}" for o in s.returned if o.value]
        return rows

    def _target(self, t: ast.Target) -> str:
        return self.names.at(t.name.id, "t") if t.index is not None else self.names(t.name.id)

    def text(self, e: ast.Expr) -> str:
        return self._text(e)[0]

    def _within(self, e: ast.Expr, level: int) -> str:
        text, binds = self._text(e)
        return text if binds >= level else f"\\left({text}\\right)"

    def _text(self, e: ast.Expr) -> tuple[str, int]:
        match e:
            case ast.Number():
                return self._number(e), _ATOM
            case ast.Name():
                if e.id == "pi":
                    return r"\pi", _ATOM
                return (self.names.at(e.id, "t") if e.id in self.inputs else self.names(e.id)), _ATOM
            case ast.Prefix():
                return f"{e.op}{self._within(e.operand, _MUL)}", _ADD
            case ast.Index():
                return self._index(e), _ATOM
            case ast.Attribute():
                return _transposed(self._within(e.base, _ATOM)), _POW
            case ast.Call():
                return self._call(e)
        return self._binary(e)

    def _number(self, e: ast.Number) -> str:
        text = e.text.lower()
        if text == "inf":
            return r"\infty"
        if text == "pi":
            return r"\pi"
        unit = r"\mathrm{i}" if text.endswith("j") else ""
        text = text.removesuffix("j")
        if "e" in text:
            mantissa, power = text.split("e")
            text = f"{mantissa} \\cdot 10^{{{int(power)}}}"
        return "\\mathrm{i}" if unit and text == "1" else text + unit

    def _index(self, e: ast.Index) -> str:
        inside = ", ".join(self.text(a) for a in e.arguments)
        if e.base.id in self.states or e.base.id in self.inputs:
            return self.names.at(e.base.id, inside.replace(" ", ""))
        return f"{self.names(e.base.id)}^{{({inside})}}"

    def _binary(self, e: ast.Binary) -> tuple[str, int]:
        left, right = e.left, e.right
        match e.op:
            case "+" | "-":
                tight = e.op == "-" or isinstance(right, ast.Prefix)
                return f"{self._within(left, _ADD)} {e.op} {self._within(right, _ADD + tight)}", _ADD
            case "*":
                return f"{self._within(left, _MUL)} {self._times(left, right)} {self._within(right, _MUL)}", _MUL
            case "/":
                return f"\\frac{{{self.text(left)}}}{{{self.text(right)}}}", _ATOM
            case "@":
                return f"{self._within(left, _AT)} \\, {self._within(right, _AT)}", _AT
            case "^":
                return f"{{{self._within(left, _ATOM)}}}^{{{self.text(right)}}}", _POW
        return f"\\left[{self.text(left)} {OPERATORS[e.op].latex} {self.text(right)}\\right]", _ATOM

    def _condition(self, e: ast.Expr) -> str:
        """A condition without the brackets that a comparison has as a value."""
        return "\\text{if } " + self.text(e).removeprefix("\\left[").removesuffix("\\right]")

    def _times(self, left: ast.Expr, right: ast.Expr) -> str:
        """An elementwise product has its sign; a scalar just stands in front, but for words and functions, which would run together."""
        if self.rank(left) and self.rank(right):
            return r"\odot"
        named = [e for e in (left, right) if isinstance(e, ast.Name)]
        words = any(self.names(e.id).startswith(r"\mathit") for e in named)
        if isinstance(left, ast.Number):
            return r"\cdot" if isinstance(right, ast.Number) else r"\,"
        return r"\cdot" if words or isinstance(right, ast.Call) else r"\,"

    def rank(self, e: ast.Expr) -> int:
        """0 for a scalar, as far as the tree shows it."""
        match e:
            case ast.Name():
                return self.ranks.get(e.id, 0)
            case ast.Index():
                return self.ranks.get(e.base.id, 0)
            case ast.Prefix():
                return self.rank(e.operand)
            case ast.Attribute():
                return self.rank(e.base)
            case ast.Call():
                shape = FUNCTIONS[e.function.id].shape if e.function.id in FUNCTIONS else ""
                if shape in ("reducing", "inner"):
                    return 0
                if shape in ("outer", "diagonal"):
                    return 2
                return max((self.rank(a) for a in e.arguments), default=0)
            case ast.Binary():
                if e.op == "@":
                    return max(self.rank(e.left) + self.rank(e.right) - 2, 0)
                return max(self.rank(e.left), self.rank(e.right))
        return 0

    def _call(self, e: ast.Call) -> tuple[str, int]:
        args = e.arguments
        match e.function.id, len(args):
            case "sqrt", 1:
                return f"\\sqrt{{{self.text(args[0])}}}", _ATOM
            case "abs", 1:
                return f"\\left|{self.text(args[0])}\\right|", _ATOM
            case "norm", 1:
                return f"\\left\\lVert {self.text(args[0])} \\right\\rVert", _ATOM
            case "conj", 1:
                return f"\\overline{{{self.text(args[0])}}}", _ATOM
            case "outer", 2:
                return f"{self._within(args[0], _AT)} \\, {_transposed(self._within(args[1], _ATOM))}", _AT
            case "dot", 2:
                return f"{_transposed(self._within(args[0], _ATOM))} {self._within(args[1], _AT)}", _AT
            case "where", 3:
                yes, no, condition = self.text(args[1]), self.text(args[2]), self._condition(args[0])
                return f"\\begin{{cases}} {yes} & {condition} \\\\ {no} & \\text{{otherwise}} \\end{{cases}}", _ADD
        return f"{function_name(e.function.id)}\\left({', '.join(self.text(a) for a in args)}\\right)", _ATOM


# Jacobian entries, from the calculus


class _Formulas(LatexPrinter):
    """Formulas of the calculus; a symbol is shown as the program names it."""

    def __init__(self, names: dict[Symbol, str]):
        super().__init__()
        self.names = names

    def _print_Symbol(self, expr: Symbol, style: str = "plain") -> str:
        return self.names.get(expr, str(expr.name))

    def _print_Float(self, expr: Formula) -> str:
        return f"{float(expr):.6g}" if "e" not in f"{float(expr):.6g}" else super()._print_Float(expr)

    def _print_Function(self, expr: Formula, exp: str | None = None) -> str:
        if isinstance(expr, surrogate):
            return self._print(expr.args[1])
        if type(expr) in COMPARED:
            a, b = (self._print(x) for x in expr.args)
            text = f"\\left[{a} {OPERATORS[COMPARED[type(expr)]].latex} {b}\\right]"
        else:
            name = function_name(_CALLED.get(expr.func, expr.func.__name__.strip("_")))
            text = f"{name}\\left({', '.join(self._print(a) for a in expr.args)}\\right)"
        return f"{{{text}}}^{{{exp}}}" if exp is not None else text

    # SymPy has ways of its own with these; here all functions look the same
    _print_ExpBase = _print_exp = _print_log = _print_tanh = _print_sin = _print_cos = _print_Function


def _jacobian(c: Component, system: System) -> list[str]:
    if c.lanes is not None and c.too_large:
        return [f"&\\text{{too large to show: {c.too_large}}}"]
    if c.jacobian is None or c.lanes is None or c.scan is None:
        return []
    given = LatexNames()
    shown = Shown(system.plan.cell)
    texts = symbol_names(c.lanes, c.jacobian, c.scan, shown)
    names = {s: _symbol(text, given) for s, text in texts.items()}
    printer = _Formulas(names)
    slots = {s.symbol for s in c.lanes.slots}
    long = dict(c.jacobian.locals)
    kept = slots | {m.symbol for m in c.lanes.mixes}
    kept |= {bar for bar, symbol in c.jacobian.conjugates.items() if symbol in kept}

    def entry(of: str, by: Symbol, e: Formula) -> str:
        return f"\\frac{{\\partial {of}}}{{\\partial {names[by]}}} &= {printer.doprint(tidy(long.get(e, e)))}"

    rows = [entry(given.at(p.root, "t"), s, e) for p in c.jacobian.updates for s, e in p.by.items() if s in kept]
    for m, p in zip(c.lanes.mixes, c.jacobian.operands, strict=True):
        rows.append(f"{names[m.symbol]} &= {_mix(m, printer)}")
        operand = printer.doprint(tidy(m.operand))
        operand = operand if m.operand.is_Symbol else f"\\left({operand}\\right)"
        rows += [entry(operand, s, e) for s, e in p.by.items() if s in kept and s != m.operand]
    used = set().union(*(e.free_symbols for p in (*c.jacobian.updates, *c.jacobian.operands) for s, e in p.by.items() if s in kept))
    used |= set().union(*(e.free_symbols for e in long.values())) if long else set()
    updates = {f for _, f in c.lanes.updates}
    locals_ = [*c.lanes.locals, *c.jacobian.locals]
    rows += [f"{names[s]} &= {printer.doprint(tidy(f))}" for s, f in locals_ if s in used and s not in updates]
    return list(dict.fromkeys(rows))


def _symbol(text: str, given: LatexNames) -> str:
    """`h[t-1]` as h_{t-1}, `R[2]` as R^{(2)}."""
    if text.startswith("conj(") and text.endswith(")"):
        return f"\\overline{{{_symbol(text[5:-1], given)}}}"
    if text.startswith("∂"):
        of, _, by = text[1:].partition("/∂")
        return f"\\frac{{\\partial {_symbol(of, given)}}}{{\\partial {_symbol(by, given)}}}"
    base, bracket, index = text.partition("[")
    if bracket:
        index = index.rstrip("]")
        return given.at(base, index) if index.startswith("t") else f"{given(base)}^{{({index})}}"
    base, bracket, inside = text.partition("(")
    if bracket:
        arguments = ", ".join(_symbol(a, given) for a in inside.rstrip(")").split(", ") if a)
        return f"{function_name(base) if base.isidentifier() else chr(92) + 'circ'}({arguments})"
    return given(text)


def _mix(m: Mix, printer: _Formulas) -> str:
    def operand(f: Formula) -> str:
        text = printer.doprint(tidy(f))
        return text if f.is_Symbol else f"\\left({text}\\right)"

    inner = operand(m.operand)
    match m.operation:
        case "@":
            other = operand(m.others[0])
            return f"{other} \\, {inner}" if m.argument == 1 else f"{inner} \\, {other}"
        case "transpose":
            return _transposed(inner)
        case "split":
            return f"{inner}^{{[{int(m.static[1]) + 1}/{m.static[0]}]}}"
    return f"{function_name(m.operation)}\\left({printer.doprint(tidy(m.operand))}\\right)"
