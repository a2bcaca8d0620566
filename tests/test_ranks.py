"""Layers over ranks, each with a part of the time, are what they are in one process."""

import pytest

from tests.many_ranks import run

EXACT, NEWTON = 1e-10, 1e-9
PIPED = [("Lags", 4), ("GRU", 3), ("SLSTM", 2)]
REPEATED = [("Rotation", 4), ("GRU", 3), ("Lags", 3), ("MLSTM", 2)]
IN_ROUNDS = [("MinGRU", 4, EXACT), ("LRU", 3, EXACT), ("MLSTM", 2, EXACT), ("ParaLSTM", 4, NEWTON), ("RKN", 3, NEWTON), ("Lags", 3, NEWTON)]
CHECKS = {
    **{f"{cell} on {size}, piped": ("check_equal", size, {"name": cell, "bound": EXACT, "way": "pipeline"}) for cell, size in PIPED},
    **{f"{cell} on {size}, in rounds": ("check_equal", size, {"name": cell, "bound": bound, "way": "rounds"}) for cell, size, bound in IN_ROUNDS},
    **{f"GatedDeltaNet, {K} x {V}": ("check_equal", 3, {"name": "GatedDeltaNet", "bound": EXACT, "way": "rounds", "K": K, "V": V}) for K, V in ((2, 3), (5, 2))},
    **{f"{cell} on {size}, repeated": ("check_equal", size, {"name": cell, "bound": NEWTON, "way": "repeats"}) for cell, size in REPEATED},
    **{f"scalars, {way}": ("check_equal", 2, {"name": "Plain", "bound": NEWTON, "way": way, "batch": 1}) for way in ("rounds", "repeats")},
    "forgetting": ("check_forgetting", 3, {}),
    **{f"bytes of {cell}, {way}": ("check_bytes", 3, {"name": cell, "way": way}) for cell, way in (("MinGRU", "rounds"), ("Lags", "pipeline"), ("Rotation", "repeats"))},
    "work": ("check_work", 3, {}),
    "large states": ("check_large", 3, {}),
    "ways of calling": ("check_ways_of_calling", 3, {}),
    "disagreements": ("check_disagreements", 3, {}),
    "errors": ("check_errors", 3, {}),
    "stacks": ("check_stacks", 3, {}),
    "a language model": ("check_language_model", 3, {}),
    "a mesh": ("check_mesh", 4, {}),
    "a lost rank": ("check_lost", 4, {}),  # the last, after which nothing can be run
}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, str]:
    """What went wrong in each check; all are made by the same processes."""
    return dict(zip(CHECKS, run(tmp_path_factory.mktemp("ranks"), list(CHECKS.values())), strict=True))


@pytest.mark.parametrize("check", CHECKS)
def test_over_ranks(found, check):
    assert not found[check], found[check]
