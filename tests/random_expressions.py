"""Random expressions of the language: each is made for a shape that is asked for, so that every program is valid by construction.

Values are kept tame (what a function is given lies well inside its domain, products are scaled), so that most programs give numbers
that two right implementations agree on.
"""

import keyword
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rnndsl.checks.attributes import CONSTRUCTOR_ARGUMENTS, LAYER_ATTRIBUTES
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax.keywords import KEYWORDS

T = TypeVar("T")


class Choices:
    """Where all randomness comes from. `below(n)` is a whole number from 0 to n - 1; 0 is the simplest choice."""

    def __init__(self, below: Callable[[int], int]):
        self.below = below

    def one_of(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        return self.below(100) >= 100 - percent

    def shuffled(self, items: Sequence[T]) -> list[T]:
        rest, found = list(items), []
        while rest:
            found.append(rest.pop(self.below(len(rest))))
        return found


@dataclass(frozen=True)
class Shape:
    """Head axes and axes, each the text of a size. A place for complex values takes real ones too."""

    heads: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    is_complex: bool = False

    @property
    def rank(self) -> int:
        return len(self.axes)

    @property
    def real(self) -> "Shape":
        return replace(self, is_complex=False)


SCALAR = Shape()


def times(a: str, b: str) -> str:
    """The product of two sizes, written in one way."""
    return "*".join(sorted((a, b)))


# What a value may depend on, each level with what is before it: numbers and consts; params; inputs, noise and time; states.
CONSTS, PARAMS, INPUTS, STATES = range(4)


@dataclass
class Atom:
    """A text that stands for a value."""

    text: str
    shape: Shape
    level: int
    local: bool = False  # known in equations alone


@dataclass(frozen=True)
class Def:
    """A function of the program: what it takes, given what it is to return."""

    name: str
    text: str
    takes: Callable[["Shape"], tuple["Shape | str", ...] | None]  # a text stands as it is; None: it returns no such shape


# Names that generated text, its libraries or a careless compiler would use.
ODD_NAMES = (
    "z", "f", "gamma", "lambda", "I", "tl", "torch", "exp2", "E", "Q", "α", "S", "self", "state_0", "T", "out", "_x", "u", "φ_1", "np", "ops",
    "F", "B", "cos2", "None", "tanh1", "h_", "dtype", "i", "x_t", "v", "v_", "v_1", "v_r", "v_5_r", "h_1", "h_1_r", "h_all", "x_rows", "panels",
    "first", "rest", "final", "finals", "d_h_1", "d_h", "L1", "b9", "w28", "k_", "row", "rows", "start", "stop", "call", "steps", "lead", "kind",
    "params", "initial", "carry", "streams", "statics", "reset", "batch", "block", "lanes", "program_id", "tile", "offset", "width", "scale_",
    "math", "std", "int", "long", "double", "float_", "auto", "const_", "register", "template", "this", "new", "delete", "class", "sum_", "g", "acc",
    "W_x", "z_in", "parts", "p", "q", "r", "c", "n", "m", "l", "s", "beta", "b", "U", "A", "γ", "V_1", "w", "ga", "nu", "M", "lam", "delta", "x_1",
    "h_2", "c_2", "count", "index", "h", "x", "y", "o", "a", "d", "e", "j", "mask", "pointer", "ptr", "base", "load", "store", "size", "dim", "true",
)  # fmt: skip
ENDINGS = ("_r", "_1", "_1_r", "_", "_in", "_all", "_rows", "_last", "_0", "_x", "_t", "_2", "_product", "_v")
RESERVED = frozenset(KEYWORDS) | frozenset(FUNCTIONS) | {"t"}

SMOOTH = ("tanh", "sigmoid", "sin", "cos", "silu", "gelu", "softplus", "logsigmoid")
KINKED = ("relu", "abs", "elu", "sign", "floor", "heaviside")
SAME = ("re", "conj", "im")
TWO = ("max", "min", "logaddexp", "mod")
NUMBERS = ("0.5", "2", "1e-1", "(-0.3)", ".7", "(pi / 4)", "(2^-1)", "1", "0", "(1 / 3)", "3", "sqrt(2)", "(-1)", "tanh(0.5)", "0.25e1")
EXPONENTS = ("2", "3", "-1", "-2", "0", "1", "0.5", "-0.5", "1.5", "(1 / 3)", "sqrt(2)", "(2 - 1)", "2^2", "4", "(-3)", "2.0", "10")


@dataclass
class Expressions:
    """Makes expressions. It declares the params that they need, and knows every value that is there."""

    choices: Choices
    budget: int  # how many operations the whole program may still have
    complex_values: bool = True
    surrogates: bool = True
    declarations: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    atoms: list[Atom] = field(default_factory=list)
    defs: list[Def] = field(default_factory=list)
    called: set[str] = field(default_factory=set)  # the functions that are in use
    level: int = STATES  # what expressions may depend on
    declaring: bool = False  # outside of the equations: no locals, no new params
    dims: tuple[str, ...] = ("D", "H")  # sizes that vectors have
    head_sizes: tuple[str, ...] = ("N", "L")
    names: dict[str, str] = field(default_factory=dict)  # how the header calls a size

    # Names and shapes

    def fresh(self, stem: str, *, attribute: bool = False, argument: bool = False) -> str:
        """A name that nothing has. attribute: the generated class will have it; argument: its constructor will."""
        pick = self.choices.below(4)
        if pick == 0:
            name = f"{stem}{len(self.taken)}"
        elif pick < 3 or not self.taken:
            name = self.choices.one_of(ODD_NAMES)
        else:
            known = self.choices.one_of(sorted(self.taken))
            name = self.choices.one_of((*(known + e for e in ENDINGS), "d_" + known))
        bad = name in self.taken | RESERVED or (attribute and name in LAYER_ATTRIBUTES)
        bad = bad or (argument and (keyword.iskeyword(name) or name in CONSTRUCTOR_ARGUMENTS or name.startswith("_")))
        if bad:
            name = f"{stem}{len(self.taken)}"
            while name in self.taken:
                name += "_"
        self.taken.add(name)
        return name

    def size(self, text: str) -> str:
        """A size as the program writes it."""
        words = []
        for word in text.replace("*", " * ").replace("/", " / ").split():
            words.append(self.names.get(word, word))
        match words:
            case [a, "*", b] if self.choices.chance(25):
                return f"{b}*{a}" if not (a == "2" and self.choices.chance(50)) else f"{b} + {b}"
            case [a, "+", b] if self.choices.chance(25):
                return f"{b} + {a}"
        return " ".join(words).replace(" * ", "*").replace(" / ", "/")

    def shown(self, shape: Shape) -> str:
        """A declared shape."""
        heads, axes = (", ".join(map(self.size, part)) for part in (shape.heads, shape.axes))
        text = f"[{heads};{' ' if axes else ''}{axes}]" if shape.heads else f"[{axes}]"
        return f"complex {text}" if shape.is_complex else text

    def axis(self) -> str:
        return self.choices.one_of(self.dims)

    def some_heads(self, heads: tuple[str, ...]) -> tuple[str, ...]:
        """The same head axes, or none, which broadcasts."""
        return heads if self.choices.chance(75) else ()

    def side(self, shape: Shape) -> Shape:
        """A shape for one operand: of a complex result it may be real, of one with heads it may have none."""
        is_complex = shape.is_complex and self.choices.chance(60)
        return Shape(self.some_heads(shape.heads), shape.axes, is_complex)

    def two_sides(self, shape: Shape) -> tuple[Shape, Shape]:
        """Shapes for two operands; one of them has the heads."""
        found = shape, self.side(shape)
        return found if self.choices.chance(50) else found[::-1]

    # Declared values

    def param(self, shape: Shape, constraint: str | None = None, *, new: bool = False) -> str:
        """A param of a shape, or now and then a const: one that is there, or a new one."""
        c = self.choices
        if not new:
            fitting = [a.text for a in self.atoms if a.shape == shape and a.level <= min(self.level, PARAMS) and not (self.declaring and a.local)]
            if fitting and c.chance(25):
                return c.one_of(fitting)
        name = self.fresh("P", attribute=True)
        is_const = self.level == CONSTS or (constraint is None and c.chance(10))
        if is_const:
            value = c.one_of(("", "", " = 0.5", " = -1/4", None))
            if value is None:
                with self.only(CONSTS, declaring=True):
                    value = f" = {self.expr(c.one_of((shape, shape.real, SCALAR)), 1)}"
            self.declarations.append(f"const {name}: {self.shown(shape)}{value}")
        else:
            if constraint is None:
                constraint = "" if shape.is_complex else c.one_of(("", "", "", "", "", " > 0", " in (0, 1)", " > -1", " in (-0.5, 2)"))
            initialisers = ["", "", "", " ~ normal(0.3)", " ~ normal(0.1, 0.3)", " ~ uniform(0.2, 0.8)", " ~ constant(0.4)", " ~ linspace(0.1, 0.9)"]
            if not constraint:
                initialisers += [" ~ zeros", " ~ ones"]
                initialisers += [f" ~ {i}" for i in ("orthogonal", "eye", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal")] * (shape.rank == 2)
            self.declarations.append(f"param {name}: {self.shown(shape)}{constraint}{c.one_of(initialisers)}")
        self.atoms.append(Atom(name, shape, CONSTS if is_const else PARAMS))
        return name

    @contextmanager
    def only(self, level: int, *, declaring: bool = False) -> Iterator[None]:
        """Expressions that depend on no more than that."""
        was = self.level, self.declaring
        self.level, self.declaring = min(level, self.level), declaring or self.declaring
        yield
        self.level, self.declaring = was

    # Expressions. Each method returns text that may stand as an operand of anything: a name, a call or in brackets.

    def expr(self, shape: Shape, depth: int) -> str:
        """An expression of this shape; of a complex one perhaps a real one."""
        self.budget -= 1
        if depth <= 0 or self.budget <= 0:
            return self.atom(shape)
        if shape.is_complex:
            if self.choices.chance(20):
                return self.expr(shape.real, depth)
            rules = [self.atom, self.sum_, self.complex_pair, self.complex_function, self.scaled, self.ratio, self.choice, self.power]
        else:
            rules = [self.atom, self.smooth, self.sum_, self.scaled, self.gate, self.kinked, self.two, self.ratio, self.choice, self.power]
            rules += [self.domain, self.called_function, self.truth, self.of_complex]
            if self.surrogates:
                rules += [self.surrogate]
        rules += {0: [self.reduced] * 4, 1: [self.matvec] * 5 + [self.vector] * 4, 2: [self.matrix] * 8}[shape.rank]
        if shape.heads and shape.rank < 2:
            rules += [self.split_heads] * 2
        return self.choices.one_of(rules)(shape, depth - 1)

    def loose(self, shape: Shape, depth: int) -> str:
        """An expression of this shape or of one that broadcasts to it."""
        options = (shape, shape, Shape(shape.heads, (), shape.is_complex), Shape((), shape.axes, shape.is_complex), SCALAR)
        return self.expr(self.choices.one_of(options), depth)

    def atom(self, shape: Shape, depth: int = 0) -> str:
        """A name of this shape, a number, or a new param."""
        fitting = [a for a in self.atoms if a.shape in (shape, shape.real) and a.level <= self.level and not (self.declaring and a.local)]
        if fitting and not self.choices.chance(15):
            high = [a for a in fitting if a.level == self.level]  # what depends on much is rarer than params
            return self.choices.one_of(high if high and self.choices.chance(50) else fitting).text
        if shape.real == SCALAR and self.choices.chance(40):
            return self.number(shape)
        return self.param(shape)

    def number(self, shape: Shape, depth: int = 0) -> str:
        if shape.is_complex and self.choices.chance(60):
            return self.choices.one_of(("(0.3 + 0.2j)", "0.5j", "(-0.4j)", "(1 - 1j) / 2", "1j"))
        return self.choices.one_of(NUMBERS)

    def bounded(self, shape: Shape, depth: int) -> str:
        """A value between -1 and 1, or of such a modulus."""
        inner = self.expr(shape, depth)
        if shape.is_complex:
            return f"({inner} / (1 + abs({inner})))" if len(inner) < 40 else f"(0.3 * {inner})"
        return f"{self.choices.one_of(('tanh', 'sigmoid', 'cos', 'sin'))}({inner})"

    def positive(self, shape: Shape, depth: int) -> str:
        """A value well above 0."""
        inner = self.expr(shape.real, depth)
        forms = ("(1 + {}^2)", "(0.2 + sigmoid({}))", "exp(tanh({}))", "(0.1 + softplus({}))", "(0.5 + abs({}))", "sigmoid({})")
        return self.choices.one_of(forms).format(inner)

    def smooth(self, shape: Shape, depth: int) -> str:
        return f"{self.choices.one_of(SMOOTH)}({self.expr(shape, depth)})"

    def domain(self, shape: Shape, depth: int) -> str:
        """A function that not every value may be given to."""
        name = self.choices.one_of(("exp", "log", "sqrt"))
        return f"exp({self.bounded(shape, depth)})" if name == "exp" else f"{name}({self.positive(shape, depth)})"

    def kinked(self, shape: Shape, depth: int) -> str:
        name = self.choices.one_of((*KINKED, *SAME))
        inner = self.expr(shape, depth)
        return f"{name}({'3 * ' if name == 'floor' else ''}{inner})"

    def two(self, shape: Shape, depth: int) -> str:
        name = self.choices.one_of(TWO)
        first = self.expr(shape, depth)
        second = self.positive(self.choices.one_of((shape, SCALAR)), depth) if name == "mod" else self.loose(shape, depth)
        sides = [first, second] if name == "mod" or self.choices.chance(50) else [second, first]
        return f"{name}({', '.join(sides)})"

    def sum_(self, shape: Shape, depth: int) -> str:
        sides = [self.expr(shape, depth), self.loose(shape, depth)]
        left, right = sides if self.choices.chance(50) else reversed(sides)
        match self.choices.below(5):
            case 0:
                return f"({left} + {right} {self.choices.one_of('+-')} {self.loose(shape, depth)})"
            case 1:
                return f"(-{left} + {right})"
            case 2:
                return f"({left} - {right})"
        return f"({left} + {right})"

    def scaled(self, shape: Shape, depth: int) -> str:
        """A product whose factors are not both large."""
        factor = self.bounded(self.choices.one_of((self.side(shape), SCALAR)), depth) if self.choices.chance(70) else self.choices.one_of(NUMBERS)
        sides = [factor, self.expr(shape, depth)]
        left, right = sides if self.choices.chance(60) else reversed(sides)
        return f"({left} * {right})"

    def gate(self, shape: Shape, depth: int) -> str:
        gate, a, b = f"sigmoid({self.loose(shape, depth)})", self.expr(shape, depth), self.loose(shape, depth)
        return f"({gate} * {a} + (1 - {gate}) * {b})"

    def ratio(self, shape: Shape, depth: int) -> str:
        above = self.expr(shape, depth)
        below = self.positive(self.choices.one_of((shape.real, SCALAR)), depth)
        if shape.is_complex and self.choices.chance(50):
            below = f"(2 + {self.bounded(shape, depth)})"
        return f"({above} / {below})"

    def condition(self, shape: Shape, depth: int) -> str:
        """0 or 1, or anything: what is not 0 is true."""
        op = self.choices.one_of(("<", "<=", ">", ">=", "==", "!="))
        tests = [f"{self.loose(shape, depth)} {op} {self.loose(shape, depth)}", f"{self.expr(shape, depth)} {op} 0.21"]
        if not self.declaring and self.level >= INPUTS:
            tests += ["t < 2", f"mod(t, 3) {op} 1"]
        return self.choices.one_of((*tests, f"({tests[0]}) * ({tests[-1]})"))

    def choice(self, shape: Shape, depth: int) -> str:
        condition = self.condition(self.choices.one_of((SCALAR, shape.real)), depth)
        return f"where({condition}, {self.expr(shape, depth)}, {self.loose(shape, depth)})"

    def truth(self, shape: Shape, depth: int) -> str:
        """A comparison as a value."""
        op = self.choices.one_of(("<", "<=", ">", ">=", "==", "!="))
        return f"(0.5 * ({self.expr(shape, depth)} {op} {self.loose(shape, depth)}))"

    def power(self, shape: Shape, depth: int) -> str:
        """Powers with all kinds of exponents."""
        c = self.choices
        sign = c.one_of(("^", "^", "**"))
        if shape.is_complex:
            return f"(2 + {self.bounded(shape, depth)}){sign}{c.one_of(('2', '3', '-1', '0.5', '-2', '0'))}".join("()")
        exponent = c.one_of(EXPONENTS)
        hypers = [a.text for a in self.atoms if a.level == CONSTS and a.shape == SCALAR]
        if hypers and c.chance(30):
            exponent = c.one_of(hypers)
        match c.below(5):
            case 0:
                return f"({self.bounded(shape, depth)}{sign}{c.one_of(('2', '3', '4', '0', '1'))})"
            case 1:
                return f"({self.positive(shape, depth)}{sign}{self.bounded(c.one_of((shape, SCALAR)), depth)})"
            case 2:
                return f"({c.one_of(('2', '3', '0.5', '1.5', '(1 / 3)', 'pi'))}{sign}{self.bounded(shape, depth)})"
        return f"({self.positive(shape, depth)}{sign}{exponent})"

    def of_complex(self, shape: Shape, depth: int) -> str:
        """A real part of a complex value."""
        if not self.complex_values or not self.choices.chance(40):
            return self.smooth(shape, depth)
        name = self.choices.one_of(("re", "im", "abs"))
        inner = self.expr(replace(shape, is_complex=True), depth)
        return f"{name}({inner})"

    def complex_pair(self, shape: Shape, depth: int) -> str:
        a, b = self.expr(shape.real, depth), self.loose(shape.real, depth)
        return self.choices.one_of((f"({a} + 1j * {b})", f"(0.5j * {a})", f"exp(1j * {a})"))

    def complex_function(self, shape: Shape, depth: int) -> str:
        name = self.choices.one_of(("conj", "exp", "sin", "cos", "tanh", "sigmoid", "log", "sqrt"))
        if name == "conj":
            return f"conj({self.expr(shape, depth)})"
        inner = self.bounded(shape, depth)
        return f"{name}({'2 + ' if name in ('log', 'sqrt') else '0.5 * '}{inner})"

    def called_function(self, shape: Shape, depth: int) -> str:
        """A call of a function of the program."""
        fitting = [(d, takes) for d in self.callable() if (takes := d.takes(shape)) is not None]
        if not fitting:
            return self.smooth(shape, depth)
        function, takes = self.choices.one_of(fitting)
        self.use(function)
        arguments = (self.size(a) if isinstance(a, str) else self.expr(a, depth) for a in takes)
        return f"{function.name}({', '.join(arguments)})"

    def surrogate(self, shape: Shape, depth: int) -> str:
        fitting = [d for d in self.callable() if " grad " in d.text]
        if not fitting:
            return self.smooth(shape, depth)
        function = self.choices.one_of(fitting)
        self.use(function)
        return f"{function.name}({self.expr(shape, depth)})"

    def callable(self) -> list[Def]:
        """The functions whose names mean nothing else."""
        return [d for d in self.defs if d.name in self.called or d.name not in self.taken]

    def use(self, function: Def) -> None:
        """Notes that a function is called, and those that it calls."""
        self.taken.add(function.name)
        self.called.add(function.name)
        for d in self.defs:
            if f"{d.name}(" in function.text.split("=", 1)[1] and d.name not in self.called:
                self.use(d)

    # To scalars

    def reduced(self, shape: Shape, depth: int) -> str:
        """A scalar from vectors."""
        vector = replace(shape, axes=(self.axis(),))
        v = self.expr(vector, depth)
        match self.choices.below(7):
            case 0:
                return f"{self.choices.one_of(('sum', 'mean'))}({v})"
            case 1 if not shape.is_complex:
                source = replace(vector, is_complex=self.complex_values and self.choices.chance(10))
                return f"norm({self.choices.one_of(('1.5 + ', ''))}{self.expr(source, depth)})"
            case 2:
                return f"({v} @ {self.param(self.side(vector))})"
            case 3:
                return f"({v} @ {self.expr(self.side(vector), depth)})"
            case 4:
                return f"dot({self.expr(self.side(vector), depth)}, {v})"
            case 5 if not self.declaring and self.level >= INPUTS and not shape.heads and not shape.is_complex:
                return self.choices.one_of(("cos(0.3 * t)", "(1 / (1 + t))", "mod(t, 3)", "(0.1 * t)"))
        return f"dot({self.param(self.side(vector))}, {v})"

    # To vectors

    def matvec(self, shape: Shape, depth: int) -> str:
        """A linear map into the vector: W @ v, v @ W, r * W @ v, W.T @ v, U @ V @ v, a matrix that is an expression."""
        (n,), m = shape.axes, self.axis()

        left, right = self.two_sides(shape)

        def matrix(*axes: str) -> Shape:
            return replace(left, axes=axes)

        v = self.expr(replace(right, axes=(m,)), depth)
        match self.choices.below(9):
            case 0 | 1:
                return f"({self.param(matrix(n, m))} @ {v})"
            case 2:
                return f"({v} @ {self.param(matrix(m, n))})"
            case 3:
                return f"({self.loose(shape, depth)} * {self.param(matrix(n, m))} @ {v})"
            case 4:
                return f"({self.param(matrix(m, n))}.T @ {v})"
            case 5:
                k = self.axis()
                return f"({self.param(matrix(n, k))} @ {self.param(matrix(k, m))} @ {v})"
            case 6:
                return f"(0.3 * {self.expr(matrix(n, m), depth)} @ {v})"
            case 7:
                return f"(0.3 * {v} @ {self.expr(matrix(m, n), depth)})"
        return f"(-{self.param(matrix(n, m))} @ {v})"

    def vector(self, shape: Shape, depth: int) -> str:
        """What works along a vector, or makes one of others."""
        inner = self.expr(shape, depth)
        size = self.size(shape.axes[0])
        match self.choices.below(12):
            case 0 if not shape.is_complex:
                return f"softmax({inner})"
            case 1:
                return f"(0.3 * cumsum({inner}))"
            case 2:
                return f"normalize({self.choices.one_of(('1.5 + ', ''))}{inner})"
            case 3 if not shape.is_complex:
                return f"{self.choices.one_of(('layernorm', 'rmsnorm'))}({self.param(shape)} + {inner})"
            case 4:
                return f"(diag({inner}) @ {self.expr(self.side(shape), depth)})"
            case 5:
                return f"({inner} + 0.1 * ones({size}))"
            case 6:
                n = shape.axes[0]
                return f"(0.5 * (eye({size}) - {self.param(Shape((), (n, n)))}) @ {inner})"
            case 7:
                n, m = shape.axes[0], self.axis()
                return f"(ones({self.size(m)}) @ {self.expr(replace(shape, axes=(m, n)), depth)} / ({self.size(m)}))"
            case 8:
                n = shape.axes[0]
                with self.only(PARAMS):
                    return f"({self.expm(n, depth)} @ {inner})"
        return self.joined(shape, depth) or inner

    def expm(self, n: str, depth: int) -> str:
        """The exponential of a matrix of params."""
        a = self.param(Shape((), (n, n)))
        return self.choices.one_of((f"expm({a} - {a}.T)", f"expm(0.3 * {a})", f"expm(-0.1 * eye({self.size(n)}))"))

    def joined(self, shape: Shape, depth: int) -> str | None:
        """A vector of parts: by concat, merge or reshape, where its size is one of parts."""
        (n,) = shape.axes
        a, op, b = n.split() if " " in n else n.replace("*", " * ").split() if "*" in n else (n, "", "")
        if op == "+" and b == "1":
            one = f"{self.expr(replace(shape, axes=()), depth)} * ones(1)"
            parts = [self.expr(replace(self.side(shape), axes=(a,)), depth), one]
            return f"concat({', '.join(parts)})"
        if op == "*" and a == "2":
            parts = [self.expr(replace(shape, axes=(b,)), depth), self.expr(replace(self.side(shape), axes=(b,)), depth)]
            return f"concat({', '.join(parts)})"
        if op == "*":
            head, own = (a, b) if a in self.head_sizes else (b, a)
            if not shape.heads and head in self.head_sizes and self.choices.chance(60):
                return f"merge({self.expr(Shape((head,), (own,), shape.is_complex), depth)})"
            return f"reshape({self.expr(replace(shape, axes=self.choices.one_of(((a, b), (b, a)))), depth)}, {self.size(n)})"
        if not shape.heads and n in self.head_sizes and self.choices.chance(60):
            return f"merge({self.expr(Shape((n,), (), shape.is_complex), depth)})"
        return None

    # To matrices

    def matrix(self, shape: Shape, depth: int) -> str:
        """A matrix from vectors or from products."""
        n, m = shape.axes

        def of(*axes: str) -> Shape:
            return replace(self.side(shape), axes=axes)

        match self.choices.below(9):
            case 0 | 1:
                return f"outer({self.expr(replace(shape, axes=(n,)), depth)}, {self.expr(of(m), depth)})"
            case 2:
                return f"({self.param(of(n, n))} @ {self.expr(shape, depth)})"
            case 3:
                return f"({self.expr(shape, depth)} @ {self.param(of(m, m))})"
            case 4:
                return f"(diag({self.expr(of(n), depth)}) @ {self.expr(shape, depth)})"
            case 5:
                return f"({self.expr(shape, depth)} @ diag({self.expr(of(m), depth)}))"
            case 6:
                return f"{self.expr(replace(shape, axes=(m, n)), depth)}.T" if self.choices.chance(60) else f"({self.expr(replace(shape, axes=(m, n)), depth)}).T"
            case 7:
                k = self.axis()
                return f"(0.3 * {self.expr(replace(shape, axes=(n, k)), depth)} @ {self.expr(of(k, m), depth)})"
        if n == m and self.choices.chance(60):
            size = self.size(n)
            with self.only(PARAMS):
                options = [f"(0.5 * eye({size}))", f"({self.param(of(n, n))} + eye({size}))", self.expm(n, depth)]
            return self.choices.one_of(options)
        return f"reshape({self.expr(replace(shape, axes=(m, n)), depth)}, {self.size(n)}, {self.size(m)})"

    # Heads

    def split_heads(self, shape: Shape, depth: int) -> str:
        """Heads of a vector."""
        if len(shape.heads) != 1:
            return self.atom(shape)
        (n,), k = shape.heads, shape.axes[0] if shape.axes else ""
        if k and (not k.isalpha() or k == n):
            return self.atom(shape)
        vector = Shape((), (times(n, k) if k else n,), shape.is_complex)
        return f"heads({self.expr(vector, depth)}, {self.size(n)})"
