"""THE table of built-in functions: arity, shape rule, domain, and how PyTorch computes each.

A new function is one row. Shape rules get the argument types and return the result's; they raise `Mismatch`, which names
the argument at fault.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rnndsl.checks.cell import SCALAR, Type


class Mismatch(Exception):
    """Argument `index` has a shape that the function cannot take, by itself or beside argument `against`."""

    def __init__(
        self, index: int, label: str = "", hint: str | None = None, *, against: int | None = None, title: str | None = None
    ):
        super().__init__(label)
        self.index, self.label, self.hint, self.against, self.title = index, label, hint, against, title


Rule = Callable[[Sequence[Type]], Type]
_KIND = ("a scalar", "a vector", "a matrix")


def kind(t: Type) -> str:
    """`a vector [H]`."""
    word = _KIND[t.rank] if t.rank < len(_KIND) else "a tensor"
    return f"{word} {t}"


def join_heads(types: Sequence[Type]) -> tuple:
    """The head axes of a result: those of any argument that has some; a value without head axes broadcasts."""
    heads: tuple = ()
    first = 0
    for i, t in enumerate(types):
        if t.heads and heads and t.heads != heads:
            raise Mismatch(i, hint="values with head axes must have the same ones", against=first)
        if t.heads and not heads:
            heads, first = t.heads, i
    return heads


def elementwise(types: Sequence[Type]) -> Type:
    """Equal shapes, or a scalar with anything."""
    heads = join_heads(types)
    axes: tuple = ()
    first = 0
    for i, t in enumerate(types):
        if t.axes and axes and t.axes != axes:
            raise Mismatch(i, against=first)
        if t.axes and not axes:
            axes, first = t.axes, i
    return Type(heads, axes, any(t.is_complex for t in types))


def _vector(t: Type, i: int = 0) -> None:
    if t.rank != 1:
        raise Mismatch(i, f"this is {kind(t)}, a vector is needed")


def along(types: Sequence[Type]) -> Type:
    """A vector to a vector."""
    _vector(types[0])
    return types[0]


def reducing(types: Sequence[Type]) -> Type:
    """A vector to a scalar."""
    _vector(types[0])
    return replace(types[0], axes=())


def inner(types: Sequence[Type]) -> Type:
    """Two vectors of one length to a scalar."""
    for i, t in enumerate(types):
        _vector(t, i)
    if types[0].axes != types[1].axes:
        raise Mismatch(1, against=0)
    return replace(elementwise(types), axes=())


def outer(types: Sequence[Type]) -> Type:
    """Two vectors to a matrix."""
    for i, t in enumerate(types):
        _vector(t, i)
    return Type(join_heads(types), types[0].axes + types[1].axes, any(t.is_complex for t in types))


def diagonal(types: Sequence[Type]) -> Type:
    """A vector to a square matrix."""
    _vector(types[0])
    return replace(types[0], axes=types[0].axes * 2)


def merging(types: Sequence[Type]) -> Type:
    """[N; K] to [N*K]: the head axes become part of the vector."""
    t = types[0]
    if not t.heads:
        hint = "it makes [N*K] of [N; K]; other vectors are joined by concat(u, v)"
        raise Mismatch(0, f"this is {kind(t)}, which has none", hint, title="`merge` joins head axes")
    if t.rank > 1:
        raise Mismatch(0, f"this is {kind(t)}, a vector or a scalar a head is needed")
    size = t.axes[0] if t.axes else None
    for h in t.heads:
        size = h if size is None else h * size
    assert size is not None
    return Type((), (size,), t.is_complex)


def concatenating(types: Sequence[Type]) -> Type:
    """Vectors end to end."""
    for i, t in enumerate(types):
        if t.rank == 0:
            raise Mismatch(i, f"this is {kind(t)}, a vector is needed", "a scalar becomes a vector of one as `s * ones(1)`")
        _vector(t, i)
    size = types[0].axes[0]
    for t in types[1:]:
        size = size + t.axes[0]
    return Type(join_heads(types), (size,), any(t.is_complex for t in types))


def square(types: Sequence[Type]) -> Type:
    """A square matrix to one of the same size."""
    t = types[0]
    if t.rank != 2 or t.axes[0] != t.axes[1]:
        raise Mismatch(0, f"this is {kind(t)}, a square matrix is needed", title="`expm` takes a square matrix")
    return t


def matmul(types: Sequence[Type]) -> Type:
    """matrix·vector, vector·matrix, matrix·matrix, vector·vector."""
    a, b = types
    for i, t in enumerate(types):
        if t.rank == 0:
            raise Mismatch(i, f"this is {kind(t)}", "a product with a scalar is written `*`")
    if a.axes[-1] != b.axes[0]:
        raise Mismatch(1, against=0)
    return Type(join_heads(types), a.axes[:-1] + b.axes[1:], a.is_complex or b.is_complex)


@dataclass(frozen=True)
class Builtin:
    """One function. `torch` is a format of the printed arguments.

    domain: "real" refuses complex arguments, "any" keeps them complex, "to-real" gives a real result.
    """

    name: str
    arity: tuple[int, int | None]
    rule: Rule | None  # None: typed by the checker, since it takes sizes
    torch: str
    domain: str = "any"
    param_only: bool = False


def _rows(*rows: tuple) -> dict[str, Builtin]:
    return {r[0]: Builtin(*r) for r in rows}


_1, _2, _3 = (1, 1), (2, 2), (3, 3)

BUILTINS: dict[str, Builtin] = _rows(
    # elementwise
    ("tanh", _1, elementwise, "torch.tanh({0})"),
    ("sigmoid", _1, elementwise, "torch.sigmoid({0})"),
    ("relu", _1, elementwise, "torch.relu({0})", "real"),
    ("exp", _1, elementwise, "torch.exp({0})"),
    ("log", _1, elementwise, "torch.log({0})"),
    ("sqrt", _1, elementwise, "torch.sqrt({0})"),
    ("abs", _1, elementwise, "torch.abs({0})", "to-real"),
    ("sign", _1, elementwise, "ops.sign({0})", "real"),
    ("softplus", _1, elementwise, "ops.softplus({0})", "real"),
    ("logsigmoid", _1, elementwise, "F.logsigmoid({0})", "real"),
    ("silu", _1, elementwise, "F.silu({0})", "real"),
    ("gelu", _1, elementwise, 'F.gelu({0}, approximate="tanh")', "real"),
    ("elu", _1, elementwise, "F.elu({0})", "real"),
    ("sin", _1, elementwise, "torch.sin({0})"),
    ("cos", _1, elementwise, "torch.cos({0})"),
    ("floor", _1, elementwise, "ops.floor({0})", "real"),
    ("heaviside", _1, elementwise, "ops.heaviside({0})", "real"),
    ("re", _1, elementwise, "torch.real({0})", "to-real"),
    ("im", _1, elementwise, "ops.imag({0})", "to-real"),
    ("conj", _1, elementwise, "torch.conj({0})"),
    # of two and three
    ("max", _2, elementwise, "torch.maximum({0}, {1})", "real"),
    ("min", _2, elementwise, "torch.minimum({0}, {1})", "real"),
    ("logaddexp", _2, elementwise, "ops.logaddexp({0}, {1})", "real"),
    ("mod", _2, elementwise, "ops.mod({0}, {1})", "real"),
    ("where", _3, elementwise, "torch.where(({0}) != 0, {1}, {2})"),
    # along a vector
    ("softmax", _1, along, "torch.softmax({0}, -1)", "real"),
    ("cumsum", _1, along, "torch.cumsum({0}, -1)"),
    ("normalize", _1, along, "ops.normalize({0})"),
    ("layernorm", _1, along, "ops.layernorm({0})", "real"),
    ("rmsnorm", _1, along, "ops.rmsnorm({0})", "real"),
    # reducing a vector
    ("sum", _1, reducing, "torch.sum({0}, -1)"),
    ("mean", _1, reducing, "torch.mean({0}, -1)"),
    ("norm", _1, reducing, "torch.linalg.vector_norm({0}, dim=-1)", "to-real"),
    ("dot", _2, inner, "torch.sum({0} * {1}, -1)"),
    # shape
    ("outer", _2, outer, "({0}).unsqueeze(-1) * ({1}).unsqueeze(-2)"),
    ("diag", _1, diagonal, "torch.diag_embed({0})"),
    ("merge", _1, merging, "({0}).flatten({n})"),
    ("heads", _2, None, "({0}).unflatten(-1, {sizes})"),
    ("split", _2, None, "({0}).chunk({n}, -1)[{i}]"),
    ("concat", (1, None), concatenating, "torch.cat"),
    ("reshape", (2, 3), None, "({0}).unflatten(-1, {sizes})"),
    # of params and consts only
    ("expm", _1, square, "torch.linalg.matrix_exp({0})", "any", True),
    ("eye", _1, None, "eye", "real", True),
    ("ones", _1, None, "ones", "real", True),
)

OPERATORS: dict[str, Rule] = {
    "+": elementwise,
    "-": elementwise,
    "*": elementwise,
    "/": elementwise,
    "^": elementwise,
    "@": matmul,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), elementwise),
}

COMPARISONS = frozenset(("<", "<=", ">", ">=", "==", "!="))

# Initialisers and distributions: the number of arguments that each takes.
INITIALISERS: dict[str, tuple[int, ...]] = {
    "zeros": (0,),
    "ones": (0,),
    "constant": (1,),
    "normal": (1, 2),
    "uniform": (2,),
    "linspace": (2,),
    "xavier_uniform": (0,),
    "xavier_normal": (0,),
    "kaiming_uniform": (0,),
    "kaiming_normal": (0,),
    "orthogonal": (0,),
    "eye": (0,),
}
MATRIX_INITIALISERS = frozenset(
    ("xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "eye")
)
DISTRIBUTIONS: dict[str, tuple[int, ...]] = {"bernoulli": (1,), "normal": (2,), "uniform": (2,)}

# What people write for a builtin, and the builtin.
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
    if name in SYNONYMS:
        return f"write `{SYNONYMS[name]}`"
    return None


__all__ = ["BUILTINS", "COMPARISONS", "DISTRIBUTIONS", "INITIALISERS", "OPERATORS", "SCALAR", "Builtin", "Mismatch"]
