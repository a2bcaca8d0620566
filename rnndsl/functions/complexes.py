"""Parts of complex values."""

from rnndsl.functions import ranges
from rnndsl.functions.row import Function

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
        "conj", means="complex conjugate", domain="any",
        interval=ranges.same, linear=True, cost=(0, 0),
        number=float, torch="torch.conj({0})",
    ),
)  # fmt: skip
