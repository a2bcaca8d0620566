"""What a generated module imports: needs torch, never lark, sympy or jinja2."""

from rnndsl.runtime import cpu as _cpu  # noqa: F401, registers itself
from rnndsl.runtime.dtypes import complex_of
from rnndsl.runtime.kernels import Kernel, Kernels, Step, TritonKernels
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.ops import (
    cast_complex,
    clock,
    draw_noise,
    expand_own,
    expand_to,
    fill,
    floor,
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
    sign,
    softplus,
    surrogate,
    vecmat,
)
from rnndsl.runtime.sizes import Size, divide
from rnndsl.runtime.triton import backend as _triton  # noqa: F401, registers itself
from rnndsl.scalars import Scalars

__all__ = [
    "Kernel", "Kernels", "Layer", "Scalars", "Size", "Step", "TritonKernels", "cast_complex", "clock", "complex_of", "divide", "draw_noise", "expand_own",
    "expand_to", "fill", "floor", "heaviside", "imag", "join_vectors", "lagged", "last", "layernorm", "logaddexp", "matvec", "mod", "normalize", "rmsnorm",
    "scalar", "select", "sign", "softplus", "surrogate", "vecmat",
]  # fmt: skip
