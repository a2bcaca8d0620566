"""Functions that give values another shape: they compute nothing."""

from rnndsl.functions import ranges
from rnndsl.functions.row import Function

FREE = (0, 0)  # a cost: none

ROWS = (
    Function(
        "outer", "k, v", "two vectors to the matrix of their products, [K, V]", shape="outer", domain="any", hint="it reads `outer(k, v)`",
        interval=ranges.product,
    ),
    Function(
        "diag", means="a vector to a diagonal matrix", shape="diagonal", domain="any",
        interval=lambda v: ranges.hull(v, (0.0, 0.0)), linear=True, cost=FREE,
    ),
    Function("merge", "a", "[N; K] to [N*K]: the heads end to end", shape="merging", domain="any", interval=ranges.same, linear=True, cost=FREE),
    Function(
        "heads", "v, N", "[N*K] to [N; K], the inverse of merge", shape="heads", domain="any",
        hint="it reads `heads(v, N)`, with the number of heads", interval=ranges.same, linear=True, cost=FREE,
    ),
    Function(
        "split", "v, n", "n equal parts of a vector: `i, f = split(v, 2)`", shape="split", domain="any",
        hint="it reads `a, b = split(v, 2)`", interval=ranges.same, linear=True, cost=FREE,
    ),
    Function(
        "concat", "u, v, …", "vectors end to end", shape="concatenating", domain="any", interval=ranges.hull, linear=True, cost=FREE,
    ),
    Function(
        "reshape", "A, m, n", "the same entries, read row by row, in another shape", shape="reshape", domain="any", optional=1,
        hint="it reads `reshape(A, m, n)`", interval=ranges.same, linear=True, cost=FREE,
    ),
)  # fmt: skip
