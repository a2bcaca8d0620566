"""The site builds without a warning, reads from the disk alone, and its gallery says what is so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnndsl
from tests.documents import PAGES, ROOT

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

SITE = ROOT / "docs" / "site"
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
    assert (site / "gallery" / "kda.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_the_gallery_says_what_is_so(gallery):
    for stem in CELLS.split():
        shown = gallery.read(rnndsl.zoo.entry(stem))
        cell = getattr(rnndsl.zoo, shown.entry.name)
        assert (shown.cpu is None) == (not cell._kernels["cpu"].refused)
        assert (shown.triton is None) == (not cell._kernels["triton"].refused)
        page = gallery.page(shown)
        assert shown.entry.paper in page and shown.entry.purpose in page and shown.program in page
        assert shown.program.splitlines() == shown.entry.text.splitlines()[shown.entry.first_line - 1 :]


def test_the_index_is_sorted_by_family_and_structure(gallery):
    rows = re.findall(r"^\| \[\w+\].*$", gallery.index([gallery.read(rnndsl.zoo.entry(s)) for s in CELLS.split()]), re.MULTILINE)
    assert [row.split(" | ")[2] for row in rows] == ["affine", "max-plus", "nonlinear", "nonlinear"]
    assert [row.split(" | ")[3] for row in rows] == ["left", "diagonal", "dense", "diagonal"]
