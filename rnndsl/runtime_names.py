"""The names that a generated module may import from rnndsl.runtime; a test holds them against the modules."""

RUNTIME_NAMES = frozenset("""
Call Layer Scalars Size bind_kernels bind_program biased_product cast_complex clock complex_of divide draw_noise expand_own expand_to fill floor heaviside imag lagged last layernorm
logaddexp matvec mod nearest normalize once join_vectors rmsnorm scalar select sign softplus surrogate vecmat
""".split())
