"""File -> Names, or errors: every name is declared once, in its place, and read where it may be."""

import keyword
from collections import ChainMap
from collections.abc import Container
from dataclasses import dataclass, field
from itertools import dropwhile

from rnndsl.checks.attributes import CONSTRUCTOR_ARGUMENTS, LAYER_ATTRIBUTES, MODULE_NAMES
from rnndsl.checks.builtins import BUILTINS, DISTRIBUTIONS, INITIALISERS
from rnndsl.checks.suggest import as_read, closest, lookalike, unknown_function, unknown_value
from rnndsl.diagnostics import Collector, Related, Span
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import TIME

STATIC = frozenset(("size", "hyper"))  # roles that are known when a layer is built
PARAMS = STATIC | {"param", "const"}


def check_names(file: ast.File, out: Collector) -> None:
    """Reports every wrong use of a name in a file."""
    _check_items(file, out)
    functions = {f.name.id: f for f in file.functions}
    _check_recursion(functions, out)
    for function in file.functions:
        _FunctionNames(function, functions, out).check()
    for cell in file.cells:
        CellNames(cell, functions, out).check()


def _check_items(file: ast.File, out: Collector) -> None:
    seen: dict[str, Span] = {}
    for item in file.items:
        what = "cell" if isinstance(item, ast.CellDef) else "function"
        name = item.name
        if name.id in BUILTINS and what == "function":
            out.error("reserved", f"`{name.id}` is a built-in function", name.span, "choose another name")
        elif name.id == TIME:
            out.error("reserved", "`t` is reserved for time", name.span, "choose another name")
        elif what == "cell" and (keyword.iskeyword(name.id) or name.id.startswith("__") or name.id in MODULE_NAMES):
            title = f"`{name.id}` cannot be the name of a cell"
            label = "the generated module needs this name" if name.id in MODULE_NAMES else "not a name for a Python class"
            out.error("reserved", title, name.span, label, hint=f"choose another name, such as `{name.id.strip('_').title()}Cell`")
        elif name.id in seen:
            out.error(
                "redeclared",
                f"`{name.id}` is defined twice",
                name.span,
                "defined again here",
                related=(Related(seen[name.id], "first defined here"),),
            )
        seen.setdefault(name.id, name.span)


def _calls(expr: ast.Expr) -> list[ast.Call]:
    found = []
    stack = [expr]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Call):
            found.append(node)
        stack.extend(children(node))
    return found


def children(node: ast.Expr) -> tuple[ast.Expr, ...]:
    """The subexpressions of a node, left to right."""
    match node:
        case ast.Prefix():
            return (node.operand,)
        case ast.Binary():
            return (node.left, node.right)
        case ast.Call() | ast.Index():
            return node.arguments
        case ast.Attribute():
            return (node.base,)
    return ()


def _check_recursion(functions: dict[str, ast.FunctionDef], out: Collector) -> None:
    """Reports cycles of functions that call one another; every function is looked at once."""
    calls = {
        name: [c for e in (f.body, f.slope) if e is not None for c in _calls(e) if c.function.id in functions]
        for name, f in functions.items()
    }
    done: set[str] = set()
    for root in functions:
        path: dict[str, int] = {root: 0}  # the functions being followed, and how many of their calls have been
        while path and root not in done:
            name = next(reversed(path))
            if path[name] == len(calls[name]):
                done.add(name)
                del path[name]
                continue
            call = calls[name][path[name]]
            path[name] += 1
            callee = call.function.id
            if callee in path:
                cycle = [n for n, _ in dropwhile(lambda pair: pair[0] != callee, path.items())]  # noqa: B023
                links = " calls ".join(f"`{n}`" for n in [*cycle[:4], *(["…"] if len(cycle) > 4 else []), callee])
                out.error("recursion", f"`{callee}` calls itself", call.function.span, links.replace("`…`", "…"),
                          hint="functions are inlined; use `repeat k in 1..L:` for a fixed number of rounds")  # fmt: skip
                return
            if callee not in done:
                path[callee] = 0


