"""What people write for a function of another name, and what to write."""

SYNONYMS: dict[str, str] = {
    "σ": "sigmoid", "sigma": "sigmoid", "logistic": "sigmoid", "ln": "log", "log1p": "log(1 + x)", "expm1": "exp(x) - 1",
    "swish": "silu", "maximum": "max", "minimum": "min", "cat": "concat", "stack": "concat", "concatenate": "concat",
    "matmul": "a @ b", "mm": "a @ b", "bmm": "a @ b", "einsum": "a @ b", "transpose": "A.T", "real": "re", "imag": "im", "sgn": "sign",
    "step": "heaviside",
    "square": "x^2", "pow": "x^y", "power": "x^y", "tan": "sin(x) / cos(x)", "arctan": "tanh", "chunk": "split",
    "zeros": "0", "identity": "eye", "clamp": "min(max(x, lo), hi)", "clip": "min(max(x, lo), hi)",
    "l2norm": "norm", "layer_norm": "layernorm", "rms_norm": "rmsnorm", "LayerNorm": "layernorm", "RMSNorm": "rmsnorm",
    "hardtanh": "min(max(x, -1), 1)", "leaky_relu": "max(x, 0.01 * x)", "kron": "outer",
}  # fmt: skip


def nearest_builtin_hint(name: str) -> str | None:
    """What to write instead of a function that does not exist, if people are known to try it."""
    return f"write `{SYNONYMS[name]}`" if name in SYNONYMS else None
