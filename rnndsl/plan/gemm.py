"""Merges products of several param matrices with one operand, `W_z @ x`, `W_r @ x`, …, into one matrix product."""

from collections.abc import Sequence
from dataclasses import replace

from rnndsl.checks.cell import Apply, Expr, Let, Ref, Repeat, Type, Update, walk
from rnndsl.plan.dependence import STATIC, Dependence
from rnndsl.plan.ir import Gemm, Operation, expressions_of, inner_names
from rnndsl.plan.single import own_name


def merge_products(
    body: Sequence[Operation], dependence: Dependence, taken: set[str]
) -> tuple[list[Operation], list[Let]]:
    """The operations with their products merged, and the stacked matrices, to be computed once a call."""
    groups: dict[tuple, dict[Expr, Apply]] = {}
    first: dict[tuple, int] = {}
    for i, operation in enumerate(body):
        for product in _products(operation, dependence):
            matrix, operand = product.args
            key = (operand, matrix.type.heads, matrix.type.is_complex)
            groups.setdefault(key, {}).setdefault(matrix, product)
            first.setdefault(key, i)
    merged: dict[int, list[Operation]] = {}
    constants: list[Let] = []
    names: dict[Expr, Ref] = {}
    for key, products in groups.items():
        if len(products) < 2:
            continue
        operand = key[0]
        matrices = tuple(products)
        label = _label(operand)
        rows = tuple(m.type.axes[0] for m in matrices)
        total = rows[0]
        for r in rows[1:]:
            total = total + r
        stacked = _fresh(f"W_{label}", taken)
        t = Type(matrices[0].type.heads, (total, matrices[0].type.axes[1]), matrices[0].type.is_complex)
        span = next(iter(products.values())).span
        constants.append(Let(stacked, Apply("rows", matrices, t, span=span), span=span))
        dependence.levels[stacked] = STATIC
        results = []
        for matrix, product in products.items():
            result = _fresh(f"{_label(matrix)}_{label}", taken)
            results.append(result)
            dependence.levels[result] = dependence.level(product)
            names[product] = Ref(result, "local", product.type, span=product.span)
        gemm = Gemm(tuple(results), Ref(stacked, "local", t), operand, tuple(products.values()))
        merged.setdefault(first[key], []).append(gemm)
    out: list[Operation] = []
    for i, operation in enumerate(body):
        out.extend(merged.get(i, ()))
        out.append(_rename(operation, names) if names else operation)
    return _without_aliases(out), constants


def _without_aliases(body: list[Operation]) -> list[Operation]:
    """A product that a local is nothing but takes the local's name."""
    results = {r for g in body if isinstance(g, Gemm) for r in g.results}
    alias: dict[str, str] = {}
    for operation in body:
        if (
            isinstance(operation, Let)
            and isinstance(operation.value, Ref)
            and operation.value.name in results - alias.keys()
        ):
            alias[operation.value.name] = operation.name
    reads = [n.name for operation in body for n in _locals_of(operation)]
    alias = {result: name for result, name in alias.items() if reads.count(result) == 1}
    kept = [
        o for o in body if not (isinstance(o, Let) and isinstance(o.value, Ref) and alias.get(o.value.name) == o.name)
    ]
    return [replace(o, results=tuple(alias.get(r, r) for r in o.results)) if isinstance(o, Gemm) else o for o in kept]


def _locals_of(operation: Operation) -> list[Ref]:
    return [n for v in expressions_of(operation) for n in walk(v) if isinstance(n, Ref) and n.role == "local"]


def _products(operation: Operation, dependence: Dependence) -> list[Apply]:
    """Products of a param matrix with something that changes, not depending on the round of a repeat."""
    bound: set[str] = set()
    if isinstance(operation, Repeat):
        values = [let.value for let in operation.body]
        bound = inner_names(operation)
    elif isinstance(operation, Let | Update):
        values = [operation.value]
    else:
        return []
    return [
        n
        for value in values
        for n in walk(value)
        if isinstance(n, Apply)
        and n.op == "@"
        and n.args[0].type.rank == 2
        and n.args[1].type.rank == 1
        and n.args[0].type.is_complex == n.args[1].type.is_complex
        and dependence.level(n.args[0]) == STATIC
        and dependence.level(n.args[1]) != STATIC
        and not any(isinstance(r, Ref) and r.name in bound for r in walk(n))
        and not any(isinstance(r, Apply) and r.op == "@" for a in n.args for r in walk(a))
    ]


def _rename(operation: Operation, names: dict[Expr, Ref]) -> Operation:
    if isinstance(operation, Repeat):
        return replace(
            operation, body=tuple(replace(let, value=substitute(let.value, names)) for let in operation.body)
        )
    if isinstance(operation, Gemm):
        return operation
    return replace(operation, value=substitute(operation.value, names))


def substitute(expr: Expr, names: dict[Expr, Ref]) -> Expr:
    """The expression with each key of `names` replaced by its value."""
    if expr in names:
        return names[expr]
    if isinstance(expr, Apply):
        return replace(expr, args=tuple(substitute(a, names) for a in expr.args))
    return expr


def _label(expr: Expr) -> str:
    """A short readable name for an operand or matrix."""
    named = [n for n in walk(expr) if isinstance(n, Ref)]
    return own_name(named[0].name).replace(".", "_") if named else "x"


def _fresh(name: str, taken: set[str]) -> str:
    name += "."
    unique, n = name, 2
    while unique in taken:
        unique, n = f"{name}{n}", n + 1
    taken.add(unique)
    return unique