@dataclass
class _FunctionNames:
    """The names of one `def`: it sees its own arguments, constants and functions, nothing else."""

    function: ast.FunctionDef
    functions: dict[str, ast.FunctionDef]
    out: Collector
    unknown: set[str] = field(default_factory=set)  # names already reported

    def check(self) -> None:
        f = self.function
        seen: dict[str, Span] = {}
        for p in f.parameters:
            if p.id in seen:
                self.out.error("redeclared", f"`{p.id}` is an argument twice", p.span, "the second one",
                               related=(Related(seen[p.id], "the first one"),))  # fmt: skip
            check_reserved(p, self.out)
            seen.setdefault(p.id, p.span)
        if f.slope is not None and len(f.parameters) != 1:
            self.out.error("surrogate", "a function with `grad` takes one argument", f.name.span,
                           f"this one takes {len(f.parameters)}",
                           hint="the surrogate is the derivative in that argument")  # fmt: skip
        for expr in (f.body, f.slope):
            if expr is not None:
                self._expr(expr, seen)

    def _expr(self, expr: ast.Expr, parameters: dict[str, Span]) -> None:
        f = self.function
        match expr:
            case ast.Name() if expr.id not in parameters:
                if expr.id in self.unknown:
                    return
                self.unknown.add(expr.id)
                title = f"`{expr.id}` is not an argument of `{f.name.id}`"
                label = "a function sees its arguments and nothing else"
                hint = unknown_value(expr.id, parameters, ()) or f"add it: `def {f.name.id}({', '.join([*parameters, expr.id])})`"
                if expr.id == TIME:
                    hint = f"give the step number as an argument: `{f.name.id}(…, t)`"
                self.out.error("undefined", title, expr.span, label, hint=hint)
            case ast.Index():
                if not any(d.code == "index" and f.span.start <= d.span.start < f.span.end for d in self.out.found):
                    hint = f"give what is indexed as an argument: `{f.name.id}({expr.base.id}[t-1])` where it is called"
                    self.out.error("index", "an argument of a function has no index", expr.span, "a value, not a stream", hint=hint)
                return
            case ast.Call():
                check_call(expr, self.functions, parameters, self.out)
        if check_attribute(expr, parameters, self.out):
            return
        for child in children(expr):
            self._expr(child, parameters)


_MODULES = frozenset(("np", "numpy", "torch", "math", "F", "nn", "jnp", "jax", "tf", "self"))


def check_attribute(expr: ast.Expr, known: Container[str], out: Collector) -> bool:
    """`.T` is the only thing that may stand behind a dot. True where the whole expression has been reported."""
    if not isinstance(expr, ast.Attribute) or expr.name == "T":
        return False
    base: ast.Expr = expr.base
    while isinstance(base, ast.Attribute):
        base = base.base
    if isinstance(base, ast.Name) and base.id in _MODULES and base.id not in known:
        constant = expr.name in ("pi", "inf")
        hint = f"write `{expr.name}`" + ("" if constant else " alone: every name is declared in the cell, or built in")
        out.error("attribute", "names have no module in front", expr.span, "only `.T` may stand behind a dot", hint=hint)
        return True
    hint = ""
    if expr.name.lower() in ("t", "transpose", "mt", "h"):
        hint = "the transpose is written `.T`"
    elif expr.name in BUILTINS:
        hint = f"functions are called by their own names: `{expr.name}(…)`"
    elif expr.name in ("shape", "size", "dim"):
        hint = "sizes are the names in the header"
    out.error("attribute", f"`.{expr.name}` is not part of the language", expr.name_span, "only `.T` may stand behind a dot",
              hint=hint or None)  # fmt: skip
    return False


def check_reserved(name: ast.Name, out: Collector) -> bool:
    """Reports a declared name that is `t` or a built-in; True where it is."""
    if name.id == TIME:
        out.error("reserved", "`t` is reserved for time", name.span, "choose another name",
                  hint="`t` is the step number; inside [ ] it is the step, as in `h[t-1]`")  # fmt: skip
        return True
    if name.id in BUILTINS:
        out.error("reserved", f"`{name.id}` is a built-in function", name.span, "choose another name")
        return True
    return False


_ARITY_HINTS = {
    "max": "`max(a, b)` is elementwise; a vector's largest entry has no function",
    "min": "`min(a, b)` is elementwise; a vector's smallest entry has no function",
    "where": "it reads `where(condition, a, b)`",
    "split": "it reads `a, b = split(v, 2)`",
    "heads": "it reads `heads(v, N)`, with the number of heads",
    "reshape": "it reads `reshape(A, m, n)`",
    "sum": "it sums a vector; two values are added by `+`",
    "mod": "it reads `mod(a, b)`",
    "outer": "it reads `outer(k, v)`",
    "dot": "it reads `dot(u, v)`",
}


def _count(n: int) -> str:
    return str(n) if n else "no"


def check_call(
    call: ast.Call, functions: dict[str, ast.FunctionDef], values: Container[str], out: Collector, states: Container[str] = ()
) -> None:
    """The function exists and gets as many arguments as it takes."""
    name, count = call.function.id, len(call.arguments)
    if name in functions:
        low: int = len(functions[name].parameters)
        high: int | None = low
    elif name in BUILTINS:
        low, high = BUILTINS[name].arity
    else:
        lag = time_lag(call.arguments)
        if name in states and lag is not None:
            hint: str | None = f"a time stands in square brackets: `{name}[t{f'-{lag}' if lag > 0 else ''}]`"
        elif name == "zeros":
            hint = "write 0, which broadcasts; a state without a value starts at 0"
        elif name in INITIALISERS or name in DISTRIBUTIONS:
            hint = f"`{name}` stands only behind the `~` of a param or a noise"
        else:
            hint = unknown_function(name, functions, values)
        out.error("unknown-function", f"there is no function `{name}`", call.function.span, "not a function", hint=hint)
        return
    if count < low or (high is not None and count > high):
        takes = _count(low) if low == high else f"{low} or more" if high is None else f"{low} to {high}"
        related = (Related(functions[name].name.span, "defined here"),) if name in functions else ()
        hint = _ARITY_HINTS.get(name) if name not in functions else None
        out.error("arity", f"`{name}` takes {takes} argument{'s' * (takes != '1')}", call.span, f"{_count(count)} given",
                  related=related, hint=hint)  # fmt: skip


