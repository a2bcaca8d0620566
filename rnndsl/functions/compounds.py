"""What is known of functions of the prelude beyond their definitions."""

from rnndsl.functions import ranges
from rnndsl.functions.row import Function

ROWS = (
    Function("silu", interval=ranges.gated(-0.279), torch="F.silu({0})"),
    Function(
        "gelu", means="Gaussian error linear unit, in its tanh form", interval=ranges.gated(-0.171),
        torch='F.gelu({0}, approximate="tanh")',
    ),
    # PyTorch's own gelu is NaN at infinity, and the slope of its hardsigmoid is 1/6 in float32: these are written out.
    Function("gelu_exact", means="v times the normal distribution function: v * (1 + erf(v / sqrt(2))) / 2", interval=ranges.gated(-0.17)),
    Function("mish", interval=ranges.gated(-0.309), torch="F.mish({0})"),
    Function("selu", means="elu with the scales of Klambauer et al. 2017", rising=True, torch="F.selu({0})"),
    Function("hardtanh", means="clamp(v, -1, 1), with slope 0 at both ends", rising=True, torch="F.hardtanh({0})"),
    Function("hardsigmoid", means="v / 6 + 1/2 between 0 and 1, with slope 0 at both ends", rising=True),
    Function("leaky_relu", means="v where v > 0, else slope * v", hint="it reads `leaky_relu(v, slope)`"),
    Function("stop_gradient", means="v, through which no gradient flows backwards; Newton's method keeps the true derivative", interval=ranges.same, torch="{0}.detach()"),
    Function("elu", means="v where v > 0, else exp(v) - 1", rising=True, torch="F.elu({0})"),
    Function("mod", hint="it reads `mod(a, b)`", interval=ranges.remainder, torch="ops.mod({0}, {1})"),
    Function(
        "normalize", means="a vector to one of length 1: v / sqrt(v·v + 1e-12)", shape="along", domain="any",
        interval=ranges.between(-1.0, 1.0), torch="ops.normalize({0})",
    ),
    Function(
        "rmsnorm", means="a vector over its root mean square (eps 1e-5), without weights of its own", shape="along",
        torch="ops.rmsnorm({0})",
    ),
    Function(
        "layernorm", means="a vector with mean 0 and variance 1 (eps 1e-5), without weights of its own", shape="along",
        torch="ops.layernorm({0})",
    ),
)  # fmt: skip
