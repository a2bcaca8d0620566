"""The corpus of wrong programs: each gives exactly the text beside it. `pytest --accept` writes new texts."""

from pathlib import Path

import pytest

from rnndsl.api import check, read_source
from rnndsl.diagnostics import RnnError
from rnndsl.report import render

WRONG = Path(__file__).parent / "wrong"
PROGRAMS = sorted(p.stem for p in WRONG.glob("*.rnn"))


def rendered(path: Path) -> str:
    """Every diagnostic of a program as its user sees them."""
    found = check(path)
    try:
        source = read_source(path)
    except RnnError as e:
        source = e.source
    return "\n\n".join(render(d, source) for d in found) + "\n"


@pytest.mark.parametrize("name", PROGRAMS)
def test_gives_its_text(name, accept):
    text = rendered(WRONG / f"{name}.rnn")
    golden = WRONG / f"{name}.txt"
    if accept:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
