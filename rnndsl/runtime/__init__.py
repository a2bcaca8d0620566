"""What a generated module imports: needs torch, never lark, sympy or jinja2."""

from importlib import import_module

from rnndsl.backends import TABLE
from rnndsl.runtime.backend import register
from rnndsl.runtime.call import Call
from rnndsl.runtime.cpu.products import biased_product
from rnndsl.runtime.dtypes import complex_of
from rnndsl.runtime.kernels import bind_kernels
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
    nearest,
    normalize,
    once,
    rmsnorm,
    scalar,
    select,
    sign,
    softplus,
    surrogate,
    vecmat,
)
from rnndsl.runtime.program import bind_program
from rnndsl.runtime.sizes import Size, divide
from rnndsl.scalars import Scalars

__all__ = [
    "Call", "Layer", "Scalars", "Size", "biased_product", "bind_kernels", "bind_program", "cast_complex", "clock", "complex_of", "divide", "draw_noise", "expand_own",
    "expand_to", "fill", "floor", "heaviside", "imag", "join_vectors", "lagged", "last", "layernorm", "logaddexp", "matvec", "mod", "nearest", "normalize", "once", "rmsnorm",
    "scalar", "select", "sign", "softplus", "surrogate", "vecmat",
]  # fmt: skip

for entry in TABLE:
    register(import_module(entry.runtime).BACKEND)
