"""Parts of complex values."""

import math

from rnndsl.functions import ranges
from rnndsl.functions.row import Function
from rnndsl.scalars import Scalars

ONE = (0, 1)  # a cost: one special function

ROWS = (
    Function(
        "re", means="real part", domain="to-real",
        interval=ranges.same, linear=True, cost=(0, 0),
        number=float, torch="torch.real({0})", latex=r"\operatorname{Re}",
    ),
    Function(
        "im", means="imaginary part", domain="to-real",
        rising=True, linear=True, cost=(0, 0),
        number=lambda v: 0.0, torch="ops.imag({0})", latex=r"\operatorname{Im}",
    ),
    Function(
        "angle", means="argument of a complex value, from -pi to pi; of a real one pi where it is below 0, else 0", domain="to-real",
        formula="where(v < 0, pi, 0)", interval=ranges.between(-math.pi, math.pi), cost=ONE,
        number=Scalars.angle_of_real, torch="torch.angle({0})", latex=r"\arg",
    ),
    Function(
        "conj", means="complex conjugate", domain="any",
        interval=ranges.same, linear=True, cost=(0, 0),
        number=float, torch="torch.conj({0})",
    ),
)  # fmt: skip
