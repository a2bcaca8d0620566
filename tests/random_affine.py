"""Random cells with affine matrix states, S[t] = (diag(a) + Σ u wᵀ) S[t-1] + Σ p qᵀ, written in many ways, and the same solved by chunks.

`python -m tests.random_affine --seed 1 --count 200` compiles each, and compares chunks with the oracle: outputs, states and gradients, from the start
and from a given state, with resets, in halves and in single steps. A program for which no normal form is found is a fault, but for the few that have none.
"""

import argparse
import random
import sys
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

import rnndsl
from rnndsl.runtime.torch import chunked
from tests.agreement import Case, assert_agrees, well_conditioned
from tests.random_expressions import Choices
from tests.random_programs import RandomCell


@dataclass(frozen=True)
class Affine(RandomCell):
    """`form`: whether there is a normal form; `chunk`: the steps of a chunk to try it with."""

    form: bool = True
    chunk: int = 4


def program(seed: int) -> Affine:
    """The random program of a number: the same one every time."""
    return _Writer(Choices(random.Random(seed).randrange)).build()


@dataclass
class _Writer:
    """Makes a program; rows of a state are along K, columns along V, and `right` writes its transpose."""

    choices: Choices
    declarations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        c = self.choices
        self.heads = c.chance(50)
        self.right = c.chance(40)
        self.form = True

    # What vectors, gates and numbers are

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def let(self, stem: str, text: str, percent: int = 50) -> str:
        """A text, or a local with its value."""
        if not self.choices.chance(percent):
            return text
        name = self.fresh(stem)
        self.lines.append(f"{name} = {text}")
        return name

    def param(self, axes: str, rest: str = "") -> str:
        """A parameter of each head, or of all."""
        name = self.fresh("W" if "," in axes else "g")
        own = self.heads and self.choices.chance(80)
        self.declarations.append(f"param {name}: [{'N; ' if own else ''}{axes}]{rest}")
        return name

    def vector(self, size: str) -> str:
        """A vector along an axis of the state, at most about 1 long."""
        c = self.choices
        whole = f"{self.param(f'{size}, D')} @ x"
        text = c.one_of(
            (
                lambda: f"tanh({whole})",
                lambda: f"normalize({whole})",
                lambda: f"normalize(silu({whole} + {self.param(size)}))",
                lambda: f"(0.5 * {whole})",
                lambda: f"softmax({whole})",
                lambda: f"tanh({self.param(size)})",
                lambda: f"(tanh({whole}) * sigmoid({self.param(f'{size}, D')} @ x))",
                lambda: f"(({whole}) / (1 + norm({whole})))",
                lambda: f"where({whole} > 0, 0.5, -0.3)" if c.chance(50) else f"relu(tanh({whole}))",
                lambda: f"({self.scalar()} * normalize({whole}))",
            )
        )()
        return self.let("v", text, 60)

    def row(self) -> str:
        return self.vector("K")

    def column(self) -> str:
        return self.vector("V")

    def scalar(self) -> str:
        """A number between -1 and 1."""
        gate = f"dot({self.param('D')}, x)"
        text = self.choices.one_of(
            (
                lambda: f"sigmoid({gate})",
                lambda: "0.5",
                lambda: f"tanh({gate})",
                lambda: f"min(max({gate}, 0), 1)",
                lambda: f"where({gate} > 0, 0.7, -0.2)",
                lambda: f"({gate} / (1 + abs({gate})))",
                lambda: self.param("", " in (0, 1)"),
            )
        )()
        return self.let("s", text)

    def decay(self) -> str:
        """A number in (0, 1]."""
        gate = f"dot({self.param('D')}, x)"
        text = self.choices.one_of(
            (
                lambda: f"sigmoid({gate})",
                lambda: "0.9",
                lambda: f"exp(-softplus({gate}))",
                lambda: f"exp(-exp({self.param('')}) * softplus({gate}))",
                lambda: self.param("", " in (0, 1)"),
                lambda: f"(1 - sigmoid({gate}))",
                lambda: f"sigmoid({gate})^(1/4)",
                lambda: f"exp(min({gate}, 0))",
                lambda: f"(1 / (1 + exp({gate})))",
            )
        )()
        return self.let("a", text)

    def decays(self, size: str) -> str:
        """A vector of decays."""
        gate = f"{self.param(f'{size}, D')} @ x"
        text = self.choices.one_of(
            (
                lambda: f"sigmoid({gate})",
                lambda: f"exp(-softplus({gate}))",
                lambda: f"exp(-exp({self.param(size)} + {gate}))",
                lambda: self.param(size, " in (0, 1)"),
                lambda: f"(1 - {self.scalar_in_one()} * sigmoid({gate}))",
                lambda: f"sigmoid({gate})^(1/8)",
            )
        )()
        return self.let("a", text)

    def scalar_in_one(self) -> str:
        return f"sigmoid(dot({self.param('D')}, x))"

    # Matrices and products, of S or of its transpose

    def outer(self, row: str, column: str) -> str:
        first, second = (column, row) if self.right else (row, column)
        text = f"outer({first}, {second})"
        return f"outer({second}, {first}).T" if self.choices.chance(10) else text

    def read(self, vector: str, state: str) -> str:
        """What a vector along rows reads of a state: one along columns."""
        if self.choices.chance(15):
            return f"{state}.T @ {vector}" if not self.right else f"{vector} @ {state}.T"
        return f"{state} @ {vector}" if self.right else f"{vector} @ {state}"

    def times(self, matrix: str, state: str) -> str:
        """A matrix of rows and rows times a state."""
        return f"{state} @ {matrix}" if self.right else f"{matrix} @ {state}"

    def square(self, left: str, right: str) -> str:
        """u wᵀ, or its transpose where states are."""
        return f"outer({right}, {left})" if self.right else f"outer({left}, {right})"

    def term(self, state: str) -> str:
        """u (q - wᵀ S)ᵀ in one of the ways that it is written in."""
        c = self.choices
        u, w = self.let("u", self.row(), 70), self.let("w", self.row(), 70)
        if c.chance(40):
            w = u
        beta = self.scalar() if c.chance(60) else "0.5"
        r = self.read(w, state)
        return c.one_of(
            (
                lambda: f"+ {beta} * {self.outer(u, f'({self.column()} - {r})')}",
                lambda: f"- {self.outer(f'{beta} * {u}', r)}",
                lambda: f"+ {self.outer(u, f'{beta} * {self.column()}')} - {beta} * {self.outer(u, r)}",
                lambda: f"- {beta} * {self.times(f'{self.square(u, w)}', state)}",
                lambda: f"- {self.outer(u, f'{beta} * ({r} - {self.column()})')} / 2",
                lambda: f"+ where({self.scalar()} > 0, {self.outer(u, r)}, 0.1 * {self.outer(w, self.column())})",
                lambda: f"- {self.outer(u, f'(0.5 * {r} + 0.5 * {self.read(u, state)})')}",
            )
        )()

    def added(self) -> str:
        u, q = self.row(), self.column()
        return self.choices.one_of(
            (
                lambda: f"+ {self.outer(u, q)}",
                lambda: f"+ {self.scalar()} * {self.outer(u, q)}",
                lambda: f"+ ({self.outer(u, q)} - {self.outer(self.row(), q)}) / 2",
                lambda: f"- {self.outer(u, f'({q} + {self.column()})')}",
                lambda: "+ 0.1",
                lambda: f"+ {self.scalar()}",
            )
        )()

    def decayed(self, state: str) -> str:
        """A state times its decay."""
        c = self.choices
        rows = lambda a: self.times(f"diag({a})", state)  # noqa: E731
        return c.one_of(
            (
                lambda: f"{self.decay()} * {state}",
                lambda: state,
                lambda: rows(self.decays("K")),
                lambda: f"{self.decay()} * {rows(self.decays('K'))}",
                lambda: f"{self.outer(self.decays('K'), 'ones(V)')} * {state}",
                lambda: f"{state} * {self.decay()} * {self.decay()}",
                lambda: f"({state} - {self.scalar_in_one()} * {state})",
                lambda: f"{state} / (1 + {self.scalar_in_one()})",
                lambda: f"where({self.scalar()} > 0, {state}, 0.5 * {state})",
            )
        )()

    def transition(self, state: str) -> str:
        """(diag(a) - β u wᵀ) S, written as one matrix."""
        c = self.choices
        u = self.row()
        w = u if c.chance(50) else self.row()
        start = c.one_of((lambda: "eye(K)", lambda: f"diag({self.decays('K')})", lambda: f"{self.decay()} * eye(K)"))()
        matrix = f"({start} - {self.scalar()} * {self.square(u, w)})"
        if c.chance(30):
            v = self.row()
            second = f"(eye(K) - {self.scalar()} * {self.square(v, v)})"
            return self.times(f"({matrix} @ {second})", state) if c.chance(50) else self.times(self.let("A", matrix), f"({self.times(second, state)})")
        return self.times(self.let("A", matrix), state)

    def updated(self, state: str) -> str:
        """The right side of a state's equation."""
        c = self.choices
        kind = c.below(10)
        if kind < 2:
            return f"{self.transition(state)} {self.added() if c.chance(80) else ''}"
        if kind < 4:
            M = self.let("M", self.decayed(state), 100)
            for _ in range(c.one_of((1, 1, 2))):
                M = self.let("M", f"{M} {self.term(M)}", 100)
            return f"{M} {self.added()}" if c.chance(50) else M
        terms = [self.term(state) for _ in range(c.one_of((0, 1, 1, 2)))]
        more = [self.added() for _ in range(c.one_of((1, 0, 2) if terms else (1, 2)))]
        return " ".join([self.decayed(state), *c.shuffled([*terms, *more])])

    # The whole

    def build(self) -> Affine:
        c = self.choices
        shape = f"[{'N; ' if self.heads else ''}{'V, K' if self.right else 'K, V'}]"
        beside = c.one_of(("", "", "", "normaliser", "stabiliser", "gate", "second"))
        states = ["S", "Z"] if beside == "second" else ["S"]
        start = " = 0.3" if c.chance(20) else ""
        self.declarations += [f"state {s}: {shape}{start}" for s in states]
        head = "N;" if self.heads else ""
        outs: list[str] = []
        if beside == "stabiliser":
            self.declarations.append(f"state m: [{head}] = {c.one_of(('0', '-inf'))}")
            i, f = f"dot({self.param('D')}, x)", f"logsigmoid(dot({self.param('D')}, x))"
            self.lines += [f"m[t] = max({f} + m[t-1], {i})"]
            gates = f"exp({f} + m[t-1] - m[t])", f"exp({i} - m[t])"
            self.lines += [f"S[t] = {gates[0]} * S[t-1] + {gates[1]} * {self.outer(self.row(), self.column())} {self.term('S[t-1]') if c.chance(40) else ''}"]
        elif beside == "gate":
            self.declarations.append(f"state h: [{'N; ' if self.heads else ''}V]")
            self.lines.append(f"h[t] = {self.decay()} * h[t-1] + {self.column()}")
            self.lines.append(f"S[t] = {self.decayed('S[t-1]')} {self.term('S[t-1]')} + {self.outer(self.row(), 'tanh(h[t])')}")
        elif beside == "second":
            other = c.one_of((lambda: f"+ {self.scalar()} * Z[t-1]", lambda: self.term("Z[t-1]"), lambda: ""))()
            own = f"{self.decay()} * S[t-1] {self.term('S[t-1]') if c.chance(50) else self.added()} {other}"
            self.lines.append(f"S[t] = {own}")
            link = c.one_of((lambda: f"+ {self.scalar()} * S[t]", lambda: f"+ 0.5 * S[t-1] {self.added()}", lambda: self.term("S[t]")))()
            self.lines.append(f"Z[t] = {self.decay()} * Z[t-1] {link}")
        else:
            self.lines.append(f"S[t] = {self.updated('S[t-1]')}")
        for state in states:
            outs.append(self.output(state))
        if beside == "normaliser":
            self.declarations.append(f"state n: [{'N; ' if self.heads else ''}K]")
            self.lines.append(f"n[t] = {self.decay()} * n[t-1] + {self.row()}")
            outs.append(f"({self.read(self.row(), 'S[t]')}) / max(abs(dot({self.row()}, n[t])), 1)")
        if c.chance(15):
            self.declarations.append(f"state g: [{'N; ' if self.heads else ''}V]")
            self.lines.append(f"g[t] = 0.5 * g[t-1] + tanh({self.read(self.row(), c.one_of(('S[t]', 'S[t-1]')))})")
            outs.append("g[t]")
        numbers = c.shuffled((3, 5, 2, 4, 1))
        sizes = {"D": numbers[0], "K": numbers[1], "V": numbers[2]} | ({"N": c.one_of((2, 3, 1))} if self.heads else {})
        header = ", ".join(sizes)
        lines = ["input x: [D]", *self.declarations, *self.lines, "output " + ", ".join(f"y{i} = {out}" for i, out in enumerate(outs))]
        text = f"cell Random({header}):\n" + "".join(f"  {line}\n" for line in lines)
        return Affine(text, sizes, c.one_of((2, 1, 3)), c.one_of((9, 5, 7, 1, 12)), self.form, c.one_of((4, 2, 8, 64)))

    def output(self, state: str) -> str:
        c = self.choices
        w = self.row()
        new, old = f"{state}[t]", f"{state}[t-1]"
        return c.one_of(
            (
                lambda: self.read(w, new),
                lambda: self.read(w, new),
                lambda: f"tanh({self.read(w, new)}) * {self.column()} + {self.read(self.row(), old)}",
                lambda: self.read(w, f"({new} - 0.5 * {old})"),
                lambda: self.read(w, old),
                lambda: new,
                lambda: f"tanh({self.column()} @ {new})" if self.right else f"tanh({new} @ {self.column()})",
                lambda: f"normalize({self.read(w, new)})",
            )
        )()


