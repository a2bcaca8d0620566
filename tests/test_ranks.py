"""Layers over ranks, each with a part of the time, are what they are in one process."""

import pytest

from tests.many_ranks import run

CHECKS = {
    **{f"{cell} on {size}": ("check_equal", size, {"name": cell, "bound": 1e-10}) for cell, size in (
        ("Lags", 2), ("Lags", 4), ("GRU", 3), ("SLSTM", 2), ("M2RNN", 3), ("LinearLMU", 2),
    )},
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, str]:
    """What went wrong in each check; all are made by the same processes."""
    return dict(zip(CHECKS, run(tmp_path_factory.mktemp("ranks"), list(CHECKS.values())), strict=True))


@pytest.mark.parametrize("check", CHECKS)
def test_over_ranks(found, check):
    assert not found[check], found[check]
