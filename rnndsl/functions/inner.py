"""What kernels compute besides the functions of the language: what they are made of, and parts of functions of complex values."""

from rnndsl.functions.row import Function
from rnndsl.scalars import Scalars

_TWO, _FOUR = "a, b", "a, b, c, d"

ROWS = (
    Function("root", formula="root", number=Scalars.sqrt, cost=(0, 1), cpp="sqrt", triton="tl.sqrt"),  # its derivative at 0 is 0
    Function("modulus", _TWO, number=Scalars.modulus, triton="modulus"),
    Function("angle", _TWO, number=Scalars.angle, triton="angle"),
    Function("log_modulus", _TWO, number=Scalars.log_modulus, triton="log_modulus"),
    Function("quotient_re", _FOUR, number=Scalars.quotient_re, triton="quotient_re"),
    Function("quotient_im", _FOUR, number=Scalars.quotient_im, triton="quotient_im"),
    Function("root_re", _TWO, number=Scalars.root_re, triton="root_re"),
    Function("root_im", _TWO, number=Scalars.root_im, triton="root_im"),
    Function("exp_re", _TWO, number=Scalars.exp_re, triton="exp_re"),
    Function("exp_im", _TWO, number=Scalars.exp_im, triton="exp_im"),
    Function("power_re", _FOUR, number=Scalars.power_re, triton="power_re"),
    Function("power_im", _FOUR, number=Scalars.power_im, triton="power_im"),
    Function("surrogate", "argument, value, slope", number=lambda argument, value, slope: value, cpp="{1}", triton="{1}"),
)
