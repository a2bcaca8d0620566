"""Derives the polynomial coefficients of rnndsl/runtime/cpp/lanes.h and prints them with their largest errors.

Each function there is evaluated as  exact part + factor(x) * p(v(x)),  with p a polynomial of a given degree. The
coefficients of p are those that make the largest error relative to the function as small as possible on the interval
left by the range reduction: Remez' exchange, in 60 digits. Rounding them to the dtype changes little, since the exact
part carries the leading terms.

    python benchmarks/coefficients.py
"""

from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np

mp.mp.dps = 60
Function = Callable[[mp.mpf], mp.mpf]


@dataclass
class Form:
    """function(x) = exact(x) + factor(x) * p(variable(x)) on [low, high]; degree of p by dtype."""

    name: str
    function: Function
    exact: Function
    factor: Function
    variable: Function
    low: mp.mpf
    high: mp.mpf
    degree: dict[type, int]


LN2, PI, ROOT2 = mp.log(2), mp.pi, mp.sqrt(2)
NEAR_ZERO = mp.mpf("1e-12")


def plain_log1p(low: mp.mpf, high: mp.mpf, degree: int) -> Form:
    return Form("log1p(f) = f + f^2 p(f)", mp.log1p, lambda f: f, lambda f: f**2, lambda f: f,
                low, high, {np.float32: degree})


def log1p_by_atanh(high: mp.mpf, degree: int) -> Form:
    return Form("log1p(f) = 2s + s^3 p(s^2), s = f / (2 + f)", lambda s: 2 * mp.atanh(s), lambda s: 2 * s,
                lambda s: s**3, lambda s: s**2, NEAR_ZERO, high / (2 + high), {np.float64: degree})


FORMS = [
    Form("expm1(r) = r + r^2 p(r)", mp.expm1, lambda r: r, lambda r: r**2, lambda r: r,
         -LN2 / 2, LN2 / 2, {np.float32: 4, np.float64: 9}),
    Form("r coth(r / 2) = 2 + r^2 p(r^2)", lambda r: r * mp.coth(r / 2), lambda r: mp.mpf(2), lambda r: r**2,
         lambda r: r**2, NEAR_ZERO, LN2 / 2, {np.float32: 1, np.float64: 4}),
    plain_log1p(1 / ROOT2 - 1, ROOT2 - 1, 7),
    log1p_by_atanh(ROOT2 - 1, 6),
    plain_log1p(NEAR_ZERO, mp.mpf(1), 7),
    log1p_by_atanh(mp.mpf(1), 8),
    Form("sin(r) = r + r^3 p(r^2)", mp.sin, lambda r: r, lambda r: r**3, lambda r: r**2,
         NEAR_ZERO, PI / 4, {np.float32: 2, np.float64: 5}),
    Form("cos(r) = 1 - r^2/2 + r^4 p(r^2)", mp.cos, lambda r: 1 - r**2 / 2, lambda r: r**4, lambda r: r**2,
         NEAR_ZERO, PI / 4, {np.float32: 2, np.float64: 5}),
]


def remez(form: Form, degree: int, steps: int = 12, grid: int = 600) -> list[mp.mpf]:
    """The coefficients, lowest power first, whose relative error has degree + 2 alternating equal extremes."""
    count = degree + 2
    middle, half = (form.low + form.high) / 2, (form.high - form.low) / 2
    spread = [middle - half * mp.cos(PI * k / (grid - 1)) for k in range(grid)]
    spread = [x for x in spread if x != 0]
    points = [middle - half * mp.cos(PI * k / (count - 1)) for k in range(count)]
    points = [x if x != 0 else half / 100 for x in points]
    for _ in range(steps):
        system, wanted = mp.matrix(count), mp.matrix(count, 1)
        for row, x in enumerate(points):
            for power in range(degree + 1):
                system[row, power] = form.factor(x) / form.function(x) * form.variable(x) ** power
            system[row, degree + 1] = (-1) ** row * direction(form, x)
            wanted[row] = (form.function(x) - form.exact(x)) / form.function(x)
        coefficients = list(mp.lu_solve(system, wanted))[: degree + 1]
        errors = [(x, direction(form, x) * relative_error(form, coefficients, x)) for x in spread]
        points = alternating_extremes(errors, count)
    return coefficients


def direction(form: Form, x: mp.mpf) -> mp.mpf:
    """The sign with which p enters the relative error: where it changes, the alternation does too."""
    return mp.sign(form.factor(x) / form.function(x))


def alternating_extremes(errors: list[tuple[mp.mpf, mp.mpf]], count: int) -> list[mp.mpf]:
    """The largest error of each run of one sign; of too many runs, the neighbours with the larger errors."""
    runs: list[tuple[mp.mpf, mp.mpf]] = []
    for x, error in errors:
        if not runs or (error > 0) != (runs[-1][1] > 0):
            runs.append((x, error))
        elif abs(error) > abs(runs[-1][1]):
            runs[-1] = (x, error)
    while len(runs) > count:
        runs.pop(0 if abs(runs[0][1]) < abs(runs[-1][1]) else -1)
    if len(runs) < count:
        raise ValueError(f"{len(runs)} alternations instead of {count}: a wider grid or other points are needed")
    return [x for x, _ in runs]


def relative_error(form: Form, coefficients: list[mp.mpf], x: mp.mpf) -> mp.mpf:
    value = form.exact(x) + form.factor(x) * mp.polyval(coefficients[::-1], form.variable(x))
    return value / form.function(x) - 1


def main() -> None:
    for form in FORMS:
        print(f"{form.name}, to {mp.nstr(form.high, 5)}")
        for dtype, degree in form.degree.items():
            rounded = [dtype(mp.nstr(c, 30)) for c in remez(form, degree)]
            width = form.high - form.low
            points = [form.low + width * k / 2000 for k in range(2001)]
            error = max(abs(relative_error(form, [mp.mpf(float(c)) for c in rounded], x)) for x in points if x != 0)
            print(f"  {dtype.__name__}, largest relative error {float(error):.1e}:")
            print("   ", ", ".join(str(c) for c in rounded))


if __name__ == "__main__":
    main()
