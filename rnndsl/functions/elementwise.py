"""Functions of the entries of one value."""

from rnndsl.functions import ranges
from rnndsl.functions.row import Function
from rnndsl.scalars import Scalars

ONE = (0, 1)  # a cost: one special function

ROWS = (
    Function(
        "tanh", means="hyperbolic tangent", domain="any",
        formula="sympy.tanh", rising=True, cost=ONE,
        number=Scalars.tanh, torch="torch.tanh({0})", triton="tanh", latex=r"\tanh",
    ),
    Function(
        "sigmoid", means="1 / (1 + exp(-v))", domain="any",
        slopes=("sigmoid(v) * (1 - sigmoid(v))",), rising=True, cost=ONE,
        number=Scalars.sigmoid, torch="torch.sigmoid({0})", triton="sigmoid", latex=r"\sigma",
    ),
    Function(
        "relu", means="max(v, 0)",
        slopes=("where(v <= 0, 0, 1)",), rising=True, kinks=True,
        number=Scalars.relu, torch="torch.relu({0})", triton="relu",
    ),
    Function(
        "exp", means="exponential", domain="any",
        formula="sympy.exp", rising=True, cost=ONE,
        number=Scalars.exp, torch="torch.exp({0})", triton="tl.exp", latex=r"\exp",
    ),
    Function(
        "log", means="natural logarithm", domain="any",
        formula="sympy.log", interval=ranges.from_the(0.0, Scalars.log), cost=ONE,
        number=Scalars.log, torch="torch.log({0})", triton="tl.log", latex=r"\log",
    ),
    Function(
        "sqrt", means="square root", domain="any",
        formula="sympy.sqrt", interval=ranges.from_the(0.0, Scalars.sqrt), cost=ONE,
        number=Scalars.sqrt, torch="torch.sqrt({0})", triton="tl.sqrt",
    ),
    Function(
        "rsqrt", means="1 / sqrt(v)", domain="any",
        formula="1 / sqrt(v)", interval=ranges.falling(Scalars.rsqrt), cost=ONE,
        number=Scalars.rsqrt, torch="torch.rsqrt({0})", triton="tl.rsqrt",
    ),
    Function(
        "expm1", means="exp(v) - 1, right to the last digits near 0",
        slopes=("exp(v)",), rising=True, cost=ONE,
        number=Scalars.expm1, torch="torch.expm1({0})", triton="expm1",
    ),
    Function(
        "log1p", means="log(1 + v), right to the last digits near 0",
        slopes=("1 / (1 + v)",), interval=ranges.from_the(-1.0, Scalars.log1p), cost=ONE,
        number=Scalars.log1p, torch="torch.log1p({0})", triton="log1p",
    ),
    Function(
        "erf", means="error function: 2 / sqrt(pi) times the integral of exp(-u^2) from 0 to v",
        formula="sympy.erf", rising=True, cost=ONE,
        number=Scalars.erf, torch="torch.erf({0})", triton="tl.erf",
    ),
    Function(
        "abs", means="absolute value; real also of a complex value", domain="to-real",
        formula="absolute", slopes=("sign(v)",), interval=ranges.absolute, kinks=True,
        number=abs, torch="torch.abs({0})", triton="tl.abs",
    ),
    Function(
        "sign", means="-1, 0 or 1",
        slopes=("0",), rising=True,
        number=Scalars.sign, torch="ops.sign({0})", triton="sign",
    ),
    Function(
        "softplus", means="log(1 + exp(v))",
        slopes=("sigmoid(v)",), rising=True, cost=(2, 2),
        number=Scalars.softplus, torch="ops.softplus({0})", triton="softplus",
    ),
    Function(
        "logsigmoid", means="log(sigmoid(v))",
        slopes=("sigmoid(-v)",), rising=True, cost=(2, 2),
        number=Scalars.logsigmoid, torch="F.logsigmoid({0})", triton="logsigmoid",
    ),
    Function(
        "sin", means="sine", domain="any",
        formula="sympy.sin", interval=ranges.between(-1.0, 1.0), cost=ONE,
        number=Scalars.sin, torch="torch.sin({0})", triton="tl.sin", latex=r"\sin",
    ),
    Function(
        "cos", means="cosine", domain="any",
        formula="sympy.cos", interval=ranges.between(-1.0, 1.0), cost=ONE,
        number=Scalars.cos, torch="torch.cos({0})", triton="tl.cos", latex=r"\cos",
    ),
    Function(
        "sinh", means="hyperbolic sine", domain="any",
        formula="sympy.sinh", rising=True, cost=(3, 2),
        number=Scalars.sinh, torch="torch.sinh({0})", triton="sinh", latex=r"\sinh",
    ),
    Function(
        "cosh", means="hyperbolic cosine", domain="any",
        formula="sympy.cosh", interval=ranges.even(Scalars.cosh), cost=(4, 1),
        number=Scalars.cosh, torch="torch.cosh({0})", triton="cosh", latex=r"\cosh",
    ),
    Function(
        "atan", means="arcus tangent, between -pi/2 and pi/2",
        formula="sympy.atan", rising=True, cost=ONE,
        number=Scalars.atan, torch="torch.atan({0})", triton="atan", latex=r"\arctan",
    ),
    Function(
        "floor", means="the largest whole number that is not above v",
        slopes=("0",), rising=True,
        number=Scalars.floor, torch="ops.floor({0})", triton="tl.floor",
    ),
    Function(
        "round", means="the nearest whole number, of two the even one",
        slopes=("0",), rising=True,
        number=Scalars.round, torch="ops.nearest({0})", node="nearest", triton="nearest",
    ),
    Function(
        "heaviside", means="1 where v > 0, else 0",
        slopes=("0",), rising=True,
        number=Scalars.heaviside, torch="ops.heaviside({0})", triton="heaviside",
    ),
)  # fmt: skip
