"""What people write for a function of another name, and what to write."""

SYNONYMS: dict[str, str] = {
    "σ": "sigmoid", "sigma": "sigmoid", "logistic": "sigmoid", "ln": "log",
    "swish": "silu", "maximum": "max", "minimum": "min", "cat": "concat", "stack": "concat", "concatenate": "concat",
    "matmul": "a @ b", "mm": "a @ b", "bmm": "a @ b", "einsum": "a @ b", "transpose": "A.T", "real": "re", "imag": "im", "sgn": "sign",
    "step": "heaviside",
    "square": "x^2", "pow": "x^y", "power": "x^y", "tan": "sin(x) / cos(x)", "arctan": "atan", "chunk": "split",
    "zeros": "0", "identity": "eye", "clip": "clamp",
    "l2norm": "norm", "layer_norm": "layernorm", "rms_norm": "rmsnorm", "LayerNorm": "layernorm", "RMSNorm": "rmsnorm",
    "kron": "outer", "arg": "angle", "phase": "angle", "detach": "stop_gradient", "stop_grad": "stop_gradient", "rint": "round",
    "not": "1 - x", "and": "x * y", "or": "max(x, y)", "xor": "x != y", "if": "where(c, x, y)", "ifelse": "where(c, x, y)",
    "relu6": "clamp(x, 0, 6)", "hard_sigmoid": "hardsigmoid", "hard_tanh": "hardtanh", "leakyrelu": "leaky_relu",
}  # fmt: skip


def nearest_builtin_hint(name: str) -> str | None:
    """What to write instead of a function that does not exist, if people are known to try it."""
    return f"write `{SYNONYMS[name]}`" if name in SYNONYMS else None
