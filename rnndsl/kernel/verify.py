"""What a legal graph is, as a list of named rules; `verify` holds the nodes of a step against each. A failure is a fault of the compiler."""

from collections.abc import Iterator, Sequence

from rnndsl.checks.dims import Dim
from rnndsl.functions import OPERATIONS
from rnndsl.kernel.graph import (
    ARRAYS,
    REDUCTIONS,
    ROUNDS,
    SCALARS,
    STRUCTURAL,
    Cut,
    Leaf,
    Loop,
    LoopAlong,
    LoopBack,
    Node,
    Result,
    Round,
)
from rnndsl.law import Law, Rule

DATA: dict[str, type] = {
    **dict.fromkeys(ARRAYS, Leaf), **dict.fromkeys(ROUNDS, Round), "number": float, "size": Dim, "hyper": str, "counter": str, "slice": Cut,
    "concat": int, "cumsum": bool, "loop": Loop, "loop_back": LoopBack, "loop_along": LoopAlong, "result": Result,
}  # fmt: skip
ENTRIES = frozenset((*OPERATIONS, "copy"))  # what is a formula of single entries


class IllegalGraph(AssertionError):
    """A graph that breaks a rule."""

    def __init__(self, what: str, rule: Rule, n: int, node: Node, problem: str):
        self.rule = rule.name
        super().__init__(f"internal error: node {n} of {what} breaks the rule `{rule.name}` ({rule.description}): {problem}\n  {node}")


Nodes = Sequence[Node]
RULES = Law()
rule = RULES.rule


def verify(nodes: Nodes, what: str) -> None:
    """Raises IllegalGraph, naming the first node that breaks a rule, and the rule."""
    for n, node in enumerate(nodes):
        for broken, problem in RULES.breaches(nodes, n):
            raise IllegalGraph(what, broken, n, node, problem)


@rule("arguments-earlier", "arguments are nodes that stand before it")
def _arguments_earlier(nodes: Nodes, n: int) -> Iterator[str]:
    for a in nodes[n].args:
        if not 0 <= a < n:
            yield f"argument {a}"