_DRAW_SYNONYMS = {
    "xavier": "xavier_uniform", "glorot": "xavier_uniform", "glorot_uniform": "xavier_uniform", "glorot_normal": "xavier_normal",
    "kaiming": "kaiming_uniform", "he": "kaiming_uniform", "he_uniform": "kaiming_uniform", "he_normal": "kaiming_normal",
    "gaussian": "normal", "randn": "normal", "gauss": "normal", "rand": "uniform", "identity": "eye", "const": "constant",
    "dropout": "bernoulli", "orth": "orthogonal", "fill": "constant", "zero": "zeros", "one": "ones",
}  # fmt: skip


@dataclass
class CellNames:
    """The names of one cell. Declarations may stand anywhere; equations are read in the order of the text."""

    cell: ast.CellDef
    functions: dict[str, ast.FunctionDef]
    out: Collector
    roles: dict[str, str] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    assigned: dict[str, Span] = field(default_factory=dict)  # states and locals that have a value so far
    locals: dict[str, Span] = field(default_factory=dict)  # every local, and where it is first assigned
    counters: dict[str, Span] = field(default_factory=dict)  # of the repeats
    clashing: set[str] = field(default_factory=set)  # names declared twice: their uses may mean either
    unknown: set[str] = field(default_factory=set)  # names reported as undefined: told once
    repeated: set[str] = field(default_factory=set)  # states that a repeat assigns, which is told there

    def check(self) -> None:
        for h in self.cell.header:
            self._header(h)
        for d in self._declarations(self.cell.statements):
            for name in d.names:
                self._declare(name, d.role)
        self.locals = locals_ = self._locals(self.cell.statements)
        self.counters = {s.variable.id: s.variable.span for s in self.cell.statements if isinstance(s, ast.Repeat)}
        for d in self._declarations(self.cell.statements):
            self._declaration(d)
        for s in self.cell.statements:  # first, so that the reads of such a name give no second message
            for target in s.targets if isinstance(s, ast.Assign) else ():
                if target.index is not None and target.name.id not in self.roles:
                    self._no_state(target)
        for s in self.cell.statements:
            self._statement(s, locals_, counter=None)
        for s in self.cell.statements:
            if isinstance(s, ast.Output):
                self._output(s, locals_)
        self._check_whole()

    @property
    def values(self) -> Container[str]:
        """Every name that has a value in the equations."""
        return ChainMap[str, object](self.roles, self.locals, self.counters)  # type: ignore[arg-type]

    def _told(self, name: str) -> bool:
        """Whether a name has been reported, so that its uses give no second message."""
        return name in self.unknown or name in self.clashing or self.out.full

    @property
    def states(self) -> list[str]:
        return [n for n, r in self.roles.items() if r == "state"]

    def _declarations(self, statements: tuple[ast.Statement, ...]) -> list[ast.Declaration]:
        return [s for s in statements if isinstance(s, ast.Declaration)]

    def _header(self, h: ast.HeaderName) -> None:
        name = h.name
        if name.id in CONSTRUCTOR_ARGUMENTS or keyword.iskeyword(name.id) or name.id.startswith("__"):
            title = f"`{name.id}` cannot be an argument of the generated class's constructor"
            why = "a keyword of Python" if keyword.iskeyword(name.id) else "Python reserves such names"
            if name.id in CONSTRUCTOR_ARGUMENTS:
                why = "the constructor already has it"
            self.out.error("constructor-name", title, name.span, why, hint="choose another name")
        self._declare(name, "size" if h.default is None else "hyper")
        if h.default is not None:
            self._value(h.default, "a hyperparameter's default", frozenset())

    def _declare(self, name: ast.Name, role: str) -> None:
        if check_reserved(name, self.out):
            self.roles.setdefault(name.id, role)
            return
        if name.id in self.roles:
            related = (Related(self.places[name.id], "first declared here"),) if name.id in self.places else ()
            self.out.error("redeclared", f"`{name.id}` is declared twice", name.span, "declared again here", related=related)
            self.clashing.add(name.id)
            return
        if role in ("param", "const") and name.id in LAYER_ATTRIBUTES:
            title = f"a {role} cannot be named `{name.id}`"
            label = "the generated layer already has an attribute of this name"
            self.out.error("attribute-clash", title, name.span, label, hint=f"choose another name, such as `{name.id}_`")
        self.roles[name.id] = role
        self.places[name.id] = name.span

    def _declaration(self, d: ast.Declaration) -> None:
        for size in (*d.shape.heads, *d.shape.axes):
            self._size(size)
        if d.value is not None:
            what = "an initial value" if d.role == "state" else "a const's value"
            self._value(d.value, what, PARAMS if d.role == "state" else STATIC | {"const"})
        match d.constraint:
            case ast.Above(op=op) if op != ">":
                low = self.out.source.slice(d.constraint.low.span)
                hint = f"write `> {low}`: the bound itself is excluded" if op == ">=" else f"write `in (lo, {low})`"
                hint = hint if op in (">=", "<", "<=") else "the bound itself is excluded"
                self.out.error("constraint", f"`{op}` is not a constraint", d.constraint.span, "a param may be `> lo` or `in (lo, hi)`",
                               hint=hint)  # fmt: skip
            case ast.Above():
                self._value(d.constraint.low, "a constraint", STATIC)
            case ast.Between():
                self._value(d.constraint.low, "a constraint", STATIC)
                self._value(d.constraint.high, "a constraint", STATIC)
        if d.draw is not None:
            known, what = (DISTRIBUTIONS, "distribution") if d.role == "noise" else (INITIALISERS, "initialiser")
            self._draw(d.draw, known, what, PARAMS if d.role == "noise" else STATIC)

    def _draw(self, draw: ast.Draw, known: dict[str, tuple[int, ...]], what: str, roles: frozenset[str]) -> None:
        name = draw.name.id
        if name not in known:
            near = _DRAW_SYNONYMS.get(name.lower()) or closest(name, known)
            hint = f"did you mean `{near}`?" if near in known else f"{what}s are {', '.join(known)}"
            self.out.error(f"unknown-{what}", f"there is no {what} `{name}`", draw.name.span, f"not a known {what}",
                           hint=hint)  # fmt: skip
        elif len(draw.arguments) not in known[name]:
            takes = " or ".join(map(_count, known[name]))
            title = f"`{name}` takes {takes} argument{'s' * (takes != '1')}"
            self.out.error("arity", title, draw.span, f"{_count(len(draw.arguments))} given")
        for a in draw.arguments:
            self._value(a, f"the argument of {_a(what)}", roles)

    def _size(self, expr: ast.Expr) -> None:
        """A size is whole numbers and dimensions under + - * / ^."""
        match expr:
            case ast.Name():
                self.used.add(expr.id)
                self._size_name(expr)
            case ast.Number() if isinstance(expr.value, complex) or expr.value != expr.value // 1:
                self.out.error("not-a-size", "a size is a whole number", expr.span, "not a whole number")
            case ast.Number():
                pass
            case ast.Binary(op="+" | "-" | "*" | "/" | "^") | ast.Prefix():
                for child in children(expr):
                    self._size(child)
            case _:
                self.out.error("not-a-size", "a shape is made of numbers and sizes of the header", expr.span,
                               "not a size", hint="sizes may be combined, as in `[4*H]`")  # fmt: skip

    def _size_name(self, name: ast.Name) -> None:
        role = self.roles.get(name.id)
        if role == "size" or self._told(name.id):
            return
        self.unknown.add(name.id)
        sizes = [n for n, r in self.roles.items() if r == "size"]
        if role is None:
            hint = lookalike(name.id, sizes) or (
                f"did you mean `{near}`?"
                if (near := closest(name.id, sizes))
                else f"add it to the header: `cell {self.cell.name.id}({', '.join([*sizes, name.id])}):`"
            )
            title = f"the size `{name.id}` is not in the header"
            self.out.error("undefined-size", title, name.span, "not a size of this cell", hint=hint)
            return
        hint = ""
        if role == "hyper":
            hint = f"a size has no default; write `{name.id}` alone in the header, and its value where a layer is built"
        related = (Related(self.places[name.id], "declared here"),) if name.id in self.places else ()
        self.out.error("not-a-size", "a shape is made of sizes", name.span, f"`{name.id}` is {_a(role)}", hint=hint or None,
                       related=related)  # fmt: skip

    def _value(self, expr: ast.Expr, what: str, allowed: frozenset[str]) -> None:
        """An expression outside the equations: made of numbers and of names with one of the `allowed` roles."""
        match expr:
            case ast.Name():
                self.used.add(expr.id)
                role = self.roles.get(expr.id, "clock" if expr.id == TIME else None)
                if role is None and expr.id in self.locals:
                    self.out.error("not-static", f"{what} cannot depend on a local", expr.span,
                                   f"`{expr.id}` is a local, which changes every step",
                                   related=(Related(self.locals[expr.id], "assigned here"),))  # fmt: skip
                elif role is None:
                    known = [n for n, r in self.roles.items() if r in allowed]
                    self._undefined(expr, unknown_value(expr.id, known, ()) or self._declaring_hint(expr.id))
                elif role not in allowed:
                    words = {"size": "sizes", "hyper": "hyperparameters", "param": "params", "const": "consts"}
                    made = ["numbers"] + [words[r] for r in ("size", "hyper", "const", "param") if r in allowed]
                    title = f"{what} cannot depend on {_a(role)}"
                    label = f"`{expr.id}` is {_a(role)}"
                    self.out.error("not-static", title, expr.span, label, hint=f"it is made of {_list(made)}")
                return
            case ast.Index() if self.roles.get(expr.base.id) in ("state", "input", "noise"):
                role = self.roles[expr.base.id]
                self.used.add(expr.base.id)
                self.out.error("not-static", f"{what} cannot depend on {_a(role)}", expr.span,
                               f"`{expr.base.id}` is {_a(role)}")  # fmt: skip
                return
            case ast.Index():
                self._value(expr.base, what, allowed)
            case ast.Call():
                check_call(expr, self.functions, self.values, self.out)
        if check_attribute(expr, self.roles, self.out):
            return
        for child in children(expr):
            self._value(child, what, allowed)

    def _locals(self, statements: tuple[ast.Statement, ...]) -> dict[str, Span]:
        """Every local of the cell and where it is first assigned."""
        found: dict[str, Span] = {}
        for s in statements:
            if isinstance(s, ast.Assign):
                for target in s.targets:
                    if target.index is None and target.name.id not in self.roles:
                        found.setdefault(target.name.id, target.name.span)
            elif isinstance(s, ast.Repeat):
                for name, span in self._locals(s.body).items():
                    found.setdefault(name, span)
        return found

    def _statement(self, s: ast.Statement, locals_: dict[str, Span], counter: ast.Name | None) -> None:
        match s:
            case ast.Assign():
                self._expr(s.value, locals_, counter)
                for target in s.targets:
                    self._target(target, s, locals_, counter)
            case ast.Repeat():
                self._repeat(s, locals_, counter)
            case ast.Declaration() | ast.Output() if counter is not None:
                word = s.role if isinstance(s, ast.Declaration) else "output"
                self.out.error("repeat-body", f"`{word}` cannot stand inside a repeat", s.span,
                               "only locals are assigned in a repeat", hint="put it outside the block")  # fmt: skip

    def _repeat(self, s: ast.Repeat, locals_: dict[str, Span], counter: ast.Name | None) -> None:
        if counter is not None:
            self.out.error("nested-repeat", "repeats cannot be nested", s.variable.span, "inside another repeat",
                           related=(Related(counter.span, "the outer repeat"),))  # fmt: skip
            return
        for bound in (s.low, s.high):
            self._bound(bound)
        name = s.variable
        if check_reserved(name, self.out):
            return
        if name.id in self.roles or name.id in locals_:
            place = self.places.get(name.id) or locals_[name.id]
            self.out.error("redeclared", f"`{name.id}` has a meaning already", name.span, "the counter of a repeat",
                           related=(Related(place, "declared here"),), hint="give the counter a name of its own")  # fmt: skip
        for inner in s.body:
            self._statement(inner, locals_, name)

    def _bound(self, expr: ast.Expr) -> None:
        if isinstance(expr, ast.Number) and not isinstance(expr.value, complex) and expr.value == expr.value // 1:
            return
        if isinstance(expr, ast.Name) and self.roles.get(expr.id) == "size":
            self.used.add(expr.id)
            return
        label = "not a number or a size"
        if isinstance(expr, ast.Name) and expr.id in self.roles:
            label = f"`{expr.id}` is {_a(self.roles[expr.id])}"
        elif isinstance(expr, ast.Name):
            label = f"nothing declares `{expr.id}`"
        self.out.error("repeat-bound", "the bound of a repeat is a whole number or a size", expr.span, label,
                       hint="the block is unrolled, so its length must be known when a layer is built")  # fmt: skip

    def _target(self, target: ast.Target, s: ast.Assign, locals_: dict[str, Span], counter: ast.Name | None) -> None:
        name = target.name
        role = self.roles.get(name.id)
        if role == "state":
            self._assign_state(target, counter)
            return
        if target.index is not None:
            self._no_state(target)
            return
        if role is not None:
            title = f"`{name.id}` is {_a(role)} and cannot be assigned"
            self.out.error("redeclared", title, name.span, "assigned here", hint="give the result a name of its own",
                           related=(Related(self.places[name.id], "declared here"),))  # fmt: skip
            return
        if check_reserved(name, self.out):
            self.assigned.setdefault(name.id, name.span)
            return
        if name.id in self.functions and name.id in self._called():
            self.out.error("redeclared", f"`{name.id}` is a function of this file", name.span, "assigned here",
                           related=(Related(self.functions[name.id].name.span, "defined here"),))  # fmt: skip
        before = self.assigned.get(name.id)
        if before is not None and counter is None:
            hint = f"give the second value a name of its own, such as `{name.id}2`"
            self.out.error("reassigned", f"`{name.id}` is assigned twice", name.span, "assigned again here", hint=hint,
                           related=(Related(before, "first assigned here"),))  # fmt: skip
        self.assigned.setdefault(name.id, name.span)
        self.places.setdefault(name.id, name.span)

    def _no_state(self, target: ast.Target) -> None:
        """Reports `z[t] = …` where `z` is not declared as a state."""
        name = target.name.id
        role = self.roles.get(name)
        if self._told(name):
            return
        self.unknown.add(name)
        if role is not None:
            hint = "an equation names a result: `z = …`"
            if role in ("param", "const"):
                hint = f"{_a(role)} is the same at every step; what changes is a state, `state {name}: […]`"
            self.out.error("not-a-state", f"`{name}` is {_a(role)}, not a state", target.span, "only a state is assigned at a time",
                           hint=hint, related=(Related(self.places[name], "declared here"),))  # fmt: skip
            return
        near = closest(name, [s for s in self.states if s not in self.locals])
        hint = f"did you mean `{near}[t]`?" if near else f"declare it, `state {name}: [H]`, or write `{name} = …` if no step reads its past"
        self.out.error("not-a-state", f"`{name}` is not declared", target.span, "only a state is assigned at a time", hint=hint)

    def _called(self) -> set[str]:
        found: set[str] = set()

        def of(statements: tuple[ast.Statement, ...]) -> None:
            for s in statements:
                if isinstance(s, ast.Assign):
                    found.update(c.function.id for c in _calls(s.value))
                elif isinstance(s, ast.Output):
                    found.update(c.function.id for r in s.returned if r.value for c in _calls(r.value))
                elif isinstance(s, ast.Repeat):
                    of(s.body)

        of(self.cell.statements)
        return found

    def _assign_state(self, target: ast.Target, counter: ast.Name | None) -> None:
        name = target.name
        lag = time_lag(target.index)
        if counter is not None:
            self.out.error("repeat-body", "no state is assigned inside a repeat", target.span, "assigned here",
                           hint=f"use a local inside, and write `{name.id}[t] = …` after `end`")  # fmt: skip
            self.repeated.add(name.id)
            self.assigned.setdefault(name.id, target.span)
            return
        if target.index is None:
            self.out.error("bare-state", f"`{name.id}` is a state", name.span, "a state is assigned with its time",
                           hint=f"write `{name.id}[t] = …`")  # fmt: skip
        elif lag is None:
            self.out.error("index", "this is not a time", target.span, "a state is assigned at `t`",
                           hint=f"write `{name.id}[t] = …`")  # fmt: skip
        elif lag != 0:
            hint = f"the new value is `{name.id}[t]`, the old one `{name.id}[t-1]`"
            self.out.error("index", f"only `{name.id}[t]` can be assigned", target.span, "another step than `t`", hint=hint)
        if name.id in self.assigned and name.id not in self.repeated:
            self.out.error("reassigned", f"the state `{name.id}` is assigned twice", target.span, "assigned again here",
                           related=(Related(self.assigned[name.id], "first assigned here"),))  # fmt: skip
        self.assigned.setdefault(name.id, target.span)

    def _expr(self, expr: ast.Expr, locals_: dict[str, Span], counter: ast.Name | None, at_end: bool = False) -> None:
        """An expression of an equation; `at_end`: all equations have been read."""
        match expr:
            case ast.Name():
                self._name(expr, locals_, counter)
                return
            case ast.Index():
                self._index(expr, locals_, counter)
                return
            case ast.Call():
                check_call(expr, self.functions, self.values, self.out, self.states)
        if check_attribute(expr, self.values, self.out):
            return
        for child in children(expr):
            self._expr(child, locals_, counter)

    def _name(self, name: ast.Name, locals_: dict[str, Span], counter: ast.Name | None) -> None:
        self.used.add(name.id)
        role = self.roles.get(name.id)
        if role == "state" and name.id not in self.clashing:
            self.out.error("bare-state", f"`{name.id}` is a state", name.span, "a state is read with its time",
                           hint=f"write `{name.id}[t-1]` for the old value, `{name.id}[t]` for the new one")  # fmt: skip
        elif role is not None or name.id == TIME or (counter is not None and name.id == counter.id):
            return
        elif name.id in locals_:
            if name.id not in self.assigned:
                self.out.error("read-before-assigned", f"`{name.id}` is read before it is assigned", name.span,
                               "it has no value yet", related=(Related(locals_[name.id], "assigned here"),),
                               hint="equations are read from top to bottom; what is carried from step to step is a state")  # fmt: skip
        else:
            if self._told(name.id):
                return
            known = [*self.roles, *locals_, *([counter.id] if counter else [])]
            if name.id in self.counters:
                self.out.error("undefined", f"`{name.id}` has no value here", name.span, "known inside its repeat alone",
                               related=(Related(self.counters[name.id], "the counter of this repeat"),))  # fmt: skip
            else:
                self._undefined(name, unknown_value(name.id, known, self.states) or self._declaring_hint(name.id))

    def _undefined(self, name: ast.Name, hint: str | None) -> None:
        """Reports a name that nothing declares, once a cell."""
        if self._told(name.id):
            return
        self.unknown.add(name.id)
        written = self.out.source.slice(name.span)
        if written.endswith("ᵀ"):
            hint = f"a transpose is written `{written[:-1]}.T`"
        if name.id in self.functions or name.id in BUILTINS:
            self.out.error("function-value", f"`{name.id}` is a function, not a value", name.span, "a function is called",
                           hint=f"write `{name.id}(…)`")  # fmt: skip
        else:
            self.out.error("undefined", f"`{written}` is not defined", name.span, "nothing declares this name", hint=hint)

    def _declaring_hint(self, name: str) -> str:
        """Where an unknown name may be declared."""
        if "input" not in self.roles.values():
            return f"declare it: `input {name}: [D]`"
        return f"declare it, as in `param {name}: [H]`, or assign it on a line above"

    def _index(self, expr: ast.Index, locals_: dict[str, Span], counter: ast.Name | None) -> None:
        name = expr.base.id
        self.used.add(name)
        role = self.roles.get(name)
        lag = time_lag(expr.arguments)
        if role in ("state", "input"):
            if lag is None:
                self._no_time(expr, role)
            elif lag < 0:
                self.out.error("future", f"`{name}[t+{-lag}]` lies in the future", expr.span, "not known yet at step t",
                               hint=f"a cell may read `{name}[t]` and the past, `{name}[t-1]`")  # fmt: skip
            elif role == "state" and lag == 0 and name not in self.assigned:
                self._read_early(expr)
            elif lag > MAX_LAG:
                self.out.error("index", f"a lag of {lag} steps is too long", expr.span, f"at most {MAX_LAG} steps back")
        elif role in ("param", "const"):
            if _mentions_time(expr):
                self.out.error("index", f"`{name}` does not change with time", expr.span, f"`{name}` is {_a(role)}",
                               hint=f"write `{name}`")  # fmt: skip
                return
            if len(expr.arguments) != 1:
                self.out.error("index", "a slice is selected by one number", expr.span, f"{len(expr.arguments)} given",
                               hint=f"`{name}[k]` is slice k of the leading head axis; single entries are not selected")  # fmt: skip
                return
            self._slice(expr.arguments[0], counter)
        elif role in ("size", "hyper"):
            self.out.error("index", f"`{name}` is {_a(role)}", expr.span, "it has no index", hint=f"write `{name}`")
        elif role == "noise":
            self.out.error("index", f"`{name}` is a noise", expr.span, "a noise is read without an index",
                           hint=f"write `{name}`; to keep an old draw, carry it in a state")  # fmt: skip
        elif name in locals_:
            if lag is None:
                label, hint = f"`{name}` is a local", "only params and consts with head axes are sliced"
            elif lag == 0:
                label, hint = f"`{name}` is a local, not a state", f"write `{name}`"
            else:
                label = f"`{name}` is a local: its old value is not kept"
                hint = f"to keep it, declare `state {name}: […]` and assign `{name}[t] = …`"
            self.out.error("not-a-state", f"`{name}` has no index", expr.span, label, hint=hint)
        elif not self._told(name):
            hint = unknown_value(name, [*self.roles, *locals_], self.states) or ""
            near = closest(name, self.states)
            if near and lag is not None and lag >= 0:
                hint = f"did you mean `{near}[t{'-' + str(lag) if lag else ''}]`?"
            elif lag is not None and not hint:
                hint = f"declare it: `state {name}: [H]`"
            self._undefined(expr.base, hint or self._declaring_hint(name))

    def _no_time(self, expr: ast.Index, role: str) -> None:
        """Reports an index of a state or an input that is no time."""
        name = expr.base.id
        if len(expr.arguments) > 1:
            hint = f"write `{name}[t]` or `{name}[t-1]`; single entries are not selected"
        elif self._other_step(expr.arguments[0]):
            hint = f"the step is called `t`: `{name}[t]`, `{name}[t-1]`"
        elif _mentions_time(expr):
            hint = f"a lag is a whole number, written out: `{name}[t-1]`, `{name}[t-2]`"
        elif role == "state":
            hint = f"write `{name}[t-1]` for the old value, `{name}[t]` for the new one; single entries are not selected"
        else:
            hint = f"write `{name}` for this step, `{name}[t-1]` for the one before; single entries are not selected"
        self.out.error("index", "this is not a time", expr.span, f"`{name}` is {_a(role)}, indexed by time", hint=hint)

    def _other_step(self, index: ast.Expr) -> bool:
        """Whether an index is a step by another name, `n-1`."""
        if isinstance(index, ast.Binary) and isinstance(index.right, ast.Number):
            index = index.left
        return isinstance(index, ast.Name) and index.id != TIME and index.id not in self.values

    def _read_early(self, expr: ast.Index) -> None:
        """Reports `h[t]` before the line that assigns it, unless that line is missing or wrong, which is reported itself."""
        name = expr.base.id
        for s in self.cell.statements:
            for target in s.targets if isinstance(s, ast.Assign) else ():
                if target.name.id == name and time_lag(target.index) == 0:
                    here = s.span.start <= expr.span.start < s.span.end
                    label = "this line assigns it" if here else "it has no value yet"
                    related = () if here else (Related(target.span, "assigned here"),)
                    self.out.error("read-before-assigned", f"`{name}[t]` is read before it is assigned", expr.span, label,
                                   hint=f"the old value is `{name}[t-1]`", related=related)  # fmt: skip
                    return

    def _slice(self, index: ast.Expr, counter: ast.Name | None) -> None:
        match index:
            case ast.Name():
                self.used.add(index.id)
                if self.roles.get(index.id) != "size" and (counter is None or index.id != counter.id):
                    self.out.error("index", "a slice is selected by a number, a size or the repeat's counter", index.span,
                                   "not known when a layer is built")  # fmt: skip
            case ast.Number():
                pass
            case ast.Binary(op="+" | "-"):
                self._slice(index.left, counter)
                self._slice(index.right, counter)
            case _:
                self.out.error("index", "a slice is selected by a number, a size or the repeat's counter", index.span,
                               "not a slice")  # fmt: skip

    def _output(self, s: ast.Output, locals_: dict[str, Span]) -> None:
        for r in s.returned:
            key = f"output {r.name.id}"
            if key in self.places:
                self.out.error("redeclared", f"`{r.name.id}` is an output twice", r.name.span, "returned again here",
                               related=(Related(self.places[key], "first returned here"),))  # fmt: skip
            self.places.setdefault(key, r.name.span)
            if r.value is not None:
                self._expr(r.value, locals_, None)
            elif self.roles.get(r.name.id) == "state":
                self.used.add(r.name.id)
            elif r.name.id not in self.roles and r.name.id not in locals_ and r.name.id not in BUILTINS:
                near = closest(r.name.id, [*self.roles, *locals_])
                hint = f"did you mean `{near}`?" if near else f"an expression is returned as `output {r.name.id} = …`"
                self._undefined(r.name, hint)
            else:
                self._name(r.name, locals_, None)

    def _check_whole(self) -> None:
        cell = self.cell
        where = cell.name.span
        for name in self.states:
            if name not in self.assigned and name in self.places and name not in self.clashing:
                meant = [n for n in (f"{name}_t", f"{name}_new", f"new_{name}", f"{name}_next") if n in self.locals]
                related = (Related(self.locals[meant[0]], f"should this be `{name}[t]`?"),) if meant else ()
                self.out.error("unassigned-state", f"the state `{name}` is never assigned", self.places[name],
                               "it needs a new value every step", hint=f"add `{name}[t] = …`", related=related)  # fmt: skip
        inner = [i for s in cell.statements if isinstance(s, ast.Repeat) for i in s.body]
        if not any(isinstance(s, ast.Output) for s in (*cell.statements, *inner)):
            what = f"output {self.states[-1]}" if self.states else "output y = …"
            self.out.error("missing-output", f"the cell `{cell.name.id}` returns nothing", where, "it has no `output`",
                           hint=f"end it with `{what}`")  # fmt: skip
        if not any(r == "input" for r in self.roles.values()) and not self.unknown:
            self.out.error("missing-input", f"the cell `{cell.name.id}` reads nothing", where, "it has no `input`",
                           hint="declare one: `input x: [D]`")  # fmt: skip
        for name, role in self.roles.items():
            if name not in self.used and role not in ("state",) and name in self.places:
                self._unused(name, role)
        for name in self._locals(cell.statements):
            if name not in self.used:
                self._unused(name, "local")

    def _unused(self, name: str, role: str) -> None:
        if not self.out.failed:
            self.out.error("unused", f"`{name}` is never used", self.places[name], f"this {_ROLE_WORDS.get(role, role)} changes nothing",
                           severity="warning")  # fmt: skip


MAX_LAG = 64  # each step back is one more carried field

_ROLE_WORDS = {"hyper": "hyperparameter", "clock": "step number"}


def _a(role: str) -> str:
    word = _ROLE_WORDS.get(role, role)
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _mentions_time(expr: ast.Index) -> bool:
    stack: list[ast.Expr] = list(expr.arguments)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name) and node.id == TIME:
            return True
        stack.extend(children(node))
    return False


def time_lag(index: tuple[ast.Expr, ...] | None) -> int | None:
    """Steps back that a time index means: 0 for `t`, 1 for `t-1`, -1 for `t+1`; None where it is no time."""
    if index is None or len(index) != 1:
        return None
    match index[0]:
        case ast.Name(id="t"):
            return 0
        case ast.Binary(op="-" | "+" as op, left=ast.Name(id="t"), right=ast.Number(value=float() as n)) if n == n // 1:
            return int(n) if op == "-" else -int(n)
    return None


__all__ = ["as_read", "check_names", "children", "time_lag"]
