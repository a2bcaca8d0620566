"""Functions that are made of others."""

from rnndsl.functions import ranges
from rnndsl.functions.row import Function
from rnndsl.scalars import Scalars

_GATE = "tanh(sqrt(2 / pi) * (v + 0.044715 * v^3))"

ROWS = (
    Function(
        "silu", means="v * sigmoid(v)", slopes=("sigmoid(v) + silu(v) * (1 - sigmoid(v))",), interval=ranges.gated(-0.279), cost=(1, 1),
        number=Scalars.silu, torch="F.silu({0})",
    ),
    Function(
        "gelu", means="Gaussian error linear unit, in its tanh form",
        slopes=(f"(1 + {_GATE}) / 2 + v * (1 - {_GATE}^2) / 2 * sqrt(2 / pi) * (1 + 3 * 0.044715 * v^2)",),
        interval=ranges.gated(-0.279), cost=(8, 1),
        number=Scalars.gelu, torch='F.gelu({0}, approximate="tanh")',
    ),
    Function(
        "elu", means="v where v > 0, else exp(v) - 1", slopes=("where(v <= 0, exp(v), 1)",), rising=True, cost=(2, 1),
        number=Scalars.elu, torch="F.elu({0})", triton="elu",
    ),
    Function(
        "mod", "a, b", "a - b * floor(a / b)", hint="it reads `mod(a, b)`", slopes=("1", "-floor(a / b)"),
        interval=ranges.remainder, cost=(3, 0),
        number=Scalars.mod, torch="ops.mod({0}, {1})",
    ),
    Function(
        "normalize", means="a vector to one of length 1: v / sqrt(v·v + 1e-12)", shape="along", domain="any",
        interval=ranges.between(-1.0, 1.0), cost=(3, 0), roots=1, torch="ops.normalize({0})",
    ),
    Function(
        "layernorm", means="a vector with mean 0 and variance 1 (eps 1e-5), without weights of its own", shape="along",
        cost=(7, 0), roots=1, torch="ops.layernorm({0})",
    ),
    Function(
        "rmsnorm", means="a vector over its root mean square (eps 1e-5), without weights of its own", shape="along",
        cost=(3, 0), roots=1, torch="ops.rmsnorm({0})",
    ),
)  # fmt: skip
