"""Shape rules: the types of arguments -> that of the result. They raise `Mismatch`, which names the argument at fault."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rnndsl.checks.cell import Type


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
    return f"{word} {t}" if not t.is_complex else f"{word.replace('a ', 'a complex ', 1)} {replace(t, is_complex=False)}"


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


RULES: dict[str, Rule] = {
    f.__name__: f for f in (elementwise, along, reducing, inner, outer, diagonal, merging, concatenating, square, matmul)
}
