"""Random cells of several states, made of a number: what one stage of a plan leaves to another.

States are written by constants, params, each other or themselves; locals stand between components; outputs are of anything.
`python -m tests.many_cells --count 2000` compiles that many, and compares one in ten with the oracle on every backend.
"""

import argparse
import os
import random
import sys
import traceback

SIZES = {"H": 3}
BACKENDS = ("reference", "cpu", "triton")


def many(number: int) -> str:
    """The text of a cell; the same one every time."""
    return _Cell(random.Random(number)).text()


class _Cell:
    """One cell as it is written, line by line. Values are vectors of H entries, or scalars."""

    def __init__(self, random: random.Random):
        self.random = random
        self.vectors = ["x", "a", "b"]  # what may be read so far
        self.scalars = ["s", "g", "rate", "0.5", "1.5"]
        self.lines: list[str] = []

    def text(self) -> str:
        states = {name: self.random.random() < 0.75 for name in "hqkmz"[: self.random.randint(2, 5)]}
        for name, is_vector in states.items():
            for lag in (1, 1, self.random.choice((1, 2, 3))):
                self._known(f"{name}[t-{lag}]", is_vector)
        if self.random.random() < 0.2:
            self.vectors.append("x[t-1]")
        order = list(states)
        self.random.shuffle(order)
        for i, name in enumerate(order):
            for j in range(self.random.choice((0, 0, 1, 2))):
                self._local(f"u{i}{j}")
            self.lines.append(f"{name}[t] = {self._update(name, states[name])}")
            self._known(f"{name}[t]", states[name])
        for j in range(self.random.choice((0, 0, 1, 2))):
            self._local(f"w{j}")
        outputs = ", ".join(f"y{i} = {self._output()}" for i in range(self.random.randint(1, 3)))
        declared = [f"state {n}: {'[H]' if v else '[]'}{self.random.choice(('', '', ' = 0.25'))}" for n, v in states.items()]
        head = ["cell Many(H, rate = 0.3):", "input x: [H]", "input s: []", *declared, "param a, b: [H]", "param g: []", "param R: [H, H]", "param P: [3; H]"]
        return "\n  ".join([*head, *self.lines, f"output {outputs}"]) + "\n"

    def _known(self, name: str, is_vector: bool) -> None:
        (self.vectors if is_vector else self.scalars).append(name)

    def _local(self, name: str) -> None:
        is_vector = self.random.random() < 0.75
        if self.random.random() < 0.2:
            k, start = f"k{len(self.lines)}", self._value(1, True)
            slice_ = f"P[{k}]" if self.random.random() < 0.7 else self._value(0, True)
            again = name if self.random.random() < 0.7 else self._value(0, True)
            self.lines += [f"{name} = {start}", f"repeat {k} in 1..{self.random.randint(1, 3)}:", f"  {name} = tanh({slice_} * {again})", "end"]
            is_vector = True
        else:
            self.lines.append(f"{name} = {self._value(2, is_vector)}")
        self._known(name, is_vector)

    def _update(self, name: str, is_vector: bool) -> str:
        """A new value that stays small."""
        kind = self.random.randrange(8)
        own = f"{name}[t-1]"
        if kind == 0:
            return self.random.choice(("0.5", "1", "rate", "rate + 0.25", "g"))
        if kind == 1:
            return self._fixed(is_vector)
        if kind == 2:
            return f"0.5 * {own} + {self._fixed(is_vector)}"
        if kind == 3:
            return f"0.5 * {own}^2 + 0.1 * tanh({self._value(1, is_vector)})"
        if kind == 4 and is_vector:
            return f"tanh(R @ {own} + {self._value(1, True)})"
        if kind == 5:
            return f"tanh({self._value(3, is_vector)})"
        return f"0.5 * {own} + 0.5 * tanh({self._value(2, is_vector)})"

    def _fixed(self, is_vector: bool) -> str:
        """Of params and numbers alone."""
        return self.random.choice(("a * 0.5", "tanh(a + g)", "sigmoid(R @ b)", "rate * b") if is_vector else ("rate", "0.5 * g", "tanh(g + rate)"))

    def _output(self) -> str:
        kind = self.random.randrange(8)
        if kind == 0:
            return self.random.choice(("1", "rate", "g", "b", "x", "rate * 2"))
        return self._value(self.random.randint(0, 3), self.random.random() < 0.75)

    def _value(self, depth: int, is_vector: bool) -> str:
        """A random expression."""
        if depth == 0:
            return self.random.choice(self.vectors if is_vector else self.scalars)
        left, right = self._value(depth - 1, is_vector), self._value(self.random.randrange(depth), is_vector and self.random.random() < 0.7)
        forms = ["{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} / (1 + {1}^2)", "tanh({0})", "sigmoid({0} - {1})", "sin({0} * {1})", "rate * {0}"]
        if is_vector:
            forms += ["R @ {0}", "sum({0}) * {0}", "softmax({0})", "R @ (g * ones(H) + {0})"]
        else:
            forms += ["sum(x) * {0}", "dot(a, x) + {0}"]
        return f"({self.random.choice(forms).format(left, right)})"


def check(number: int, backends: tuple[str, ...] = ()) -> None:
    """Compiles a cell; on each backend that has kernels for it, it agrees with the oracle."""
    import rnndsl
    from tests.agreement import Case, assert_agrees, kernels_run

    text = many(number)
    compile(rnndsl.compile(text), "generated.py", "exec")
    for backend in backends:
        if kernels_run(text, "Many", backend):
            assert_agrees(Case(text, "Many", SIZES, 2, 3, backend=backend), 1e-8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="how many cells")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--every", type=int, default=10, help="one in so many runs")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    options = parser.parse_args()
    wrong = 0
    for number in range(options.first, options.first + options.count):
        try:
            check(number, tuple(options.backends.split(",")) if number % options.every == 0 else ())
        except Exception:
            wrong += 1
            print(f"cell {number}\n{many(number)}", flush=True)
            traceback.print_exc(limit=-2, file=sys.stdout)
    print(f"{options.count} cells, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    os.environ["RNNDSL_BACKEND"] = "reference"
    os.environ.setdefault("TRITON_INTERPRET", "1")
    sys.exit(main())
