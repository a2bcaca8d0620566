"""Nodes as Python expressions of tensors [B, C, *shape]: every entry of a shape, for C steps at once; what no step changes is [*shape]."""

from collections.abc import Sequence
from dataclasses import dataclass

from rnndsl.functions import COMPARED, OPERATIONS, numbers
from rnndsl.kernel.graph import Map, Node

COMPARE, ADD, MUL, NEG, ATOM = 0, 1, 2, 3, 4
_INFIX = {"+": ADD, "-": ADD, "*": MUL, "/": MUL}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Text:
    """Code, and how tightly it binds; moves: whether it is [B, C, *shape]; plain: whether it is a Python number; condition: its value as a mask
    where it is a comparison."""

    code: str
    binds: int = ATOM
    moves: bool = False
    plain: bool = False
    condition: str | None = None

    def within(self, level: int) -> str:
        return self.code if self.binds >= level else f"({self.code})"

    @property
    def tensor(self) -> str:
        """The code as a tensor, a number too."""
        return f"like.new_full((), {self.code})" if self.plain else self.code


def placed(text: Text, m: Map, rank: int) -> Text:
    """An argument with its axes where `m` says, of `rank` in all; those that it lacks have length 1."""
    if text.plain or (m == tuple(range(rank - len(m), rank)) and not (text.moves and len(m) < rank)):
        return text
    code = text.within(ATOM)
    if (order := sorted(range(len(m)), key=lambda i: m[i])) != list(range(len(m))):
        code = f"permuted({code}, {tuple(order)})"
    index = ", ".join(["...", *(":" if k in m else "None" for k in range(rank))])
    return Text(f"{code}[{index}]", moves=text.moves)


def elementwise(node: Node, args: Sequence[Text]) -> Text:
    """An operation entry by entry; its arguments have been placed."""
    op, moves = node.op, any(a.moves for a in args)
    if op == "surrogate":
        return Text(f"ops.surrogate({', '.join(a.tensor for a in args)})", moves=moves)
    if all(a.plain for a in args):
        return args[0] if op == "copy" else Text(numbers.call(OPERATIONS[op], [a.within(ATOM) for a in args]), plain=True)
    if op == "copy":
        return args[0]
    if op == "neg":
        return Text(f"-{args[0].within(NEG + 1)}", NEG, moves)
    if op in _INFIX:
        level = _INFIX[op]
        return Text(f"{args[0].within(level)} {op} {args[1].within(level + 1)}", level, moves)
    if op in COMPARED:
        condition = f"{args[0].within(ADD)} {COMPARED[op]} {args[1].within(ADD)}"
        return Text(f"({condition}).to(like.dtype)", ATOM, moves, condition=condition)
    if op == "select":
        if args[0].plain:
            return Text(f"chosen({args[0].code}, {args[1].tensor}, {args[2].tensor})", moves=moves)
        condition = args[0].condition or f"{args[0].within(ADD)} != 0"
        return Text(f"torch.where({condition}, {args[1].tensor}, {args[2].tensor})", moves=moves)
    if op == "pow":
        return Text(f"torch.pow({args[0].code}, {args[1].code})", moves=moves)
    form = OPERATIONS[op].torch
    given = [a.tensor for a in args]
    return Text(form.format(*given) if form else f"{op}({', '.join(given)})", moves=moves)


def total(node: Node, arg: Text) -> Text:
    """A `sum` or `largest` over axes."""
    (m,) = node.maps
    axes = tuple(i - len(m) for i, k in enumerate(m) if k >= len(node.shape))
    name = "sum" if node.op == "sum" else "amax"
    return Text(f"{arg.within(ATOM)}.{name}({axes if len(axes) > 1 else axes[0]})", moves=arg.moves)


def product(node: Node, args: Sequence[Text]) -> Text:
    """A product of matrices, or of a matrix and a vector."""
    (left, right), (a, b) = node.maps, args
    moves = a.moves or b.moves
    if (left, right) == ((0, 1), (1,)) and not a.moves:
        return Text(f"F.linear({b.code}, {a.code})", moves=moves)
    if (left, right) == ((1,), (0, 1)) and not b.moves:
        return Text(f"F.linear({a.code}, {b.code})", moves=moves)
    into = [f"...{''.join(_LETTERS[k] for k in m)}" for m in (left, right, range(len(node.shape)))]
    return Text(f'torch.einsum("{into[0]},{into[1]}->{into[2]}", {a.code}, {b.code})', moves=moves)
