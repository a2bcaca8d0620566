"""What MkDocs does not do by itself: the navigation follows the pages that are there, the gallery is written, links out of docs/ have a target."""

import importlib.util
import os
import re
import sys
from pathlib import Path

from mkdocs.structure.files import File, Files

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]

import charts  # noqa: E402
import gallery  # noqa: E402

import rnndsl  # noqa: E402

_LINK = re.compile(r"(\]\()(\.\./[^)#\s]+)")  # one that leaves docs/
_LANGUAGES = {".py": "python", ".rnn": "rnn", ".json": "json", ".jinja": "jinja", ".md": "markdown", ".toml": "toml"}
_CHART = re.compile(r"<!-- chart of (\S+?)(?:: ([\w ,-]+))? -->")  # and of which of its cases
_PICTURE = "<!-- picture of the cell -->"  # of the first program of the page
_MATHJAX = "static/mathjax/es5/tex-svg.js"  # one file that needs no other


def on_config(config):
    """The navigation: pages that are not written yet are left out, others come last."""
    written = {p.name for p in HERE.parent.glob("*.md")} | {"gallery/index.md"}
    nav = _only(config.nav, written)
    further = sorted(written - _pages(nav))
    config.nav = nav + ([{"More": further}] if further else [])
    return config


def _only(nav: list, written: set[str]) -> list:
    found = []
    for item in nav:
        if isinstance(item, dict):
            ((title, below),) = item.items()
            below = _only(below, written) if isinstance(below, list) else "".join(_only([below], written))
            found += [{title: below}] if below else []
        elif item in written:
            found.append(item)
    return found


def _pages(nav: list) -> set[str]:
    below = [next(iter(item.values())) if isinstance(item, dict) else item for item in nav]
    return {p for b in below for p in (_pages(b) if isinstance(b, list) else [b])}


def on_files(files: Files, config):
    """Adds the gallery, the style, MathJax, and a page for each file of the repository that a page links to."""
    few = os.environ.get("RNNDSL_GALLERY")  # names of cells, to look at some pages soon
    for path, content in gallery.pages(few.split() if few else None).items():
        files.append(File.generated(config, path, content=content))
    for name in ("style.css", "sort.js", "math.js"):
        files.append(File.generated(config, name, abs_src_path=str(HERE / name)))
    files.append(File.generated(config, "mathjax.js", abs_src_path=str(_mathjax())))
    for page in sorted(HERE.parent.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if _PICTURE in text:
            (cell, *_) = re.findall(r"```rnn\n(.*?)```", text, re.DOTALL)
            files.append(File.generated(config, f"{page.stem}.svg", content=gallery.as_svg(rnndsl.explain(cell).cells[0].system)))
        for _, link in _LINK.findall(page.read_text(encoding="utf-8")):
            name = _inside(link)
            path = f"repository/{name}.md"
            if (ROOT / name).is_file() and files.get_file_from_path(path) is None:
                files.append(File.generated(config, path, content=_shown(name, ROOT / name)))
    return files


def _inside(link: str) -> str:
    """Where in the repository a link of a page leads that leaves docs/."""
    return Path(os.path.normpath(HERE.parent / link)).relative_to(ROOT).as_posix()


def _mathjax() -> Path:
    """MathJax, as the package django-static-mathjax holds it; it is files alone and needs no Django."""
    found = importlib.util.find_spec("mathjax")
    if found is None or found.origin is None:
        raise SystemExit('MathJax is not installed: pip install "rnndsl[docs]"')
    return Path(found.origin).parent / _MATHJAX


def _shown(name: str, path: Path) -> str:
    """A file of the repository as a page."""
    text = path.read_text(encoding="utf-8").rstrip("\n")
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"---\nsearch: {{exclude: true}}\nhide: [toc]\n---\n\n# {name}\n\n{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{text}\n{fence}\n"


def on_page_markdown(markdown: str, page, config, files: Files) -> str:
    """Links that leave docs/ lead to pages of the site."""

    def to(m: re.Match) -> str:
        name = _inside(m[2])
        cell = re.fullmatch(r"examples/zoo(?:/(\w+)\.rnn)?", name)
        page = f"gallery/{cell[1] or 'index'}.md" if cell else ""
        return m[1] + (page if files.get_file_from_path(page) else f"repository/{name}.md")

    if "/" in page.file.src_uri:
        return markdown
    markdown = _CHART.sub(lambda m: charts.chart(m[1], m[2]), markdown)
    what = "What the compiler finds: the states, what they read, and the Jacobian of a step"
    markdown = markdown.replace(_PICTURE, f'<div class="picture" markdown>\n\n![{what}]({page.file.name}.svg)\n\n</div>')
    return _LINK.sub(to, markdown)