@contextmanager
def chunks_of(steps: int):
    """Chunks of at most so many steps."""
    before = chunked._LONGEST
    chunked._LONGEST = steps
    try:
        yield
    finally:
        chunked._LONGEST = before


FINE, UNTAME, REFUSED, FAULT = "fine", "not well conditioned", "no normal form", "fault"


def judge(cell: Affine, seed: int) -> tuple[str, str]:
    """What comes of a program, and why. Raises AssertionError where its numbers are wrong."""
    kernels = rnndsl.load(cell.text).Random._kernels["torch"]
    if not kernels.chunks:
        return REFUSED, "; ".join(f"{k}: {v}" for k, v in kernels.unchunked.items())
    case = Case(cell.text, "Random", cell.sizes, cell.batch, cell.steps, seed, "torch", "chunked")
    if not well_conditioned(case):
        return UNTAME, ""
    with chunks_of(cell.chunk):
        assert_agrees(case)
    return FINE, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first program's number")
    parser.add_argument("--count", type=int, default=100, help="how many programs")
    parser.add_argument("--show", action="store_true", help="print every program that is not fine")
    arguments = parser.parse_args()
    results: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        cell = program(seed)
        try:
            result, why = judge(cell, seed)
        except Exception as e:  # a fault of any kind is what is looked for
            result, why = FAULT, "".join(traceback.format_exception(e, limit=-3)).strip().splitlines()[-1]
        results[result] += 1
        if result in (REFUSED, FAULT):
            reasons[f"{result}: {why}"[:160]] += 1
            print(f"{seed}: {result}: {why}", flush=True)
            if arguments.show:
                print(cell.text, cell.sizes, f"B = {cell.batch}, T = {cell.steps}, chunks of {cell.chunk}", flush=True)
    print(f"\n{arguments.count} programs from {arguments.seed}: {', '.join(f'{n} {r}' for r, n in results.items())}")
    for reason, n in reasons.most_common():
        print(f"  {n} x {reason}")
    return 1 if results[FAULT] else 0


if __name__ == "__main__":
    sys.exit(main())
