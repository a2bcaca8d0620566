"""Random valid programs over the whole language, for Hypothesis and by number.

`cells()` is a strategy; `program(seed)` makes one program of a number. `python -m tests.random_programs --count 500` compares many
with the oracle, on every backend; see `random_run.py`.
"""

import random
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from tests.random_expressions import (
    CONSTS,
    INPUTS,
    NUMBERS,
    PARAMS,
    SCALAR,
    STATES,
    Atom,
    Choices,
    Def,
    Expressions,
    Shape,
    times,
)


@dataclass(frozen=True)
class RandomCell:
    """A program, the sizes to build its cell `Random` with, and how large a call is to be."""

    text: str
    sizes: dict[str, int]
    batch: int = 2
    steps: int = 4


@st.composite
def cells(draw: st.DrawFn, *, complex_values: bool = True, spikes: bool = True, noise: bool = False) -> RandomCell:
    """A random valid program; optionally without complex values or surrogate derivatives, or with noise."""
    return Programs(Choices(lambda n: draw(st.integers(0, n - 1)) if n > 1 else 0), complex_values, spikes, noise).build()


def program(seed: int) -> RandomCell:
    """The random program of a number: the same one every time."""
    return Programs(Choices(random.Random(seed).randrange), noise=True).build()


def _same(shape: Shape) -> tuple[Shape, ...] | None:
    return None if shape.is_complex else (shape,)


def _gated(shape: Shape) -> tuple[Shape, ...]:
    return shape.real, shape, shape


def _product(shape: Shape) -> tuple[Shape, ...] | None:
    return (replace(shape, axes=(shape.axes[0], "D")), replace(shape, axes=("D",))) if shape.rank == 1 else None


def _corrected(shape: Shape) -> tuple[Shape, ...] | None:
    return (replace(shape, axes=shape.axes[:1]), replace(shape, axes=shape.axes[1:]), shape) if shape.rank == 2 else None


def _vector(shape: Shape) -> tuple[Shape, ...] | None:
    return (shape,) if shape.rank == 1 and not shape.is_complex else None


def _spread(shape: Shape) -> tuple[Shape | str, ...] | None:
    """A size, and a scalar for it."""
    return ("D", replace(shape, axes=())) if shape.axes == ("D",) else None


# Some functions of known shapes; others are made up, of one argument, elementwise.
DEFS = (
    Def("act", "def act(z) = 1.7159 * tanh(0.666 * z)", _same),
    Def("mix", "def mix(g, a, b) = sigmoid(g) * a + (1 - sigmoid(g)) * b", _gated),
    Def("twice", "def twice(z) = act(z) + 0.1 * act(act(z))", _same),
    Def("proj", "def proj(W, v) = 0.5 * W @ v", _product),
    Def("delta", "def delta(k, v, S) = 0.3 * outer(k, tanh(v) - tanh(k) @ S)", _corrected),
    Def("unit", "def unit(v) = v / (1 + sqrt(sum(v * v) + 0.1)) + softmax(v)", _vector),
    Def("spread", "def spread(n, s) = s * ones(n)", _spread),
    Def("spike", "def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2", _same),
    Def("st", "def st(v) = floor(v + 0.5) grad 1", _same),
    Def("he", "def he(v) = 0.5 * heaviside(v - 0.1) + 0.5 grad exp(-v^2)", _same),
    Def("leak", "def leak(z) = max(z, 0.1 * z) grad where(z > 0, 1, 0.3)", _same),
)
NAMES_OF_SIZES = {"D": ("D", "I", "dim_x", "C"), "H": ("H", "S", "hidden", "T", "B"), "N": ("N", "heads_", "n_h", "G"),
                  "K": ("K", "dk", "first", "k_1"), "V": ("V", "E", "rows", "v_dim"), "L": ("L", "depth", "L_0", "M")}  # fmt: skip