@rule("operation-known", "its operation is one of the table of functions, a leaf, a reduction, a product or a structural one")
def _operation_known(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    if not (node.is_leaf or node.op in ENTRIES or node.op in STRUCTURAL or node.op in REDUCTIONS or node.op == "product"):
        yield node.op


@rule("arguments-counted", "an operation has as many arguments as it takes")
def _arguments_counted(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    count = len(node.args)
    if node.op in OPERATIONS:
        least, most = OPERATIONS[node.op].arity
        if count < least or (most is not None and count > most):
            yield f"{count} of them, not {least}"
    elif node.op == "product" and count != 2:
        yield f"{count} factors"
    elif (node.op in REDUCTIONS or node.op in ("copy", "slice", "reshape", "cumsum", "diag", "diagonal", "result")) and count != 1:
        yield f"{count} of them, not 1"


@rule("data-typed", "its data is of the type that its operation has")
def _data_typed(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    wanted = DATA.get(node.op, type(None))
    if type(node.data) is not wanted:
        yield f"{node.data!r} is not of type {wanted.__name__}"


@rule("maps-complete", "a formula and a reduction have a map for each argument, an axis of the domain for each of its axes, none twice")
def _maps_complete(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    mapped = node.op in ENTRIES or node.op in REDUCTIONS or node.op == "product"
    if len(node.maps) != (len(node.args) if mapped else 0):
        yield f"{len(node.maps)} maps for {len(node.args)} arguments"
        return
    for a, m in zip(node.args, node.maps, strict=False):
        if len(m) != len(nodes[a].shape):
            yield f"map {m} of argument {a}, which has {len(nodes[a].shape)} axes"
        elif len(set(m)) != len(m) or any(not 0 <= k < len(node.domain) for k in m):
            yield f"map {m} into a domain of {len(node.domain)} axes"


@rule("maps-sized", "an argument's axis has the size of the axis of the domain that it runs along")
def _maps_sized(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    for a, m in zip(node.args, node.maps, strict=False):
        for size, k in zip(nodes[a].shape, m, strict=True):
            if size != node.domain[k]:
                yield f"axis {k} is {node.domain[k]}, but argument {a} has {size} there"


@rule("domain-covered", "some argument runs along each axis that is summed over; only reductions and products sum")
def _domain_covered(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    if node.summed and node.op not in REDUCTIONS and node.op != "product":
        yield f"{node.op} sums over {', '.join(map(str, node.summed))}"
    covered = {k for m in node.maps for k in m}
    for k in range(len(node.shape), len(node.domain)):
        if k not in covered:
            yield f"nothing runs along axis {k}"


@rule("scalars-plain", "numbers, sizes, hyperparameters and counters have no axes")
def _scalars_plain(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    if node.op in SCALARS and node.shape:
        yield f"{len(node.shape)} axes"


@rule("leaf-of-its-kind", "a leaf's data names its kind, and its slice's number is its argument")
def _leaf_of_its_kind(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    if node.op in ARRAYS:
        leaf = node.leaf
        if leaf.kind != node.op or leaf.index < 0:
            yield f"{leaf.kind} {leaf.index}"
        if node.args != (() if leaf.select is None else (leaf.select,)):
            yield f"select {leaf.select}, arguments {node.args}"


@rule("shapes-kept", "a structural operation changes the axes that it says, and no others")
def _shapes_kept(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    shapes = [nodes[a].shape for a in node.args]
    match node.op:
        case "slice":
            axis = node.cut.axis
            if not 0 <= axis < len(node.shape) or _without(shapes[0], axis) != _without(node.shape, axis):
                yield f"{_text(shapes[0])} became {_text(node.shape)} along axis {axis}"
        case "concat":
            axis, total = node.of(int), Dim.of(0)
            for shape in shapes:
                total = total + shape[axis]
                if _without(shape, axis) != _without(node.shape, axis):
                    yield f"{_text(shape)} in {_text(node.shape)} along axis {axis}"
            if total != node.shape[axis]:
                yield f"parts of {total} in all make {node.shape[axis]}"
        case "cumsum" if shapes[0] != node.shape:
            yield f"{_text(shapes[0])} became {_text(node.shape)}"
        case "diag" if (*shapes[0], shapes[0][-1]) != node.shape:
            yield f"{_text(shapes[0])} became {_text(node.shape)}"
        case "diagonal" if shapes[0] != (*node.shape, node.shape[-1]):
            yield f"{_text(shapes[0])} became {_text(node.shape)}"
        case "reshape" if _volume(shapes[0]) != _volume(node.shape):
            yield f"{_text(shapes[0])} became {_text(node.shape)}"


@rule("loops-closed", "what the rounds of a loop begin with are its own leaves, and what they hand on has the same shapes")
def _loops_closed(nodes: Nodes, n: int) -> Iterator[str]:
    node = nodes[n]
    match node.data:
        case Loop():
            pairs = [(node.data.rounds, node.data.outputs, "round")]
        case LoopBack():
            pairs = [(node.data.gradients, node.data.outputs, "round_gradient")]
        case LoopAlong():
            pairs = [(node.data.slopes, node.data.outputs, "round_slope")]
        case Result(kind, index):
            held = getattr(nodes[node.args[0]].data, kind, ())
            if index >= len(held) or nodes[held[index]].shape != node.shape:
                yield f"{kind} {index}"
            return
        case _:
            return
    for leaves, outputs, op in pairs:
        if len(leaves) != len(outputs):
            yield f"{len(leaves)} leaves, {len(outputs)} results of a round"
        for leaf, output in zip(leaves, outputs, strict=False):
            if nodes[leaf].op != op:
                yield f"node {leaf} is no {op}"
            elif nodes[leaf].shape != nodes[output].shape:
                yield f"{_text(nodes[leaf].shape)} became {_text(nodes[output].shape)}"


def _without(shape: tuple[Dim, ...], axis: int) -> tuple[Dim, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _volume(shape: tuple[Dim, ...]) -> Dim:
    total = Dim.of(1)
    for d in shape:
        total = total * d
    return total


def _text(shape: tuple[Dim, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
