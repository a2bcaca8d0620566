"""Every form of the language against the oracle: outputs, gradients, states, resets, halves, steps."""

import pytest

from tests.agreement import Case, assert_agrees
from tests.features import FEATURES, SIZES, program


@pytest.mark.parametrize("name", FEATURES)
def test_agrees_with_the_oracle(name):
    assert_agrees(Case(program(name), "C", SIZES))


@pytest.mark.parametrize("name", ["lags of a state", "heads", "repeat", "complex", "matrix state", "step number"])
@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (2, 2), (1, 13)])
def test_agrees_at_other_sizes(name, batch, steps):
    assert_agrees(Case(program(name), "C", {"D": 1, "H": 1, "N": 3, "K": 2, "L": 1}, batch, steps, seed=1))
