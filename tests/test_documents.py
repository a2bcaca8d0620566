"""README and docs do what they say: every block is run, or listed with a reason; every link leads somewhere; every table is measured."""

import importlib.util
import re
from pathlib import Path

import pytest

from rnndsl.runtime import build
from tests.documents import NOT_RUN, PAGES, ROOT, ROUGH, RUN, Story, blocks_of, matches


def by_name(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_block_is_run(page, tmp_path):
    if page.name == "tutorial.md" and build.compiler() is None:
        pytest.skip("there is no C++ compiler, and the page shows what there is with one")
    Story(tmp_path).tell(page)


def test_what_is_not_run_is_there():
    """The list names blocks of the pages, and no block twice."""
    blocks = [b for page in PAGES for b in blocks_of(page)]
    for page, part in NOT_RUN:
        assert len([b for b in blocks if b.page == page and part in b.text]) == 1, (page, part)
    for page, command in ROUGH:
        assert any(b.page == page and f"$ {command}\n" in b.text for b in blocks), (page, command)


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_fence_is_understood(page):
    """No block hides from the tests by a fence that they take for something else."""
    text = page.read_text(encoding="utf-8")
    inside = "".join(b.text for b in blocks_of(page))
    opened = len(re.findall(r"^```+\w*", text, re.MULTILINE)) - len(re.findall(r"^```+\w*", inside, re.MULTILINE))
    assert opened == 2 * len(blocks_of(page))
    assert not re.search(r"^[ \t]+```+(" + "|".join(RUN) + r")\b", text, re.MULTILINE), "an indented block is not run"


def test_what_matches():
    assert matches("a\n…\nd …\n", "a\nb  \nc\nd 12\n")
    assert matches("…\n", "") and matches("a\n…\n", "a\n")
    assert not matches("a\n", "a\nb\n") and not matches("a.\n", "ab\n")
    assert matches("at 0.50\n", "at 0.58\n", 0.1) and not matches("at 0.50\n", "at 0.62\n", 0.1)


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for block in blocks_of(page):
        text = text.replace(block.text, "")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, head = target.partition("#")
        if target.startswith("http"):
            continue
        found = page.parent / path if path else page
        assert found.exists(), target
        if head:
            assert head in heads(found), target


def heads(page: Path) -> set[str]:
    """The anchors of a page, as GitHub and MkDocs make them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in found}


def test_the_tables_of_benchmarks_are_what_was_measured(accept):
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for page in (tables.PAGE, tables.MACHINE_CODE, tables.LEARNED):
        text = page.read_text(encoding="utf-8")
        if accept:
            page.write_text(tables.written(text), encoding="utf-8")
        results = [p.name for p in tables.RESULTS.glob("*.json") if not p.with_suffix(".md").exists()]
        studies = [p.name for p in tables.STUDIES.glob("*.json")]
        wanted = {tables.PAGE: results, tables.MACHINE_CODE: ["ahead.json", "tiles.json"], tables.LEARNED: studies}[page]
        assert sorted(tables.named(text)) == sorted(wanted), "a table for each file of results that has no page of its own"
        assert tables.written(text) == page.read_text(encoding="utf-8"), "pytest --accept writes the tables anew"


def test_figures_of_time_stand_in_tables_alone():
    """In docs/benchmarks.md nothing but the tables has a figure of time."""
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    prose = re.sub(r"<!-- table of .*?<!-- end of table -->", "", text, flags=re.DOTALL)
    assert set(re.findall(r"\d[\d.]* (?:ms|µs|s|ns)\b", prose)) == {"10 ms"}  # the least that a sample takes


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_tests_that_a_page_names_are_there(page):
    for file, name in re.findall(r"`(test_\w+\.py)::(\w+)`", page.read_text(encoding="utf-8")):
        assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE), (file, name)
