"""Programs below 5 kB that grow: each family is a text with a number in it, and the number is as large as it fits."""

from collections.abc import Callable

LIMIT = 5_000  # bytes of a program

Family = Callable[[int], str]


def _cell(lines: list[str], header: str = "D, H", value: str = "x", declared: str = "") -> str:
    """A cell with one state of its own, whose new value is `value`."""
    head = f"cell A({header}):\n input x: [H]\n state h: [H]\n{declared}"
    return head + "".join(f" {line}\n" for line in lines) + f" h[t] = {value}\n output h\n"


def _chain(step: str, start: str = "h[t-1]") -> Family:
    """Locals u0, u1, …, each made of the one before."""

    def family(n: int) -> str:
        lines = [f"u0 = {start} + x", *(f"u{i} = {step.format(u=f'u{i - 1}', v=f'u{max(i - 2, 0)}', i=i)}" for i in range(1, n))]
        return _cell(lines, value=f"u{n - 1}", declared=" param a, b: [H]\n param W, R: [H, H]\n")

    return family


def _states(step: str, lag: int = 1, shape: str = "[H]") -> Family:
    """States h0, h1, …; `step` is the new value of one, of `s`, all of them, and `one`, the one before."""

    def family(n: int) -> str:
        names = [f"h{i}" for i in range(n)]
        head = f"cell A(H):\n input x: {shape}\n state {', '.join(names)}: {shape}\n param a: [H]\n param W: [H, H]\n"
        lines = []
        for i, name in enumerate(names):
            every = " + ".join(f"{s}[t-{lag}]" for s in names)
            product = " * ".join(f"{s}[t-{lag}]" for s in names)
            new = f"h{i - 1}[t]" if i else f"h{n - 1}[t-{lag}]"
            lines.append(f" {name}[t] = {step.format(every=every, product=product, own=f'{name}[t-{lag}]', new=new)}\n")
        return head + "".join(lines) + " output h0\n"

    return family


def _doubling(first: str, step: str) -> Family:
    """Functions d0, d1, …, each calling the one before more than once."""

    def family(n: int) -> str:
        defs = [f"def d0(v) = {first}\n", *(f"def d{i}(v) = {step.format(d=f'd{i - 1}')}\n" for i in range(1, n))]
        return "".join(defs) + _cell([], value=f"d{n - 1}(h[t-1]) + x")

    return family


def _nested(left: str, inside: str, right: str) -> Family:
    return lambda n: _cell([], value=left * n + inside + right * n, declared=" param W: [H, H]\n")


def _repeated(*body: str) -> Family:
    def family(n: int) -> str:
        lines = ["v = h[t-1]", "w = h[t-1]", f"repeat k in 1..{n}:", *(f" {line}" for line in body), "end"]
        return _cell(lines, value="v + w + x", declared=" param a: [H]\n param R: [1000; H, H]\n param W: [H, H]\n")

    return family


def _joined(operator: str, term: str, count: int | None = None) -> Family:
    return lambda n: _cell([], value=operator.join(term.format(i=i) for i in range(n)), declared=" param a: [H]\n param W: [H, H]\n")


