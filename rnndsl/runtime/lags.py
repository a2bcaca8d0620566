"""What the lags of carried arrays say: those of lag 1 are states of the step before, come first, and have a sequence."""

from collections.abc import Sequence


def kept(lags: Sequence[int]) -> int:
    """How many real arrays have a sequence."""
    return sum(lag == 1 for lag in lags)


def kept_forms(carries: Sequence[int], lags: Sequence[int]) -> tuple[int, ...]:
    """The carried values that have a sequence. carries: how many real arrays each value is."""
    count, n = 0, 0
    while count < kept(lags):
        count += carries[n]
        n += 1
    return tuple(carries[:n])
