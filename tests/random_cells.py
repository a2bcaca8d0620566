"""Random valid programs, random damage to programs, and random tensors to run a program with.

`cells()` builds each expression for a shape that is asked for, so that every program is valid by construction. Values
are kept tame: what feeds back into a state is squashed or contracted, and most functions are smooth.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from hypothesis import strategies as st
from torch import Tensor

from tests.oracle import Oracle, Slot

Shape = tuple[tuple[str, ...], tuple[str, ...]]  # (heads, axes), by the names of the sizes
SCALAR: Shape = ((), ())


@dataclass(frozen=True)
class RandomCell:
    """A program of one cell, and the sizes to build it with."""

    text: str
    sizes: dict[str, int]


def sample(
    text: str,
    sizes: dict[str, int],
    *,
    cell: str | None = None,
    batch: int = 2,
    steps: int = 5,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Random (params and consts, inputs) for a program, in the declared shapes; params lie inside their constraint."""
    oracle = Oracle(text, cell)
    generator = torch.Generator().manual_seed(seed)

    def draw(slot: Slot, lead: tuple[int, ...], scale: float) -> Tensor:
        kind = dtype.to_complex() if slot.is_complex else dtype
        value = scale * torch.randn((*lead, *slot.shape), generator=generator, dtype=kind)
        if slot.high != float("inf"):
            return slot.low + (slot.high - slot.low) * torch.sigmoid(value)
        return value if slot.low == -float("inf") else slot.low + torch.exp(value)

    slots = oracle.declared("param", sizes) | oracle.declared("const", sizes)
    tensors = {name: draw(slot, (), 0.5) for name, slot in slots.items()}
    inputs = [draw(slot, (batch, steps), 1.0) for slot in oracle.declared("input", sizes).values()]
    return tensors, inputs


# Names that would clash with a careless compiler's own, and others.
LOCALS = ("z", "f", "gamma", "lambda", "I", "tl", "torch", "exp2", "E", "Q", "α", "S", "self", "state_0", "T", "out",
          "_x", "u", "φ_1", "np", "ops", "F", "B", "cos2", "None", "tanh1", "h_", "dtype", "i", "x_t")  # fmt: skip
PARAMS = ("W", "R", "beta", "b", "U", "A", "c", "γ", "V_1", "w", "ga", "nu", "M", "p", "scale", "E_0", "lam", "delta")
SMOOTH = ("tanh", "sigmoid", "sin", "cos", "silu", "gelu", "softplus", "logsigmoid", "act")
KINKED = ("relu", "abs", "elu")
DEFS = (
    "def act(z) = 1.7159 * tanh(0.666 * z)",
    "def mix(g, a, b) = g * a + (1 - g) * b",
    "def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2",
)


@st.composite
def cells(draw: st.DrawFn, *, complex_values: bool = True, spikes: bool = True, noise: bool = False) -> RandomCell:
    """A random valid program; optionally without complex states or hard spikes, or with noise."""
    return _Builder(draw, complex_values, spikes, noise).build()


