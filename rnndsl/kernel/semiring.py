"""The exact form of a channel that needs no iteration: new slot i = ⊕_j (a_ij ⊗ old slot j) ⊕ b_i, with a and b free of old slots.

(⊕, ⊗) is (+, ·) for an affine channel, (max, +) for max-plus, (logaddexp, +) for the log-semiring. None is the semiring's zero.
"""

from dataclasses import dataclass

from rnndsl.kernel.channels import Channel, jacobian
from rnndsl.kernel.graph import Builder
from rnndsl.kernel.limits import Unsupported

AFFINE, MAX_PLUS, LOG = "affine", "max-plus", "log-semiring"
_JOIN = {MAX_PLUS: "max", LOG: "logaddexp"}


@dataclass(frozen=True)
class Exact:
    """The coefficients, as nodes of the channel's graph."""

    family: str
    a: tuple[tuple[int | None, ...], ...]
    b: tuple[int | None, ...]


def exact_form(channel: Channel) -> Exact | None:
    """The exact form of a channel; None where it has none. Extends the channel's graph."""
    return _affine(channel) or _tropical(channel, MAX_PLUS) or _tropical(channel, LOG)


def _dependent(b: Builder) -> set[int]:
    """The nodes that depend on an old slot."""
    found: set[int] = set()
    for n, node in enumerate(b.nodes):
        if node.op == "old" or any(a in found for a in node.args):
            found.add(n)
    return found


def _affine(channel: Channel) -> Exact | None:
    b = channel.builder
    depends = _dependent(b)
    for n in _needed(b, channel.updates) & depends:
        node = b[n]
        moving = [a in depends for a in node.args]
        linear = (
            node.op in ("old", "copy", "neg", "+", "-")
            or (node.op == "*" and not all(moving))
            or (node.op == "/" and not moving[1])
            or (node.op in ("quotient_re", "quotient_im") and not any(moving[2:]))
            or (node.op == "select" and not moving[0])
        )
        if not linear:
            return None
    a = jacobian(channel)
    zero = dict[int, int]()

    def at_zero(n: int) -> int:
        """The node with every old slot zero."""
        if n not in depends:
            return n
        if n not in zero:
            node = b[n]
            b.span = node.span
            zero[n] = b.number(0.0) if node.op == "old" else _apply(b, node.op, [at_zero(m) for m in node.args])
        return zero[n]

    rest = [at_zero(n) for n in channel.updates]
    return Exact(AFFINE, a, tuple(None if b.number_of(n) == 0.0 else n for n in rest))


def _needed(b: Builder, wanted: tuple[int, ...]) -> set[int]:
    found: set[int] = set()
    stack = list(wanted)
    while stack:
        n = stack.pop()
        if n not in found:
            found.add(n)
            stack.extend(b[n].args)
    return found


def _apply(b: Builder, op: str, args: list[int]) -> int:
    """An elementwise node of scalars; a product with zero is zero."""
    if op == "*" and any(b.number_of(a) == 0.0 for a in args):
        return b.number(0.0)
    if op == "/" and b.number_of(args[0]) == 0.0:
        return b.number(0.0)
    if op == "-" and b.number_of(args[0]) == 0.0:
        return _apply(b, "neg", args[1:])
    return b.apply(op, args, [()] * len(args), ())


def _tropical(channel: Channel, family: str) -> Exact | None:
    b = channel.builder
    depends = _dependent(b)
    join = _JOIN[family]
    Row = dict[int | None, int]  # slot, or None for what stands alone -> coefficient

    def merged(*rows: Row) -> Row:
        out: Row = {}
        for row in rows:
            for key, n in row.items():
                out[key] = _apply(b, join, [out[key], n]) if key in out else n
        return out

    def shifted(row: Row, op: str, n: int) -> Row:
        return {key: _apply(b, op, [m, n]) for key, m in row.items()}

    known: dict[int, Row] = {}

    def visit(n: int) -> Row:
        if n not in known:
            known[n] = row_of(n)
        return known[n]

    def row_of(n: int) -> Row:
        node = b[n]
        if n not in depends:
            return {None: n}
        b.span = node.span
        args = node.args
        match node.op:
            case "old":
                return {node.data.index: b.number(0.0)}
            case "copy":
                return visit(args[0])
            case "+" if args[0] not in depends or args[1] not in depends:
                moving, fixed = args if args[0] in depends else args[::-1]
                return shifted(visit(moving), "+", fixed)
            case "-" if args[1] not in depends:
                return shifted(visit(args[0]), "-", args[1])
            case "select" if args[0] not in depends:
                yes, no = visit(args[1]), visit(args[2])
                zero = b.number(float("-inf"))
                return {key: _apply(b, "select", [args[0], yes.get(key, zero), no.get(key, zero)]) for key in {**yes, **no}}
        if node.op == join:
            return merged(*(visit(a) for a in args))
        if node.op == {"max": "relu", "logaddexp": "softplus"}[join]:
            return merged(visit(args[0]), {None: b.number(0.0)})
        raise Unsupported(node.op)

    try:
        rows = [visit(n) for n in channel.updates]
    except Unsupported:
        return None
    k = range(len(channel.slots))
    return Exact(family, tuple(tuple(row.get(j) for j in k) for row in rows), tuple(row.get(None) for row in rows))
