"""The package works however it got there: a wheel, an editable install, a bare checkout."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CELL = "cell C(D, H):\n  input x: [D]\n  state h: [H]\n  param W: [H, D]\n  h[t] = tanh(W @ x) + 0.5 * h[t-1]\n  output h\n"
# Compiles a cell both ways from what is found on the path, and says where that was.
PROGRAM = """
import sys, rnndsl
text = rnndsl.compile(sys.argv[1])
alone = rnndsl.compile(sys.argv[1], standalone=True)
assert "class C(Layer)" in text and "from rnndsl" in text
assert "class C(Layer)" in alone and "from rnndsl" not in alone and "class Layer(" in alone
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
    for name in ("rnndsl", "grammar", "templates"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to / name)
    return to


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    checkout = copy_of_the_repository(folder / "checkout")
    # no isolation: nothing is fetched; the copy keeps build/ and *.egg-info out of the repository
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {p.relative_to(ROOT).as_posix() for p in (ROOT / "rnndsl").rglob("*.py")}
    here |= {f"rnndsl/grammar/{p.name}" for p in (ROOT / "grammar").iterdir() if p.suffix in (".lark", ".rnn", ".toml")}
    here |= {f"rnndsl/templates/{p.relative_to(ROOT / 'templates').as_posix()}" for p in (ROOT / "templates").rglob("*.jinja")}
    here |= {f"rnndsl/runtime/cpp/{p.name}" for p in (ROOT / "rnndsl" / "runtime" / "cpp").iterdir()}
    here |= {f"rnndsl/devices/{p.name}" for p in (ROOT / "rnndsl" / "devices").glob("*.toml")}
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