FAMILIES: dict[str, Family] = {
    # chains of locals
    "squares and tanh": _chain("{u}*{u} + tanh({u})"),
    "products": _chain("{u}*{u}"),
    "cubes": _chain("{u}*{u}*{u} + {u}"),
    "powers": _chain("{u}^3"),
    "quotients": _chain("{u}/(1+{u}*{u})"),
    "two back": _chain("{u}*{v} + tanh({v})"),
    "sums": _chain("{u} + {v}"),
    "differences": _chain("2*{u} - {v}"),
    "affine chain": _chain("a*{u} + b*{v}"),
    "max chain": _chain("max({u} + a, {v} + b)"),
    "logaddexp chain": _chain("logaddexp({u} + a, {v} + b)"),
    "where chain": _chain("where({u} > {v}, {u}, {v} + 1)"),
    "where of constants": _chain("where(x > 0, {u} + a, {v} + {u})"),
    "sigmoids": _chain("sigmoid({u}) * {v}"),
    "softmaxes": _chain("softmax({u} * {v})"),
    "layernorms": _chain("layernorm({u}) * {v}"),
    "matrices": _chain("tanh(W @ {u}) * {v}"),
    "two matrices": _chain("(W @ {u}) * (R @ {v})"),
    "dots": _chain("dot({u}, {v}) * {u}"),
    "mods": _chain("mod({u}, {v})"),
    "exponents": _chain("{u}^{v}"),
    "norms": _chain("{u} / norm({v})"),
    "of inputs": _chain("{u}*{u} + tanh({v})", start="x"),
    "of params": lambda n: _cell(
        ["u0 = a + 1", *(f"u{i} = u{i - 1}*u{i - 1} + tanh(u{i - 1})" for i in range(1, n))],
        value=f"u{n - 1} * h[t-1] + x", declared=" param a: [H]\n",
    ),
    "complex chain": lambda n: (
        "cell A(H):\n input x: [H]\n state h: complex [H]\n u0 = h[t-1] + x\n"
        + "".join(f" u{i} = conj(u{i - 1})*u{i - 1} + abs(u{i - 1})\n" for i in range(1, n))
        + f" h[t] = u{n - 1}\n output y = re(h[t])\n"
    ),
    "matrix chain": lambda n: (
        "cell A(K):\n input x: [K]\n state S: [K, K]\n u0 = S[t-1] + outer(x, x)\n"
        + "".join(f" u{i} = u{i - 1} @ u{i - 1}.T\n" for i in range(1, n))
        + f" S[t] = u{n - 1}\n output y = S[t] @ x\n"
    ),
    # states
    "states in a ring": _states("tanh({new} + x) * {own}"),
    "states, squared": _states("{new}*{new} + tanh({new}) + x"),
    "states, all of all": _states("tanh({every} + x)"),
    "states, products of all": _states("tanh({product} + x)"),
    "states, affine of all": _states("0.5*({every}) + x"),
    "states, matrices": _states("tanh(W @ {new} + x)"),
    "states, lag 64": _states("tanh({own}*{new} + x)", lag=64),
    "states, lag 64, sums": _states("tanh({own} + {new} + x)", lag=64),
    "states, affine, lag 64": _states("0.5*{own} + {new}", lag=64),
    "states, max": _states("max({own} + a, {new})"),
    "states of one another": lambda n: (
        f"cell A(H):\n input x: [H]\n state {', '.join(f'h{i}' for i in range(n))}: [H]\n"
        + "".join(f" h{i}[t] = tanh(" + "+".join(f"h{j}[t{'' if j < i else '-1'}]" for j in range(n)) + ")\n" for i in range(n))
        + " output h0\n"
    ),
    "lags of one state": lambda n: _cell([], value=" + ".join(f"h[t-{i % 64 + 1}]*h[t-{(i * 7) % 64 + 1}]" for i in range(n))),
    "many scalar states": lambda n: (
        f"cell A(H):\n input x: [H]\n state {', '.join(f's{i}' for i in range(n))}: []\n"
        + "".join(f" s{i}[t]=s{(i + 1) % n}[t-64]\n" for i in range(n)) + " output s0, y = x\n"
    ),
    "inputs with lags": lambda n: (
        f"cell A(H):\n input {', '.join(f'x{i}' for i in range(n))}: [H]\n output y = " + " + ".join(f"x{i}[t-64]" for i in range(n)) + "\n"
    ),
    # functions
    "doubling": _doubling("v + 1", "{d}({d}(v))"),
    "doubling sums": _doubling("v*v", "{d}(v) + {d}(v + 1)"),
    "doubling tanh": _doubling("tanh(v)", "{d}(v) * {d}(v)"),
    "tenfold": _doubling("v*v", "{d}({d}({d}({d}({d}({d}({d}({d}({d}({d}(v))))))))))"),
    "surrogates": _doubling("v", "heaviside({d}(v)) grad {d}(v)*v"),
    "called in a line": lambda n: "def f(v) = v*v + tanh(v)\n" + _cell([], value="f(" * n + "h[t-1]" + ")" * n),
    "tenfold in line": lambda n: "def f(v) = v*v*v*v*v*v*v*v + 1\n" + _cell([], value="f(" * n + "h[t-1]" + ")" * n),
    # repeats
    "repeat, products": _repeated("v = v*v + tanh(v)"),
    "repeat, two": _repeated("w = v*w", "v = w*v + tanh(w)"),
    "repeat, matrices": _repeated("v = tanh(W @ v)"),
    "repeat, slices": _repeated("v = tanh(R[k] @ v) * w", "w = v + w"),
    "repeat, affine": _repeated("v = a*v + x"),
    "repeat of params": lambda n: _cell(
        ["v = a", f"repeat k in 1..{n}:", " v = v*v + tanh(v) * k", "end"], value="v * h[t-1] + x", declared=" param a: [H]\n"
    ),
    "many repeats": lambda n: _cell(
        ["v = h[t-1]", *(line for _ in range(n) for line in ("repeat k in 1..1000:", " v=v*v+tanh(v)", "end"))], value="v"
    ),
    "many lines in a repeat": lambda n: _cell(
        ["v = h[t-1]", "repeat k in 1..1000:", *(f" v{i}=tanh(v)*v\n v=v{i}*v" for i in range(n)), "end"], value="v"
    ),
    "a repeat of dimensions": lambda n: _cell(
        ["v = h[t-1]", f"repeat k in 1..L^8*{n}:", " v = v*v + tanh(v)", "end"], value="v + x", header="D, H, L"
    ),
    # depth and width of one line
    "brackets": _nested("(", "x", ")"),
    "tanhs": _nested("tanh(", "h[t-1]", ")"),
    "sines and squares": _nested("sin((", "h[t-1]", ")^2)"),
    "minus": _nested("-", "h[t-1]", ""),
    "transposes": lambda n: _cell([], value="W" + ".T" * n + " @ h[t-1]", declared=" param W: [H, H]\n"),
    "powers of powers": _nested("(", "h[t-1]", ")^2"),
    "towers": lambda n: _cell([], value="h[t-1]" + "^9" * n),
    "wheres": _nested("where(x > 0, 1, ", "h[t-1]", ")"),
    "softmaxes of each other": _nested("softmax(", "h[t-1]", ")"),
    "norms of each other": _nested("layernorm(", "h[t-1]", ")"),
    "sum of products": lambda n: _cell([], value="+".join(f"h[t-1]*tanh({i}*h[t-1])" for i in range(n))),
    "product of sums": _joined("*", "(h[t-1]+{i})"),
    "product of sums, powered": lambda n: _cell([], value="(" + "*".join(f"(h[t-1]+{i})" for i in range(n)) + ")^64"),
    "product of tanhs": _joined("*", "tanh(a*h[t-1]+{i})"),
    "product of maxima": _joined("*", "max(h[t-1], {i})"),
    "chain of @": _joined(" @ ", "W"),
    "matrix products": lambda n: _cell([], value="W @ " * n + "h[t-1]", declared=" param W: [H, H]\n"),
    "matrix products of tanh": lambda n: _cell([], value="W @ tanh(" * n + "h[t-1]" + ")" * n, declared=" param W: [H, H]\n"),
    "comparisons": _joined("*", "(h[t-1] > {i})"),
    "concats": lambda n: f"cell A(H):\n input x: [H]\n state h: [{n + 1}*H]\n h[t] = concat(h[t-1], " + ", ".join(["x"] * n) + ")\n output h\n",
    "splits": lambda n: (
        f"cell A(H):\n input x: [{n}*H]\n state h: [H]\n {', '.join(f's{i}' for i in range(n))} = split(x, {n})\n h[t] = h[t-1] + "
        + " * ".join(f"s{i}" for i in range(n)) + "\n output h\n"
    ),
    "outers": lambda n: (
        "cell A(K):\n input x: [K]\n state S: [K, K]\n S[t] = " + " * ".join(["outer(S[t-1] @ x, x)"] * n) + "\n output y = S[t] @ x\n"
    ),
    # numbers and sizes
    "huge powers": lambda n: _cell([], value="h[t-1] * 10^10^10^" + "9" * n),
    "powers of ten": lambda n: _cell([], value="h[t-1]^" + "9" * min(n, 400)),
    "integer powers": lambda n: _cell([], value=f"(2*h[t-1])^{10 ** min(n, 8)} + 3^{10 ** min(n, 8)} * h[t-1]"),
    "rational powers": lambda n: _cell([], value=f"(h[t-1] + 1)^(1/{10 ** min(n, 9)} + {10 ** min(n, 7)})"),
    "folded powers": lambda n: _cell([], value="h[t-1] * " + " * ".join(f"7^{10 ** 7 + i}" for i in range(n))),
    "exps of numbers": lambda n: _cell([], value="h[t-1] * " + "exp(" * n + "9" + ")" * n),
    "floats": lambda n: _cell([], value="h[t-1] * 1e999 * 1e-999 * 0." + "0" * n + "1"),
    "digits": lambda n: _cell([], value="h[t-1] * " + "9" * n),
    "power of a sum": lambda n: _cell([], value=f"(h[t-1] + x + 1)^{n}"),
    "sizes": lambda n: f"cell A(H):\n input x: [{'9' * n}*H]\n output x\n",
    "sizes multiplied": lambda n: f"cell A({', '.join(f'D{i}' for i in range(n))}):\n input x: [{'*'.join(f'(D{i}+1)' for i in range(n))}]\n output x\n",
    "sizes divided": lambda n: (
        f"cell A({', '.join(f'D{i}' for i in range(n))}):\n input x: [{'+'.join(f'1/D{i}' for i in range(n))}]\n output x\n"
    ),
    "sizes to the eighth": lambda n: "cell A(D):\n input x: [" + "(" * n + "D" + ")^8" * n + "]\n output x\n",
    "a lag": lambda n: _cell([], value=f"h[t-{'9' * n}]"),
    "long repeats": lambda n: _cell(["v = h[t-1]", f"repeat k in 1..{'9' * min(n, 400)}:", " v = tanh(v)", "end"], value="v"),
    "long repeats from afar": lambda n: _cell(
        ["v = h[t-1]", f"repeat k in {10 ** min(n, 15)}..{10 ** min(n, 15) + 999}:", " v = tanh(v) * k", "end"], value="v"
    ),
    "a default": lambda n: _cell([], value="h[t-1] * r + x", header=f"D, H, r = {'9' * n}"),
    "a default power": lambda n: _cell([], value="h[t-1] * r + x", header="D, H, r = 9" + "^9" * n),
    # names and counts
    "a long name": lambda n: f"cell A(H):\n input x: [H]\n state {'h' * n}: [H]\n {'h' * n}[t] = x\n output {'h' * n}\n",
    "params": lambda n: _cell([], declared=f" param {', '.join(f'p{i}' for i in range(n))}: [H]\n"),
    "cells": lambda n: "".join(f"cell A{i}(H):\n input x: [H]\n state h: [H]\n h[t]=tanh(h[t-1]+x)\n output h\n" for i in range(n)),
    "outputs": lambda n: f"cell A(H):\n input x: [H]\n state h: [H]\n h[t] = tanh(h[t-1])\n output {', '.join(f'o{i}=h[t]' for i in range(n))}\n",
    "outputs of each other": lambda n: (
        "cell A(H):\n input x: [H]\n state h: [H]\n h[t] = tanh(h[t-1] + x)\n u0 = h[t]\n"
        + "".join(f" u{i} = u{i - 1}*u{i - 1} + tanh(u{i - 1})\n" for i in range(1, n)) + f" output u{n - 1}\n"
    ),
    "sizes in a header": lambda n: f"cell A({', '.join(f'D{i}' for i in range(n))}):\n input x: [D0]\n output x\n",
    "consts of consts": lambda n: _cell(
        [], value="h[t-1] * c0", declared="".join(f" const c{i}: [] = c{i + 1}*c{i + 1}\n" for i in range(n)) + f" const c{n}: [] = 2\n"
    ),
    "initial values": lambda n: (
        f"cell A(H):\n input x: [H]\n state h: [H] = {'tanh(' * n}a*a{')' * n}\n param a: [H]\n h[t] = h[t-1] + x\n output h\n"
    ),
}  # fmt: skip


def largest(family: Family, bytes_: int = LIMIT) -> str:
    """The largest program of a family that has fewer bytes than the limit."""
    low, high = 1, bytes_
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(family(middle).encode()) < bytes_ else (low, middle - 1)
    return family(low)
