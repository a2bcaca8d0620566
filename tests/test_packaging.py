"""The package works however it got there: a wheel, an editable install, a bare checkout."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from rnndsl.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
CELL = "cell C(D, H):\n  input x: [D]\n  state h: [H]\n  param W: [H, D]\n  h[t] = tanh(W @ x) + 0.5 * h[t-1]\n  output h\n"
# Compiles a cell both ways from what is found on the path, and says where that was.
PROGRAM = """
import sys, rnndsl
text = rnndsl.compile(sys.argv[1])
alone = rnndsl.compile(sys.argv[1], standalone=True)
assert "class C(Layer)" in text and "from rnndsl" in text
assert "class C(Layer)" in alone and "from rnndsl" not in alone and "class Layer(" in alone
assert len(rnndsl.zoo.entries()) > 90 and "cell GRU(" in rnndsl.zoo.entry("GRU").text
assert "torch" not in sys.modules
print(rnndsl.__file__)
"""


def compiles_from(folder: Path, work: Path) -> Path:
    """Compiles a cell with `folder` first on the path, in an empty working directory; returns where rnndsl was found."""
    (work / "cell.rnn").write_text(CELL)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", PROGRAM, "cell.rnn"], cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def copy_of_the_repository(to: Path) -> Path:
    """What git would check out, without its history."""
    to.mkdir()
    for name in ("rnndsl", "grammar", "templates", "examples"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, to / name)
    return to


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """What is published as the source."""
    folder = tmp_path_factory.mktemp("sdist")
    checkout = copy_of_the_repository(folder / "checkout")  # it keeps build/ and *.egg-info out of the repository
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, sdist) -> Path:
    """What pip makes of the source, without fetching anything."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder), str(sdist)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_source_holds_what_a_reader_needs(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "examples/gru.rnn", "examples/zoo/gru.rnn"} <= names
    assert sdist.name == f"rnndsl-{VERSION}.tar.gz"


def test_versions_are_one():
    extension = json.loads((ROOT / "grammar" / "vscode" / "package.json").read_text())
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert extension["version"] == VERSION and f"\nversion: {VERSION}\n" in citation and f"\n## {VERSION}\n" in changes


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {p.relative_to(ROOT).as_posix() for p in (ROOT / "rnndsl").rglob("*.py")}
    here |= {f"rnndsl/grammar/{p.name}" for p in (ROOT / "grammar").iterdir() if p.suffix in (".lark", ".rnn", ".toml")}
    here |= {f"rnndsl/templates/{p.relative_to(ROOT / 'templates').as_posix()}" for p in (ROOT / "templates").rglob("*.jinja")}
    here |= {f"rnndsl/runtime/cpp/{p.name}" for p in (ROOT / "rnndsl" / "runtime" / "cpp").iterdir()}
    here |= {f"rnndsl/devices/{p.name}" for p in (ROOT / "rnndsl" / "devices").glob("*.toml")}
    here |= {f"rnndsl/examples/zoo/{p.name}" for p in (ROOT / "examples" / "zoo").glob("*.rnn")}
    here |= {f"rnndsl/nn/{p.name}" for p in (ROOT / "rnndsl" / "nn").glob("*.rnn")}
    packed = {n for n in names if ".dist-info/" not in n}
    assert packed == here
    assert any(n.endswith("LICENSE") for n in names)


def test_installed_wheel_compiles(wheel, tmp_path):
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(target), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    found = compiles_from(target, tmp_path)
    assert found == target / "rnndsl" / "__init__.py"
    assert (target / "bin" / "rnndsl").exists() or (target / "Scripts").exists()


def test_installed_wheel_gives_pygments_its_lexer(wheel, tmp_path):
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    code = "from pygments.lexers import get_lexer_for_filename as f; lexer = f('a.rnn'); print(lexer.name, type(lexer).__module__)"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "rnn rnndsl.tools.editors.lexer\n", done.stderr


def test_bare_checkout_compiles(tmp_path):
    checkout = copy_of_the_repository(tmp_path / "checkout")
    assert compiles_from(checkout, tmp_path) == checkout / "rnndsl" / "__init__.py"


def test_every_requirement_is_pinned():
    """constraints.txt names whatever pyproject asks for, so that two installs are the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pinned = {line.split("==")[0].lower() for line in lines}
    assert all("==" in line for line in lines)
    assert {r.split(">")[0].strip().lower() for r in asked} <= pinned
