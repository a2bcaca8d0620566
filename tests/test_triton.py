"""The Triton backend: generated kernels against the reference in float64, on a GPU, or in Triton's interpreter where there is none."""

import re
from pathlib import Path

import pytest
import torch

import rnndsl
from tests.agreement import against_reference, assert_close, sizes_of
from tests.zoo_cells import ZOO

pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.rnn"))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SCHEDULES = {"sequential": {"channels": 8, "ahead": 2}, "newton": {"channels": 8, "lanes": 4, "lane_steps": 2}}


def example(name: str) -> tuple[str, str]:
    text = (ROOT / "examples" / f"{name}.rnn").read_text(encoding="utf-8")
    return text, re.search(r"^cell (\w+)", text, re.M)[1]


def kernels_of(text: str, cell: str):
    return getattr(rnndsl.load(text), cell)._triton


RUNNING = [name for name in ZOO if kernels_of(ZOO[name].text, name).kernels and not kernels_of(ZOO[name].text, name).refused]


def compare(text: str, cell: str, sizes: dict, batch: int, steps: int, schedule: str, tolerance: float = 1e-11, **settings) -> None:
    tiles = settings.pop("tiles", SCHEDULES[schedule])
    found = against_reference(text, cell, sizes, batch, steps, backend="triton", device=DEVICE, schedule=schedule, tiles=tiles, **settings)
    assert_close(found, tolerance)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", RUNNING)
def test_published_cells_agree_with_the_reference(name, schedule):
    compare(ZOO[name].text, name, sizes_of(ZOO[name].text, name), 2, 11, schedule)