@dataclass
class _Builder:
    draw: st.DrawFn
    complex_values: bool
    spikes: bool
    noise: bool
    declarations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=lambda: {"D", "H", "N", "K", "V", "L"})
    used: set[str] = field(default_factory=set)  # sizes that the header must name
    atoms: list[tuple[str, Shape, bool]] = field(default_factory=list)  # (text, shape, whether it depends on no state)
    shapes: list[Shape] = field(default_factory=list)  # what locals are made in
    quiet: bool = False  # whether expressions may depend on inputs, params and time alone

    # Choices

    def one_of(self, options: "list | tuple | range"):
        return self.draw(st.sampled_from(list(options)))

    def chance(self, percent: int) -> bool:
        return self.draw(st.integers(0, 99)) >= 100 - percent

    def fresh(self, pool: tuple[str, ...], stem: str) -> str:
        """A name that is not taken, from the pool while it lasts."""
        free = [n for n in pool if n not in self.taken]
        name = self.one_of(free) if free and self.chance(60) else f"{stem}{len(self.taken)}"
        self.taken.add(name)
        return name

    def shape_text(self, shape: Shape) -> str:
        heads, axes = shape
        self.used.update(n for size in heads + axes for n in size.split("*") if n.isalpha())
        return f"[{', '.join(heads)};{' ' if axes else ''}{', '.join(axes)}]" if heads else f"[{', '.join(axes)}]"

    def param(self, shape: Shape, constraint: str = "", kind: str = "") -> str:
        """Declares a param of a shape, or now and then a const, and returns its name."""
        name = self.fresh(PARAMS, "P")
        role = "param"
        if not constraint and not kind and self.chance(8):
            role = "const"
            constraint = self.one_of(("", " = 0.5"))
        elif not constraint and not kind:
            constraint = self.one_of(("", "", "", "", "", " > 0", " in (0, 1)", " ~ normal(0.3)"))
        elif not kind and self.chance(20) and constraint == " in (0, 1)":
            constraint += " ~ uniform(0.6, 0.9)"
        self.declarations.append(f"{role} {name}: {kind}{self.shape_text(shape)}{constraint}")
        return name

    # Expressions. Each method returns text that may stand as an operand of anything (a name, a call or in brackets).

    def expr(self, shape: Shape, depth: int) -> str:
        """An expression of exactly this shape."""
        rules: list[Callable[[Shape, int], str]] = [self.atom]
        if depth > 0:
            rules += [self.smooth, self.sum_, self.product, self.gate, self.kinked, self.ratio, self.choice]
            rules += {0: [self.reduced, self.reduced], 1: [self.matvec] * 4 + [self.vector], 2: [self.matrix] * 3}[
                len(shape[1])
            ]
            if shape == SCALAR:
                rules.append(self.number)
            if shape[0] and len(shape[1]) == 1:
                rules.append(self.split_heads)
        return self.one_of(rules)(shape, depth - 1)

    def loose(self, shape: Shape, depth: int) -> str:
        """An expression of this shape or of one that broadcasts to it."""
        heads, axes = shape
        return self.expr(self.one_of((shape, shape, (heads, ()), ((), axes), SCALAR)), depth)

    def atom(self, shape: Shape, depth: int = 0) -> str:
        """A name of this shape, or a new param."""
        fitting = [text for text, own, quiet in self.atoms if own == shape and (quiet or not self.quiet)]
        if fitting and not self.chance(15):
            return self.one_of(fitting)
        if shape == SCALAR and self.chance(30):
            return self.number(shape, depth)
        return self.param(shape)

    def number(self, shape: Shape, depth: int) -> str:
        return self.one_of(("0.5", "2", "1e-1", "(-0.3)", ".7", "(pi / 4)", "(2^-1)"))

    def smooth(self, shape: Shape, depth: int) -> str:
        inner = self.expr(shape, depth)
        name = self.one_of((*SMOOTH, "exp", "log", "sqrt"))
        if name == "exp":
            return f"exp(tanh({inner}))"
        if name in ("log", "sqrt"):
            return f"{name}(1 + {inner}^2)"
        if name == "act":
            self.taken.add("act")
        return f"{name}({inner})"

    def sum_(self, shape: Shape, depth: int) -> str:
        sides = [self.expr(shape, depth), self.loose(shape, depth)]
        left, right = sides if self.chance(50) else reversed(sides)
        return f"({left} {self.one_of('+-')} {right})"

    def product(self, shape: Shape, depth: int) -> str:
        bounded = self.one_of(("tanh", "sigmoid", "cos"))
        return f"({bounded}({self.loose(shape, depth)}) * {self.expr(shape, depth)})"

    def gate(self, shape: Shape, depth: int) -> str:
        gate, a, b = f"sigmoid({self.loose(shape, depth)})", self.expr(shape, depth), self.loose(shape, depth)
        if self.chance(50):
            return f"({gate} * {a} + (1 - {gate}) * {b})"
        self.taken.add("mix")
        return f"mix({gate}, {a}, {b})"

    def kinked(self, shape: Shape, depth: int) -> str:
        if self.chance(60):
            return f"{self.one_of(KINKED)}({self.expr(shape, depth)})"
        return f"{self.one_of(('max', 'min', 'logaddexp'))}({self.expr(shape, depth)}, {self.loose(shape, depth)})"

    def ratio(self, shape: Shape, depth: int) -> str:
        return f"({self.expr(shape, depth)} / (1 + abs({self.loose(shape, depth)})))"

    def choice(self, shape: Shape, depth: int) -> str:
        """`where` over a condition on time or inputs, so that no rounding of a state decides it."""
        was, self.quiet = self.quiet, True
        tests = (f"{self.expr(SCALAR, 0)} {self.one_of(('>', '<=', '!='))} 0.21", "t < 2", "mod(t, 3) == 1")
        condition = self.one_of(tests)
        self.quiet = was
        return f"where({condition}, {self.expr(shape, depth)}, {self.loose(shape, depth)})"

    def axis(self, *, heads: bool = False) -> str:
        return self.one_of(("K", "V", "D") if heads else ("D", "H"))

    def some_heads(self, heads: tuple[str, ...]) -> tuple[str, ...]:
        """The same head axes, or none, which broadcasts."""
        return heads if self.chance(75) else ()

    def matvec(self, shape: Shape, depth: int) -> str:
        """W @ v, v @ W, r * W @ v, W.T @ v, U @ V @ v: a linear map into the vector."""
        heads, (n,) = shape
        m = self.axis(heads=bool(heads))
        v = self.expr((self.some_heads(heads), (m,)), depth)
        match self.draw(st.integers(0, 6)):
            case 0 | 1:
                return f"({self.param((heads, (n, m)))} @ {v})"
            case 2:
                return f"({v} @ {self.param((heads, (m, n)))})"
            case 3:
                return f"({self.loose(shape, depth)} * {self.param((heads, (n, m)))} @ {v})"
            case 4:
                return f"({self.param((heads, (m, n)))}.T @ {v})"
            case 5:
                k = self.axis(heads=bool(heads))
                return f"({self.param((heads, (n, k)))} @ {self.param((self.some_heads(heads), (k, m)))} @ {v})"
            case _:
                return f"(0.3 * {self.expr((heads, (n, m)), depth)} @ {v})"

    def vector(self, shape: Shape, depth: int) -> str:
        """What works along a vector."""
        inner = self.expr(shape, depth)
        match self.draw(st.integers(0, 6)):
            case 0:
                return f"softmax({inner})"
            case 1:
                return f"(0.3 * cumsum({inner}))"
            case 2:
                return f"normalize(1.5 + tanh({inner}))"
            case 3:
                return f"{self.one_of(('layernorm', 'rmsnorm'))}(2 * {self.param(shape)} + {inner})"
            case 4:
                return f"(diag({inner}) @ {self.expr(shape, depth)})"
            case 5:
                size = shape[1][0]
                self.used.add(size)
                return f"({inner} + 0.1 * ones({size}))"
            case _:
                size = shape[1][0]
                return f"(0.5 * (eye({size}) - {self.param(((), (size, size)))}) @ {inner})"

    def reduced(self, shape: Shape, depth: int) -> str:
        """A scalar from vectors."""
        heads, _ = shape
        vector = (heads, (self.axis(heads=bool(heads)),))
        v = self.expr(vector, depth)
        match self.draw(st.integers(0, 4)):
            case 0:
                return f"{self.one_of(('sum', 'mean'))}({v})"
            case 1:
                return f"norm(1.5 + tanh({v}))"
            case 2:
                return f"({v} @ {self.param(vector)})"
            case _:
                return f"dot({self.param(vector)}, {v})"

    def matrix(self, shape: Shape, depth: int) -> str:
        """A matrix from vectors or from products."""
        heads, (n, m) = shape
        match self.draw(st.integers(0, 4)):
            case 0 | 1:
                return f"outer({self.expr((heads, (n,)), depth)}, {self.expr((self.some_heads(heads), (m,)), depth)})"
            case 2:
                return f"({self.param((self.some_heads(heads), (n, n)))} @ {self.expr(shape, depth)})"
            case 3:
                return f"({self.expr(shape, depth)} @ {self.param((self.some_heads(heads), (m, m)))})"
            case _:
                return f"(diag({self.expr((heads, (n,)), depth)}) @ {self.expr(shape, depth)})"

    def split_heads(self, shape: Shape, depth: int) -> str:
        (n,), (k,) = shape
        inner = self.expr(((), ("D",)), depth)
        return f"heads({self.param(((), (f'{n}*{k}', 'D')))} @ {inner}, {n})"

    # Statements

    def local(self) -> None:
        """A local, or several from a split."""
        shape = self.one_of((*self.shapes, SCALAR))
        quiet = self.quiet = self.chance(40)
        if len(shape[1]) == 1 and self.chance(15):
            names = [self.fresh(LOCALS, "v") for _ in range(2)]
            wide = self.param((shape[0], (f"2*{shape[1][0]}", "D")))
            self.lines.append(f"{', '.join(names)} = split({wide} @ {self.expr(((), ('D',)), 1)}, 2)")
        else:
            names = [self.fresh(LOCALS, "v")]
            self.lines.append(f"{names[0]} = {self.expr(shape, self.one_of((2, 1, 3)))}")
        self.quiet = False
        self.atoms += [(name, shape, quiet) for name in names]

    def silent(self, shape: Shape, depth: int) -> str:
        """An expression that depends on no state."""
        was, self.quiet = self.quiet, True
        text = self.expr(shape, depth)
        self.quiet = was
        return text

    def driven(self, shape: Shape, depth: int) -> str:
        """An expression, more often than not with the input in it."""
        text = self.expr(shape, depth)
        if self.chance(40):
            return text
        heads, axes = shape
        streams = [self.param((heads, (n, "D"))) + " @ x" for n in axes] or [f"{self.param((heads, ('D',)))} @ x"]
        return f"{text} + {streams[0] if len(axes) < 2 else f'outer({streams[0]}, {streams[1]})'}"

    def state(self, name: str, shape: Shape, kind: str) -> str:
        """The right-hand side of a state's equation."""
        old = f"{name}[t-1]"
        depth = self.one_of((1, 2, 3))
        match kind:
            case "affine":
                return f"sigmoid({self.silent(shape, depth)}) * {old} + {self.silent(shape, depth)}"
            case "lagged":
                return f"0.5 * {old} - 0.3 * {name}[t-{self.one_of((2, 3))}] + tanh({self.driven(shape, depth)})"
            case "coupled":
                return f"0.3 * {old} + 0.6 * tanh({self.driven(shape, depth)})"
            case "gated":
                gate = f"sigmoid({self.expr(shape, depth)})"
                return f"{gate} * {old} + (1 - {gate}) * tanh({self.driven(shape, depth)})"
            case "spiking":
                self.taken.add("spike")
                return f"{self.param(shape, ' in (0, 1)')} * {old} + {self.silent(shape, depth)} - spike({old} - 0.5)"
            case "max":
                return f"max({self.silent(shape, depth)} - 0.1 + {old}, {self.silent(shape, depth)})"
            case "log":
                return f"logaddexp(logsigmoid({self.silent(shape, depth)}) + {old}, {self.silent(shape, depth)})"
            case "dense":
                heads, axes = shape
                m = self.param((heads, (axes[-1], axes[-1])))
                mixed = f"{m} @ {old}" if len(axes) == 1 else f"{old} @ {m}"
                return f"tanh({mixed} + {self.driven(shape, depth)})"
            case "delta":
                heads, (n, m) = shape
                k = self.fresh(LOCALS, "v")
                self.lines.append(f"{k} = normalize(1.5 + tanh({self.silent((heads, (n,)), depth)}))")
                return f"0.9 * {old} + 0.4 * outer({k}, {self.silent((heads, (m,)), depth)} - {k} @ {old})"
            case "repeat":
                heads, (n,) = shape
                v, k = self.fresh(LOCALS, "v"), self.fresh((), "k")
                stack = self.param((("L",), (n, n)))
                self.lines += [f"{v} = {old}", f"repeat {k} in 1..L:"]
                first = f"where({k} == 1, {self.silent(shape, depth)}, 0)"
                self.lines += [f"  {v} = 0.5 * {v} + tanh({stack}[{k}] @ {v} + {first})", "end"]
                self.atoms.append((v, shape, False))
                return f"{v} + 0.1 * {stack}[1] @ {old}"
        return f"tanh({self.driven(shape, depth)})"  # free

    def complex_state(self) -> str:
        """A complex diagonal state; others see its real and imaginary parts."""
        name, lam = self.fresh(("ξ", "Lam"), "c"), self.fresh(LOCALS, "v")
        th, matrix = self.param(((), ("H",)), " > 0"), self.param(((), ("H", "D")), kind="complex ")
        self.declarations.append(f"state {name}: complex [H]")
        self.lines.append(f"{lam} = exp(-softplus({th}) + 1j * {th})")
        self.lines.append(f"{name}[t] = {lam} * {name}[t-1] + {matrix} @ {self.silent(((), ('D',)), 1)}")
        parts = (f"re({name}[t])", f"im({name}[t])", f"abs(1.5 + {name}[t-1])", f"re({name}[t-1] * conj({lam}))")
        self.atoms += [(part, ((), ("H",)), False) for part in parts]
        return self.one_of(parts)

    def inputs(self) -> None:
        more = self.one_of(((), (("s", SCALAR),), (("y", ((), ("H",))),), (("s", SCALAR), ("x_2", ((), ("D",))))))
        for name, shape in (("x", ((), ("D",))), *more):
            self.taken.add(name)
            self.declarations.append(f"input {name}: {self.shape_text(shape)}")
            self.atoms.append((name, shape, True))
            if self.chance(15):
                self.atoms.append((f"{name}[t-{self.one_of((1, 2))}]", shape, True))
        if self.chance(25):
            self.atoms += [("cos(0.3 * t)", SCALAR, True), ("(1 / (1 + t))", SCALAR, True)]
        if self.noise:
            self.taken.add("mask")
            distribution = self.one_of(("bernoulli(0.9)", "normal(1, 0.1)", "uniform(0.5, 1)"))
            self.declarations.append(f"noise mask: {self.shape_text(((), ('D',)))} ~ {distribution}")
            self.atoms.append(("mask", ((), ("D",)), True))

    def states(self) -> list[tuple[str, Shape, str]]:
        """Declares the states and makes their old values readable."""
        pool: list[Shape] = [((), ("H",)), ((), ("H",)), SCALAR]
        pool += [(("N",), ("K",)), (("N",), ("K",)), (("N",), ("K", "V")), ((), ("K", "V")), (("N",), ())]
        found = []
        for _ in range(self.one_of((1, 2, 3))):
            shape = self.one_of(pool)
            name = self.fresh(("h", "c", "n", "m", "l", "r", "q"), "s")
            kinds = ["free", "gated", "coupled", "affine", "lagged", "max", "log"]
            kinds += [[], ["dense", "dense", "repeat", "repeat"], ["delta", "dense"]][len(shape[1])]
            kinds = [k for k in kinds if k != "repeat" or not shape[0]]
            kinds += ["spiking"] if self.spikes and len(shape[1]) < 2 else []
            kind = self.one_of(kinds)
            start = ""
            if kind in ("max", "log"):
                start = self.one_of((" = -inf", ""))
            elif self.chance(30):
                start = " = " + self.one_of(("0.5", f"0.3 * {self.param(shape)}", "-1/4"))
            self.declarations.append(f"state {name}: {self.shape_text(shape)}{start}")
            self.atoms += [(text, shape, False) for text in self.seen(name, kind, "t-1")]
            found.append((name, shape, kind))
        return found

    def seen(self, name: str, kind: str, when: str) -> list[str]:
        """How others read a state: one that may be -inf, or grow, through a sigmoid alone."""
        if kind in ("max", "log"):
            return [f"sigmoid({name}[{when}])"]
        return [f"{name}[{when}]"] + ([f"{name}[t-2]"] if kind == "lagged" and when == "t-1" else [])

    def outputs(self, states: list[tuple[str, Shape, str]], extra: list[str]) -> None:
        """States, locals and expressions; the input has a part in one of them."""
        names: set[str] = set()
        texts = []
        for name, shape, _ in states:
            if self.chance(60):
                texts.append(name)
                names.add(name)
            elif shape[0] and len(shape[1]) < 2 and self.chance(50):
                texts.append(f"y{len(texts)} = merge(tanh({name}[t]))")
        texts += [f"part = {text}" for text in extra]
        if not texts or self.chance(40):
            shape = self.one_of((*self.shapes, SCALAR))
            texts.append(f"out{len(texts)} = {self.expr(shape, 2)}")
        if self.chance(20):
            texts.append(f"x = {self.expr(SCALAR, 1)}")  # outputs have a namespace of their own
        if not names:
            texts.append(f"seen = {self.param(((), ('H', 'D')))} @ x")
        if self.chance(30):
            self.lines += [f"output {text}" for text in texts]
        else:
            self.lines.append(f"output {', '.join(texts)}")

    def build(self) -> RandomCell:
        """The whole program."""
        hyper = self.chance(20)
        if hyper:
            self.taken.add("dt")
            self.atoms.append(("dt", SCALAR, True))
        self.inputs()
        states = self.states()
        self.shapes = [((), ("H",)), *dict.fromkeys(shape for _, shape, _ in states)]
        parts = [self.complex_state()] if self.complex_values and self.chance(10) else []
        for name, shape, kind in self.draw(st.permutations(states)):
            for _ in range(self.one_of((0, 1, 2))):
                self.local()
            value = self.state(name, shape, kind)
            self.lines.append(f"{name}[t] = {value}")
            self.atoms += [(text, shape, False) for text in self.seen(name, kind, "t")]
        self.outputs(states, parts)
        return self.assemble(hyper)

    def assemble(self, hyper: bool) -> RandomCell:
        """Header, declarations (anywhere before, among or after the equations) and equations."""
        numbers = self.draw(st.permutations((3, 5, 7)))[:2] + self.draw(st.permutations((2, 4, 6)))
        sizes = dict(zip(("D", "H", "N", "K", "V"), numbers, strict=True)) | {"L": self.one_of((2, 3))}
        body = "\n".join(self.lines)
        words = set(self.shape_words(body)) | self.used | {"D", "H"}
        sizes = {name: size for name, size in sizes.items() if name in words}
        header = ", ".join([*sizes, *(["dt = 0.5"] if hyper else [])])
        declarations = self.declarations
        if self.chance(15):
            inputs = [d for d in declarations if d.startswith("input")]
            declarations = inputs + self.draw(st.permutations([d for d in declarations if d not in inputs]))
        statements = [*self.lines, *declarations] if self.chance(15) else [*declarations, *self.lines]
        defs = [d for d in DEFS if d.split()[1].split("(")[0] in self.taken]
        doc = self.one_of((["  # a comment", ""], ['  "A random cell."'], []))
        cell = [f"cell Random({header}):", *doc, *("  " + line for line in statements)]
        items = cell + defs if self.chance(20) else defs + cell
        return RandomCell("\n".join(items) + "\n", sizes)

    @staticmethod
    def shape_words(text: str) -> list[str]:
        """Every word of a text that could be a size's name."""
        return "".join(c if c.isalnum() or c == "_" else " " for c in text).split()


