"""The syntax tree: what was written, before anything is known about names or shapes.

Nodes are frozen; their span takes no part in equality, so that equal text gives equal trees.
"""

from dataclasses import dataclass, field

from rnndsl.diagnostics import NOWHERE, Span


@dataclass(frozen=True)
class Node:
    span: Span = field(default=NOWHERE, compare=False, repr=False, kw_only=True)


# Expressions


@dataclass(frozen=True)
class Number(Node):
    """A literal: `2`, `.5`, `1e-3`, `1j`; `inf` and `pi` keep their name in `text`."""

    value: float | complex
    text: str = field(compare=False)


@dataclass(frozen=True)
class Name(Node):
    id: str


@dataclass(frozen=True)
class Prefix(Node):
    """`-a` or `+a`."""

    op: str
    operand: "Expr"


@dataclass(frozen=True)
class Binary(Node):
    """`left op right`, with op one of `+ - * / @ ^` or a comparison (`**` is kept as `^`)."""

    op: str
    left: "Expr"
    right: "Expr"


@dataclass(frozen=True)
class Call(Node):
    """`function(arguments)`."""

    function: Name
    arguments: tuple["Expr", ...]


@dataclass(frozen=True)
class Index(Node):
    """`base[arguments]`: a time index or a slice of a param, told apart by the checks."""

    base: Name
    arguments: tuple["Expr", ...]


@dataclass(frozen=True)
class Attribute(Node):
    """`base.name`; the language knows `.T` alone."""

    base: "Expr"
    name: str
    name_span: Span = field(default=NOWHERE, compare=False, repr=False)


Expr = Number | Name | Prefix | Binary | Call | Index | Attribute


def children(node: Expr) -> tuple[Expr, ...]:
    """The subexpressions of a node, left to right."""
    match node:
        case Prefix():
            return (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Call() | Index():
            return node.arguments
        case Attribute():
            return (node.base,)
    return ()


# Declarations


@dataclass(frozen=True)
class Shape(Node):
    """`complex [heads; axes]`."""

    heads: tuple[Expr, ...]
    axes: tuple[Expr, ...]
    is_complex: bool = False


@dataclass(frozen=True)
class Above(Node):
    """`> low`; the checks refuse another comparison."""

    low: Expr
    op: str = ">"


@dataclass(frozen=True)
class Between(Node):
    """`in (low, high)`."""

    low: Expr
    high: Expr


@dataclass(frozen=True)
class Draw(Node):
    """An initialiser or a distribution: `normal(0, 1)`, `zeros`."""

    name: Name
    arguments: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Declaration(Node):
    """`role names: shape`, with whatever the role allows behind it."""

    role: str  # input, state, param, const, noise
    names: tuple[Name, ...]
    shape: Shape
    value: Expr | None = None  # a state's initial value, a const's value
    constraint: Above | Between | None = None
    draw: Draw | None = None
    how: Name | None = None  # of a noise, how often it is drawn: `once`


# Equations


@dataclass(frozen=True)
class Target(Node):
    """The left of an assignment: `z`, or `h[t]` with its index kept for the checks."""

    name: Name
    index: tuple[Expr, ...] | None = None


@dataclass(frozen=True)
class Assign(Node):
    targets: tuple[Target, ...]
    value: Expr


@dataclass(frozen=True)
class Returned(Node):
    """One output: `h`, or `y = expr`."""

    name: Name
    value: Expr | None = None


@dataclass(frozen=True)
class Output(Node):
    returned: tuple[Returned, ...]


@dataclass(frozen=True)
class Repeat(Node):
    """`repeat variable in low..high: body end`."""

    variable: Name
    low: Expr
    high: Expr
    body: tuple["Statement", ...]


Statement = Declaration | Assign | Output | Repeat


# Items


@dataclass(frozen=True)
class HeaderName(Node):
    """`D` (a size) or `dt = 0.05` (a hyperparameter)."""

    name: Name
    default: Expr | None = None


@dataclass(frozen=True)
class CellDef(Node):
    name: Name
    header: tuple[HeaderName, ...]
    doc: str | None
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class FunctionDef(Node):
    name: Name
    parameters: tuple[Name, ...]
    body: Expr
    slope: Expr | None = None


@dataclass(frozen=True)
class File(Node):
    items: tuple[CellDef | FunctionDef, ...]

    @property
    def cells(self) -> tuple[CellDef, ...]:
        return tuple(i for i in self.items if isinstance(i, CellDef))

    @property
    def functions(self) -> tuple[FunctionDef, ...]:
        return tuple(i for i in self.items if isinstance(i, FunctionDef))