@dataclass
class Programs(Expressions):
    """Makes one program."""

    budget: int = 0
    noise: bool = False
    lines: list[str] = field(default_factory=list)
    locals: list[Atom] = field(default_factory=list)  # those that a repeat may bind again
    shapes: list[Shape] = field(default_factory=list)  # what locals are made in
    header: list[str] = field(default_factory=list)  # hyperparameters

    def __init__(self, choices: Choices, complex_values: bool = True, spikes: bool = True, noise: bool = False):
        super().__init__(choices, 0, complex_values and choices.chance(35), spikes)
        self.noise, self.lines, self.locals, self.shapes, self.header = noise, [], [], [], []

    def know(self, text: str, shape: Shape, level: int, *, local: bool = True) -> Atom:
        """Makes a value known to all that follows."""
        self.atoms.append(Atom(text, shape, level, local))
        return self.atoms[-1]

    def build(self) -> RandomCell:
        """The whole program."""
        c = self.choices
        self.budget = c.one_of((12, 25, 50, 90, 130))
        self.start()
        self.inputs()
        states = self.states()
        self.shapes = list(dict.fromkeys((Shape((), ("H",)), *(shape for _, shape, _ in states), SCALAR)))
        for name, shape, kind in c.shuffled(states):
            for _ in range(c.one_of((0, 1, 1, 2))):
                self.statement()
            value = self.update(name, shape, kind)
            self.lines.append(f"{name}[t] = {value}")
            self.see(name, shape, kind, "t")
        if c.chance(30):
            self.statement()
        self.outputs(states)
        return self.assemble()

    # What there is to begin with

    def start(self) -> None:
        """Sizes, hyperparameters and functions."""
        c = self.choices
        self.names = {size: c.one_of(names) if c.chance(25) else size for size, names in NAMES_OF_SIZES.items()}
        if len(set(self.names.values())) < len(self.names):
            self.names = {size: size for size in self.names}
        self.taken.update(self.names.values())
        more = ("2*H", "D + 1", "3", "K", "V", times("N", "K"), "1", "N", "H/2")
        self.dims = ("D", "H", *(d for d in c.shuffled(more)[: c.below(4)]))
        for size in ("D", "H"):
            self.know(self.names[size], SCALAR, CONSTS, local=False) if c.chance(15) else None
        if c.chance(35):
            for _ in range(c.one_of((1, 2))):
                name = self.fresh("dt", argument=True)
                self.header.append(f"{name} = {c.one_of(('0.5', '1', '2', '1.5', '-0.3', '1 / 3', 'pi / 4', '1e-1', 'sqrt(2)'))}")
                self.know(name, SCALAR, CONSTS, local=False)
        self.defs = list(DEFS) if self.surrogates else [d for d in DEFS if " grad " not in d.text]
        if c.chance(30):
            self.defs.append(self.made_up())

    def made_up(self) -> Def:
        """A function of one argument, with or without a surrogate derivative."""
        c, name = self.choices, "made_up"
        inner = Expressions(self.choices, 6, False, False, taken={"v"} | self.taken, level=CONSTS, declaring=True, dims=self.dims)
        inner.atoms = [Atom("v", SCALAR, CONSTS)]
        body, slope = f"{inner.expr(SCALAR, 2)} + 0.5 * tanh(v)", inner.expr(SCALAR, 2)
        if inner.declarations:  # what it would need is not its own
            body, slope = "0.5 * tanh(v)", "0.5"
        grad = f" grad {slope}" if self.surrogates and c.chance(50) else ""
        return Def(name, f"def {name}(v) = {body}{grad}", _same)

    def inputs(self) -> None:
        c = self.choices
        pool = [SCALAR, Shape((), ("H",)), Shape((), ("D",)), Shape((), ("K", "V")), Shape(("N",), ("K",)), Shape((), (times("N", "K"),))]
        pool += [Shape((), ("D",), True), Shape((), ("H",), True)] * self.complex_values
        for shape in (Shape((), ("D",)), *(c.one_of(pool) for _ in range(c.one_of((0, 0, 1, 2))))):
            name = self.fresh("x")
            self.declarations.append(f"input {name}: {self.shown(shape)}")
            self.know(name, shape, INPUTS)
            if c.chance(25):
                self.know(f"{name}[t-{c.one_of((1, 2, 3))}]", shape, INPUTS)
            if c.chance(10):
                self.know(f"{name}[t]", shape, INPUTS)
        if c.chance(15):
            self.know("t", SCALAR, INPUTS)
        if c.chance(15):
            self.know("cos(0.3 * t)", SCALAR, INPUTS)
        if self.noise and c.chance(25):
            shape = c.one_of((Shape((), ("D",)), Shape((), ("H",)), SCALAR, Shape(("N",), ("K",))))
            name = self.fresh("mask")
            with self.only(PARAMS, declaring=True):
                made = f"sigmoid({self.expr(shape, 1)})"
            distribution = c.one_of(("bernoulli(0.9)", "normal(1, 0.1)", "uniform(0.5, 1)", f"bernoulli({made})", f"normal({made}, 0.1)", f"uniform(0, 0.1 + {made})"))
            self.declarations.append(f"noise {name}: {self.shown(shape)} ~ {distribution}")
            self.know(name, shape, INPUTS)

    def states(self) -> list[tuple[str, Shape, str]]:
        """Declares the states and makes their old values readable."""
        c = self.choices
        vector, heads = Shape((), ("H",)), Shape(("N",), ("K",))
        pool = [vector, vector, vector, SCALAR, heads, heads, Shape(("N",), ("K", "V")), Shape((), ("K", "V")), Shape(("N",)), Shape((), ("H", "H"))]
        pool += [Shape((), (self.axis(),)), Shape(("N", "L"), ("K",))]
        pool += [Shape((), ("H",), True), Shape(("N",), ("K",), True), Shape((), ("K", "V"), True), replace(SCALAR, is_complex=True)] * self.complex_values
        found = []
        for _ in range(c.one_of((1, 1, 2, 3, 4)) if not c.chance(4) else 0):
            shape = c.one_of(pool)
            name = self.fresh("s")
            kinds = ["free", "free", "gated", "coupled", "affine", "lagged", "constant", "copy", "scalar", "raw"]
            kinds += [] if shape.is_complex else ["max", "log"]
            kinds += [[], ["dense", "dense"], ["dense", "delta"]][shape.rank]
            kinds += ["spiking"] if self.surrogates and shape.rank < 2 and not shape.is_complex else []
            kind = c.one_of(kinds)
            self.declarations.append(f"state {name}: {self.shown(shape)}{self.initial(shape, kind)}")
            self.see(name, shape, kind, "t-1")
            found.append((name, shape, kind))
        return found

    def initial(self, shape: Shape, kind: str) -> str:
        """The initial value of a state: none, a number, a param, an expression."""
        c = self.choices
        if kind in ("max", "log") and c.chance(50):
            return " = -inf"
        match c.below(8):
            case 0:
                return f" = {c.one_of(('0.5', '-1/4', '1 / H', '0.3 + 0.1j' if shape.is_complex else '0.3')).replace('H', self.names['H'])}"
            case 1:
                return f" = {self.param(shape, '')}"
            case 2:
                with self.only(PARAMS, declaring=True):
                    return f" = {self.loose(shape, 2)}"
            case 3:
                return f" = 0.3 * {self.param(c.one_of((shape, Shape((), shape.axes), SCALAR)))}"
        return ""

    def see(self, name: str, shape: Shape, kind: str, when: str) -> None:
        """Makes a state's value readable; one that may be -inf, or grow, through a sigmoid."""
        if kind in ("max", "log"):
            self.know(f"sigmoid({name}[{when}])", shape, STATES)
            return
        self.know(f"{name}[{when}]", shape, STATES)
        if when == "t-1" and (kind == "lagged" or self.choices.chance(10)):
            self.know(f"{name}[t-{self.choices.one_of((2, 2, 3))}]", shape, STATES)

    # Equations

    def update(self, name: str, shape: Shape, kind: str) -> str:
        """The right-hand side of a state's equation."""
        c, old, depth = self.choices, f"{name}[t-1]", self.choices.one_of((1, 2, 3))
        match kind:
            case "constant":
                return c.one_of((c.one_of(NUMBERS), self.param(c.one_of((shape, Shape((), shape.axes), SCALAR)))))
            case "copy":
                return self.loose(shape, 0)
            case "scalar":
                return self.expr(c.one_of((SCALAR, Shape((), shape.axes, shape.is_complex))), depth)
            case "affine":
                return f"sigmoid({self.silent(shape.real, depth)}) * {old} + {self.silent(shape, depth)}"
            case "lagged":
                return f"0.5 * {old} - 0.3 * {name}[t-{c.one_of((2, 3))}] + {self.driven(shape, depth)}"
            case "coupled":
                return f"0.3 * {old} + 0.6 * {self.driven(shape, depth)}"
            case "gated":
                gate = f"sigmoid({self.expr(shape.real, depth)})"
                return f"{gate} * {old} + (1 - {gate}) * {self.driven(shape, depth)}"
            case "spiking":
                self.use(next(d for d in self.defs if d.name == "spike")) if "spike" not in self.taken else None
                reset = f"spike({old} - 0.5)" if "spike" in self.called else f"heaviside({old} - 0.5)"
                return f"{self.param(shape, ' in (0, 1)', new=True)} * {old} + {self.silent(shape, depth)} - {reset}"
            case "max":
                return f"max({self.silent(shape, depth)} - 0.1 + {old}, {self.silent(shape, depth)})"
            case "log":
                return f"logaddexp(logsigmoid({self.silent(shape, depth)}) + {old}, {self.silent(shape, depth)})"
            case "dense":
                m = self.param(replace(shape, axes=(shape.axes[-1], shape.axes[-1])))
                if shape.rank == 2 and c.chance(40):
                    m = self.param(replace(shape, axes=(shape.axes[0], shape.axes[0])))
                    return f"0.5 * {m} @ {old} + {self.driven(shape, depth)}"
                mixed = f"{m} @ {old}" if shape.rank == 1 else f"{old} @ {m}"
                return f"0.5 * {mixed} + {self.driven(shape, depth)}" if shape.is_complex else f"tanh({mixed} + {self.driven(shape, depth)})"
            case "delta":
                n, m = shape.axes
                k = self.fresh("v")
                self.lines.append(f"{k} = normalize(1.5 + {self.silent(replace(shape, axes=(n,)), depth)})")
                return f"0.9 * {old} + 0.4 * outer({k}, {self.silent(replace(shape, axes=(m,)), depth)} - {k} @ {old})"
            case "raw":
                return f"0.3 * {self.expr(shape, depth)}"
        return self.driven(shape, depth)  # free

    def silent(self, shape: Shape, depth: int) -> str:
        """An expression that depends on no state."""
        with self.only(INPUTS):
            return self.expr(shape, depth)

    def driven(self, shape: Shape, depth: int) -> str:
        """A bounded expression, more often than not with an input in it."""
        text = self.expr(shape, depth)
        if self.choices.chance(40):
            text = f"({text} + {self.silent(shape, 1)})"
        return f"(0.4 * {text})" if shape.is_complex else f"tanh({text})"

    def statement(self) -> None:
        """A local, several of a split, or a repeat."""
        pick = self.choices.below(10)
        if pick >= 7:
            self.repeat()
        elif pick == 6:
            self.split()
        else:
            shape = self.choices.one_of(self.shapes)
            if self.complex_values and self.choices.chance(20):
                shape = replace(shape, is_complex=True)
            self.local(shape)

    def local(self, shape: Shape) -> Atom:
        level = self.choices.one_of((STATES, STATES, INPUTS, PARAMS))
        name = self.fresh("v")
        with self.only(level):
            value = self.expr(shape, self.choices.one_of((2, 1, 3)))
        if shape.is_complex:
            value = f"{value} + 0j" if self.choices.chance(30) else f"{value} * (0.5 + 0.5j)"
        self.lines.append(f"{name} = {value}")
        atom = self.know(name, shape, level)
        self.locals.append(atom)
        return atom

    def split(self) -> None:
        """Several locals, equal parts of a vector."""
        c = self.choices
        if "2*H" in self.dims or c.chance(50):
            count, whole, part = 2, "2*H", "H"
        else:
            count, whole, part = 3, "3*H", "H"
        shape = Shape(c.one_of(((), (), ("N",))), (whole,))
        level = c.one_of((STATES, INPUTS))
        with self.only(level):
            wide = f"({self.param(replace(shape, axes=(whole, 'D')))} @ {self.expr(replace(shape, heads=(), axes=('D',)), 1)})"
            parts = [self.expr(replace(shape, axes=(part,)), 1) for _ in range(count)]
            value = c.one_of((f"{wide}", f"tanh({wide} + {self.param(shape)})", f"ones({self.names['D']}) @ {self.param(replace(shape, axes=('D', whole)))}"))
            if c.chance(20):
                value = f"concat({', '.join(parts)})"
                shape = replace(shape, heads=()) if not shape.heads else shape
        names = [self.fresh("v") for _ in range(count)]
        self.lines.append(f"{', '.join(names)} = split({value}, {count})")
        self.locals += [self.know(n, replace(shape, axes=(part,)), level) for n in names]

    def repeat(self) -> None:
        """A block that binds locals again, and some of its own."""
        c = self.choices
        bound, stack, index = c.one_of((("1..L", "L", "{}"), ("1..3", "3", "{}"), ("1..2", "3", "{} + 1"), ("2..L", "L", "{} - 1"), ("1..L", "L + 1", "{} + 1"), ("1..2", "L", "{}")))
        level = c.one_of((STATES, STATES, INPUTS, PARAMS))
        again = [a for a in self.locals if a.level <= level]
        rebound = c.shuffled(again)[: c.one_of((0, 1, 1, 2))] if again else []
        narrow: list[Atom] = []  # what begins as a scalar, and is made as wide as its rounds are
        if not rebound or c.chance(60):
            shape = c.one_of(self.shapes)
            name = self.fresh("v")
            states = [a.text for a in self.atoms if a.shape == shape and a.level == level and a.text != name]
            rebound.append(Atom(name, shape, level, True))
            if states and c.chance(60):
                begin = c.one_of(states)
            else:
                with self.only(level):
                    begin = c.one_of(("0", "1", self.loose(shape, 1)))
                narrow.append(rebound[-1])
            self.lines.append(f"{name} = {begin}")
        k = self.fresh("k")
        for a in rebound:
            a.level = level
        fresh = [a for a in rebound if all(a is not b for b in self.atoms)]
        self.atoms += [a for a in fresh if a not in narrow]
        inner = [self.know(text.format(k), SCALAR, CONSTS) for text in ("{}", "(1 / {})", "({} == 1)", "(0.3 * {})")[: c.below(5)]]
        bodies = []
        made: list[Atom] = []
        with self.only(level):
            for a in [*c.shuffled(rebound), *([None] if c.chance(40) else [])]:
                shape = a.shape if a else c.one_of(self.shapes)
                inner += self.slices(shape, stack, index.format(k))
                value = f"0.5 * {a.text} + {self.driven(shape, 1)}" if a in narrow else self.round_of(a, shape)
                if a is None:
                    a = Atom(self.fresh("v"), shape, level, True)
                    made.append(a)
                    self.atoms.append(a)
                bodies.append(f"  {a.text} = {value}")
        self.lines += [f"repeat {k} in {bound.replace('L', self.names['L'])}:", *bodies, "end"]
        self.atoms = [a for a in self.atoms if all(a is not i for i in inner)] + narrow
        self.locals += [a for a in (*fresh, *made) if all(a is not b for b in self.locals)]

    def slices(self, shape: Shape, stack: str, index: str) -> list[Atom]:
        """Makes slices of a param known: `P[k]` of a shape, or a matrix that multiplies it."""
        c = self.choices
        if c.chance(30):
            return []
        own = replace(shape, axes=(shape.axes[-1], shape.axes[-1])) if shape.rank and c.chance(60) else shape
        whole = Shape((stack, *own.heads), own.axes)
        known = [a.text for a in self.atoms if a.shape == whole and a.level == PARAMS]
        name = known[0] if known else self.fresh("P", attribute=True)
        if not known:
            self.declarations.append(f"param {name}: {self.shown(whole)}{c.one_of(('', '', ' ~ normal(0.3)', ' > 0', ' ~ uniform(-0.5, 0.5)'))}")
            self.know(name, whole, PARAMS, local=False)
        number = Atom(f"{name}[{c.one_of(('1', '2', stack if stack.isalnum() else '1')).replace('L', self.names['L'])}]", Shape(own.heads, own.axes), PARAMS)
        if c.chance(20):
            self.atoms.append(number)
        return [self.know(f"{name}[{index}]", Shape(own.heads, own.axes), PARAMS)]

    def round_of(self, a: Atom | None, shape: Shape) -> str:
        """What a round binds a local to: often made of what it was."""
        c = self.choices
        if a is None or c.chance(15):
            return self.loose(shape, 2) if a is not None else self.expr(shape, 2)
        slices = [p.text for p in self.atoms if "[" in p.text and p.level == PARAMS and not p.shape.heads[len(shape.heads) :]]
        square = [p for p in self.atoms if p.text in slices and shape.rank and p.shape.axes == (shape.axes[-1],) * 2 and p.shape.heads in ((), shape.heads)]
        if square and c.chance(70):
            m = square[-1].text
            mixed = f"{m} @ {a.text}" if shape.rank == 1 else f"{a.text} @ {m}"
            return f"0.5 * {a.text} + 0.3 * {mixed} + {self.driven(shape, 1)}" if c.chance(60) else f"{self.bounded_text(mixed, shape)}"
        same = [p for p in self.atoms if p.text in slices and p.shape in (shape.real, Shape((), shape.axes), SCALAR)]
        if same and c.chance(60):
            return self.bounded_text(f"{same[-1].text} * {a.text}", shape) if c.chance(70) else same[-1].text
        return f"0.5 * {a.text} + {self.driven(shape, 1)}"

    @staticmethod
    def bounded_text(text: str, shape: Shape) -> str:
        return f"0.4 * {text}" if shape.is_complex else f"tanh({text})"

    # Outputs

    def outputs(self, states: list[tuple[str, Shape, str]]) -> None:
        """States, inputs, locals, params and expressions; an input has a part in one of them where there is no state."""
        c, names, texts = self.choices, set[str](), []

        def add(name: str, value: str = "") -> None:
            if name not in names:
                names.add(name)
                texts.append(f"{name} = {value}" if value else name)

        for name, shape, _ in states:
            if c.chance(60):
                add(name)
            elif shape.heads and shape.rank < 2 and c.chance(50):
                add(f"y{len(texts)}", f"merge({name}[t])")
        if not texts or c.chance(60):
            shape = c.one_of((*self.shapes, SCALAR))
            add(c.one_of((f"out{len(texts)}", self.fresh("y"))), self.expr(shape, 2))
        if c.chance(25):
            add(c.one_of([a.text for a in self.atoms if a.text.isidentifier() and a.text != "t"]))
        if c.chance(15):
            add(f"y{len(texts)}", c.one_of((*NUMBERS, "t", "1j" if self.complex_values else "2")))
        if c.chance(25):
            named = c.one_of([a.text for a in self.atoms if a.text.isidentifier() and a.text != "t"])
            add(named, self.expr(SCALAR, 1))  # outputs have a namespace of their own
        if self.locals and c.chance(50):
            a = c.one_of(self.locals)
            add(c.one_of((a.text, f"y{len(texts)}")), f"2 * {a.text}" if c.chance(50) else a.text)
        if not states:
            stream = next(a for a in self.atoms if a.level == INPUTS and a.shape == Shape((), ("D",)))
            add(f"y{len(texts)}", f"tanh({stream.text}) + 0.1 * {stream.text}")
        if c.chance(30):
            self.lines += [f"output {text}" for text in texts]
        else:
            self.lines.append(f"output {', '.join(texts)}")

    # Text

    def assemble(self) -> RandomCell:
        """Header, declarations (before, behind or among the equations) and equations."""
        c = self.choices
        numbers = c.shuffled((3, 5, 1, 2, 4))
        sizes = {"D": numbers[0], "H": numbers[1], "N": c.one_of((2, 3, 1)), "K": numbers[2], "V": numbers[3], "L": c.one_of((2, 3))}
        if "H/2" in self.dims:
            sizes["H"] = c.one_of((4, 2))
        if any("heads(" in line for line in (*self.lines, *self.declarations)):  # the oracle tells [N*K] from [N] by numbers
            sizes = {size: 6 if n == 1 else n for size, n in sizes.items()}
        words = set(_words("\n".join((*self.lines, *self.declarations))))
        known = {size: n for size, n in sizes.items() if self.names[size] in words or size in ("D", "H")}
        names = [self.names[size] for size in known]
        header = ", ".join([*names, *self.header] if not self.header or c.chance(80) else [names[0], *self.header, *names[1:]])
        inputs = [d for d in self.declarations if d.startswith("input")]
        others = [d for d in self.declarations if not d.startswith("input")]
        declarations = [*inputs, *(c.shuffled(others) if c.chance(15) else others)]
        statements = [*self.lines, *declarations] if c.chance(15) else [*declarations, *self.lines]
        if c.chance(10):
            statements = [s + c.one_of(("", "", "  # why", "\n", "  #")) for s in statements]
        defs = [d.text for d in self.defs if d.name in self.called]
        doc = c.one_of(([], ["  # a comment", ""], ['  "A random cell."'], ['  """Two', '  lines."""']))
        cell = [f"cell Random({header}):", *doc, *("  " + line for line in statements)]
        items = cell + defs if c.chance(20) else defs + cell
        return RandomCell("\n".join(items) + "\n", {self.names[s]: n for s, n in known.items()}, c.one_of((2, 1, 3)), c.one_of((4, 3, 5, 1, 2)))


def _words(text: str) -> list[str]:
    """Every word of a text that could be a size's name."""
    return "".join(ch if ch.isalnum() or ch == "_" else " " for ch in text).split()


if __name__ == "__main__":
    from tests.random_run import main

    raise SystemExit(main())
