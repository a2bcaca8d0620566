"""Random programs against the oracle: outputs, gradients, states, resets, halves, steps."""

import re

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import rnndsl
from tests.agreement import Case, assert_agrees
from tests.choice import some
from tests.random_cells import RandomCell, cells

SETTINGS = settings(deadline=None, max_examples=some(60), suppress_health_check=list(HealthCheck), print_blob=True)


@seed(20261123)
@SETTINGS
@given(cells(), st.integers(1, 3), st.integers(1, 6))
def test_random_cells_agree_with_the_oracle(cell: RandomCell, batch: int, steps: int):
    name = re.search(r"cell (\w+)", cell.text)[1]
    assert_agrees(Case(cell.text, name, cell.sizes, batch, steps), tolerance=1e-8)


@pytest.mark.parametrize("standalone", [False, True])
@settings(deadline=None, max_examples=some(10), suppress_health_check=list(HealthCheck))
@given(cell=cells())
def test_random_cells_give_valid_python(standalone: bool, cell: RandomCell):
    text = rnndsl.compile(cell.text, standalone=standalone)
    compile(text, "generated.py", "exec")
    assert text == rnndsl.compile(cell.text, standalone=standalone)


def test_the_generator_is_not_trivial():
    """The random programs of one run hold every kind of statement."""
    seen: list[str] = []

    @settings(deadline=None, max_examples=some(60), database=None, suppress_health_check=list(HealthCheck))
    @seed(1)
    @given(cells())
    def gather(cell):
        seen.append(cell.text)

    gather()
    joined = "\n".join(seen)
    for word in ("repeat", "state", "param", "@", "h", "output", "[t-1]", "[t]", ";"):
        assert word in joined, word
