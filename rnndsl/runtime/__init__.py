"""What a generated module imports: needs torch, never lark, sympy or jinja2."""

from rnndsl.runtime import cpu as _cpu  # noqa: F401, registers its ops and itself
from rnndsl.runtime.kernels import Kernel, Kernels, Step
from rnndsl.runtime.layer import Layer, Size, divide
from rnndsl.runtime.ops import (
    cast_complex,
    clock,
    complex_of,
    draw_noise,
    expand_to,
    fill,
    heaviside,
    imag,
    join_vectors,
    lagged,
    last,
    layernorm,
    logaddexp,
    matvec,
    mod,
    normalize,
    rmsnorm,
    scalar,
    select,
    softplus,
    surrogate,
    vecmat,
)

__all__ = [
    "Kernel", "Kernels", "Layer", "Size", "Step", "cast_complex", "clock", "complex_of", "divide", "draw_noise", "expand_to", "fill", "heaviside", "imag", "join_vectors",
    "lagged", "last", "layernorm", "logaddexp", "matvec", "mod", "normalize", "rmsnorm", "scalar", "select", "softplus", "surrogate",
    "vecmat",
]  # fmt: skip
