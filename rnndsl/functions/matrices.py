"""Functions of params and consts alone, computed once a call."""

from rnndsl.functions import ranges
from rnndsl.functions.row import Function

ROWS = (
    Function(
        "expm", "A", "matrix exponential; of params and consts only", shape="square", domain="any", param_only=True,
        torch="torch.linalg.matrix_exp({0})",
    ),
    Function(
        "eye", "n", "the n by n identity; of params and consts only", shape="eye", param_only=True,
        interval=ranges.between(0.0, 1.0), cost=(0, 0),
    ),
    Function(
        "ones", "n", "a vector of n ones; of params and consts only", shape="ones", param_only=True,
        interval=ranges.between(1.0, 1.0), cost=(0, 0),
    ),
)  # fmt: skip