ODD = (
    *"\"'{}\0λσ²[]();:.,~^@=<-#\\\t\n\ufeff\u202eé🙂",
    *('"""', "'''", "{{ x }}", "{% if %}", "..", "**", "==", "\\n", "\r\n", "e\u0301", "()", "[]", "((", "(" * 120),
    *("1e999", "1..2", "1j", "1_0", "0x1f", "-inf", " / 0", "t", "[t]", "[t+1]", "[t-0]", "[t-99999]", "[" * 120),
    *(
        " end\n",
        "\nend\n",
        " repeat k in 1..3:\n",
        " grad ",
        " in ",
        " complex ",
        " param ",
        " const ",
        " noise ",
        " input",
    ),
    *("\ncell X():\n", "\ncell X(D):\n", "\ndef f(v) = f(v)\n", "\noutput h\n", "\nstate h: [H]\n", "\ninput x: [D]\n"),
    *("__import__", "torch", "None", "lambda", "-" * 400),
)


@st.composite
def damage(draw: st.DrawFn, text: str) -> str:
    """A program with one to four random injuries; it may still be valid."""
    for _ in range(draw(st.integers(1, 4))):
        a, b = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        b = min(b, a + draw(st.sampled_from((1, 2, 5, 12, 40))))
        words = text.split() or ["h"]
        match draw(st.integers(0, 6)):
            case 0:
                text = text[:a] + text[b:]
            case 1:
                text = text[:b] + text[a:b] + text[b:]
            case 2:
                c = draw(st.integers(b, len(text)))
                d = min(len(text), c + b - a)
                text = text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]
            case 3 | 4:
                text = text[:a] + draw(st.sampled_from(ODD)) + text[a:]
            case 5:
                text = text[:a] + " " + draw(st.sampled_from(words)) + " " + text[b:]
            case _:
                text = text.replace(draw(st.sampled_from(words)), draw(st.sampled_from((*words, *ODD))), 1)
    return text
