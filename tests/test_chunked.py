"""Affine matrix states by chunks of steps: the same numbers as step by step."""

import pytest

from tests.agreement import Case, assert_agrees, sizes_of
from tests.zoo_cells import ZOO

CHUNKED = {
    "Mamba2", "LinearAttention", "RetNet", "GLA", "HGRN2", "RWKV6", "DeltaNet", "GatedDeltaNet", "KDA", "RWKV7", "Titans", "MLSTM",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CHUNKED))
def test_zoo(name):
    text = ZOO[name].text
    assert_agrees(Case(text, name, sizes_of(text, name), 2, 11, backend="torch", schedule="chunked"))
