"""The site builds without a warning, reads from the disk alone, and its gallery says what is so."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rnndsl
from tests.documents import PAGES, ROOT

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

SITE = ROOT / "docs" / "site"
ZOO_NAMES = [e.name for e in rnndsl.zoo.entries()]
CELLS = "cusum kda lstm para_gru"  # CI builds the site with all of them


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site, with some of its cells."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(SITE / "mkdocs.yml"), "-d", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RNNDSL_GALLERY": CELLS, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def gallery():
    """The module that writes the gallery."""
    sys.path.insert(0, str(SITE))
    try:
        import gallery

        yield gallery
    finally:
        sys.path.remove(str(SITE))


def test_every_page_is_in_the_site_and_its_navigation(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    for page in PAGES:
        if page.parent.name == "docs":
            assert (site / f"{page.stem}.html").exists()
            assert f'href="{page.stem}.html"' in index or page.stem == "index", page.stem
    assert 'href="gallery/index.html"' in index


def test_nothing_is_fetched_from_elsewhere(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]*)"', text) + re.findall(r'<link[^>]* rel="stylesheet"[^>]*', text)
        assert not [f for f in fetched if "//" in f], path.name
    assert (site / "mathjax.js").stat().st_size > 1_000_000


def test_links_out_of_docs_have_a_page(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="gallery/index.html"' in text
    assert (site / "repository" / "tests" / "documents.py.html").exists()


def test_a_page_of_the_gallery(site):
    text = (site / "gallery" / "kda.html").read_text(encoding="utf-8")
    for part in ("Kimi Team 2025", r"\begin{aligned}", 'src="kda.svg"', "mixes the rows of", "affine", "left"):
        assert part in text
    assert (site / "gallery" / "kda.svg").read_text(encoding="utf-8").startswith("<svg")


def test_the_gallery_says_what_is_so(gallery):
    for stem in CELLS.split():
        shown = gallery.read(rnndsl.zoo.entry(stem))
        cell = getattr(rnndsl.zoo, shown.entry.name)
        assert (shown.cpu is None) == (not cell._kernels["cpu"].refused)
        assert (shown.triton is None) == (not cell._kernels["triton"].refused)
        page = gallery.page(shown)
        assert gallery.linked(shown.entry.paper) in page and shown.entry.purpose in page and shown.program in page
        assert shown.program.splitlines() == shown.entry.text.splitlines()[shown.entry.first_line - 1 :]


def test_the_index_has_the_best_known_first_then_by_family_and_structure(gallery):
    rows = re.findall(r"^\| \[!\[\].*$", gallery.index([gallery.read(rnndsl.zoo.entry(s)) for s in CELLS.split()]), re.MULTILINE)
    assert [row.split(" | ")[1].split("]")[0] for row in rows] == ["[LSTM", "[KDA", "[Cusum", "[ParaGRU"]
    assert [row.split(" | ")[3] for row in rows] == ["nonlinear", "affine", "max-plus", "nonlinear"]
    assert [row.split(" | ")[4] for row in rows] == ["dense", "left", "diagonal", "diagonal"]


def test_the_index_can_be_filtered(site):
    text = (site / "gallery" / "index.html").read_text(encoding="utf-8")
    assert 'class="filter"' in text and 'src="../sort.js"' in text and "input.filter" in (site / "sort.js").read_text(encoding="utf-8")
    assert all(f'src="{stem}.thumbnail.svg"' in text and (site / "gallery" / f"{stem}.thumbnail.svg").exists() for stem in CELLS.split())


def test_charts_show_what_was_measured(site):
    data = json.loads((ROOT / "benchmarks" / "results" / "cpu-amd-epyc.json").read_text(encoding="utf-8"))
    (point,) = data["cases"]["gru-128-b16"]["points"]
    (task,) = (t for t in point["tasks"] if (t["scope"], t["direction"]) == ("layer", "both"))
    by_name = {e["name"]: e["median"] for e in task["candidates"]}
    shown = f"{by_name['nn'] / by_name['cpu']:.2f} ×"
    for page in ("index.html", "benchmarks.html"):
        text = (site / page).read_text(encoding="utf-8")
        assert shown in text and "<!-- chart" not in text and "<!-- picture" not in text
    assert (site / "index.svg").exists() and 'src="index.svg"' in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.one_in(5)
@pytest.mark.parametrize("name", ZOO_NAMES)
def test_how_to_use_a_cell_is_right(gallery, name):
    """The lines of its page, run with inputs of the shapes that stand there."""
    e = rnndsl.zoo.entry(name)
    text = gallery.usage(e, rnndsl.explain(e.path).cells[0].system.plan.cell)
    shapes = {n: [2, 3, *(int(a) for a in axes.split(", ") if a not in ("B", "T"))] for n, axes in re.findall(r"(\w+): \[([^\]]*)\]", text)}
    names = {n: torch.randn(shape) for n, shape in shapes.items()}
    with torch.no_grad():
        exec(text.replace("layer = ", "layer = reference(").replace(")\ny, state", "))\ny, state"), {**names, "reference": on_the_reference}, names)
    assert names["y"] is not None


def on_the_reference(layer: torch.nn.Module) -> torch.nn.Module:
    layer.backend = "reference"  # nothing is built
    return layer
