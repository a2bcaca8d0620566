"""Functions of a vector as a whole."""

import math

from rnndsl.functions import ranges
from rnndsl.functions.row import Function

ROWS = (
    # Not in the prelude: the largest entry, which it takes off its argument so that nothing overflows, has no name in the language.
    Function(
        "softmax", means="a vector to a vector whose entries add up to 1", shape="along",
        interval=ranges.between(0.0, 1.0), cost=(3, 1), torch="torch.softmax({0}, -1)",
    ),
    Function("cumsum", means="running sums of a vector", shape="along", domain="any", linear=True, torch="torch.cumsum({0}, -1)"),
    Function(
        "sum", means="the sum of a vector", shape="reducing", domain="any", linear=True,
        hint="it sums a vector; two values are added by `+`",
        of_matrix="`S @ ones({columns})` adds up the rows of a matrix S, `ones({rows}) @ S` its columns", torch="torch.sum({0}, -1)",
    ),
    Function(
        "mean", means="the mean of a vector", shape="reducing", domain="any", linear=True,
        of_matrix="`S @ ones({columns})` adds up the rows of a matrix S, `ones({rows}) @ S` its columns",
        interval=ranges.same, torch="torch.mean({0}, -1)",
    ),
    Function(
        "norm", means="the length of a vector", shape="reducing", domain="to-real",
        of_matrix="make a vector of it first: `norm(reshape(S, {entries}))`",
        interval=ranges.between(0.0, math.inf), roots=1, torch="torch.linalg.vector_norm({0}, dim=-1)",
    ),
    Function("dot", "u, v", "the sum of u * v, without a conjugate", shape="inner", domain="any", hint="it reads `dot(u, v)`"),
)  # fmt: skip
