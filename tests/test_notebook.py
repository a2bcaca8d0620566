"""The cell magic %%rnn, with a shell that stands for IPython's and with IPython itself."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import rnndsl
from rnndsl.cli.parser import parser
from rnndsl.tasks import tasks_of
from rnndsl.tools import Unfit
from rnndsl.tools.editors import notebook

ROOT = Path(__file__).resolve().parent.parent
CELL = """cell Para(D, H):
  "Less < more."
  input x: [D]
  state h: [H]
  param W: [H, D]
  param a: [H]
  h[t] = tanh(W @ x + a * h[t-1])
  output h
"""
WRONG = CELL.replace("W @ x", "W @ y")
WARNS = CELL.replace("param a", "param a, spare")


class Shell:
    """What %%rnn uses of IPython's shell."""

    def __init__(self, colors: str = "NoColor"):
        self.colors = colors
        self.shown: list[dict[str, str]] = []
        self.names: dict[str, Any] = {}
        self.display_pub = SimpleNamespace(publish=self.shown.append)
        self.magics: dict[tuple[str, str], Callable[[str, str], None]] = {}
        rnndsl.load_ipython_extension(self)

    def register_magic_function(self, function: Callable, magic_kind: str, magic_name: str) -> None:
        self.magics[magic_kind, magic_name] = function

    def push(self, names: dict[str, Any]) -> None:
        self.names |= names

    def __call__(self, line: str, cell: str) -> None:
        self.magics["cell", "rnn"](line, cell)


def test_a_cell_becomes_a_class_of_the_notebook():
    shell = Shell()
    shell("", CELL)
    assert set(shell.names) == {"Para"}
    layer = shell.names["Para"](D=3, H=4)
    y, _ = layer(torch.randn(2, 5, 3))
    assert y.shape == (2, 5, 4) and "Para(D, H)" in layer._repr_html_()


def test_equations_and_the_page_are_shown():
    shell = Shell()
    shell("", CELL)
    equations, page = shell.shown
    assert set(equations) == {"text/latex"} and r"h_{t} &= \tanh" in equations["text/latex"]
    assert set(page) == {"text/html", "text/plain"}
    assert ET.fromstring(page["text/html"]).findtext("h4") == "Para(D, H)  %%rnn:2"
    assert "Less &lt; more." in page["text/html"] and "diagonal, because" in page["text/html"]
    assert "Equations" not in page["text/html"] and "Equations" in page["text/plain"]
    assert page["text/plain"].replace("%%rnn:2", "a:1").startswith("Para(D, H)  a:1")


def test_several_cells_are_shown_one_after_the_other():
    shell = Shell()
    shell("", f"def f(v) = tanh(v)\n{CELL}{CELL.replace('Para', 'Other').replace('tanh(', 'f(')}")
    assert set(shell.names) == {"Para", "Other"}
    assert [next(iter(s)) for s in shell.shown] == ["text/latex", "text/html"] * 2
    assert "Other" in shell.shown[3]["text/html"] and "Para" not in shell.shown[3]["text/html"]


@pytest.mark.parametrize("line", ["-q", "--quiet"])
def test_quiet_binds_alone(line):
    shell = Shell()
    shell(line, CELL)
    assert shell.shown == [] and set(shell.names) == {"Para"}


def test_shape_and_sizes():
    shell = Shell()
    shell("--shape 8,4096 --size H=256 D=64", CELL)
    assert "8" in shell.shown[1]["text/plain"] and "4096" in shell.shown[1]["text/plain"]
    assert shell.shown[1]["text/plain"] == rnndsl.explain("\n" + CELL, name="%%rnn", shape=(8, 4096), sizes={"H": 256, "D": 64}).text


def test_the_same_cell_run_again_gives_the_same_class():
    shell = Shell()
    shell("", CELL)
    first = shell.names["Para"]
    shell("-q", CELL)
    assert shell.names["Para"] is first


def test_a_wrong_program_is_an_error_without_a_traceback():
    shell = Shell()
    with pytest.raises(rnndsl.RnnError) as caught:
        shell("", WRONG)
    shown = "\n".join(caught.value._render_traceback_())
    assert shown.startswith("error[undefined]: `y` is not defined\n --> %%rnn:8:19\n")  # the line in the notebook's cell
    assert shown.rstrip() == str(caught.value) and caught.value.__suppress_context__
    assert shell.shown == [] and shell.names == {}


def test_errors_have_colours_where_the_shell_has():
    with pytest.raises(rnndsl.RnnError) as caught:
        Shell("Linux")("", WRONG)
    assert "\n".join(caught.value._render_traceback_()).startswith("\033[1;31merror[undefined]")


def test_a_warning_is_shown_and_the_class_made(capsys):
    shell = Shell()
    shell("", WARNS)
    assert capsys.readouterr().err.startswith("warning[unused]: `spare` is never used\n --> %%rnn:7:12\n")
    assert set(shell.names) == {"Para"} and len(shell.shown) == 2


def test_a_program_without_a_cell():
    with pytest.raises(rnndsl.RnnError) as caught:
        Shell()("", "def f(v) = v\n")
    assert "no-cell" in caught.value._render_traceback_()[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--shape 3", "%%rnn: --shape 3: give sequences and steps"),
        ("--size H", "%%rnn: --size H: give a name"),
        ("--size Q=3", "%%rnn: there is no size Q; there is D, H"),
        ("--loud", "%%rnn: unrecognized arguments: --loud"),
        ("'", "%%rnn: No closing quotation"),
    ],
)
def test_misuse_is_said_without_a_traceback(line, said):
    shell = Shell()
    with pytest.raises(Unfit) as caught:
        shell(line, CELL)
    assert "\n".join(caught.value._render_traceback_()).startswith(said)
    assert shell.shown == [] and shell.names == {}


def test_text_that_looks_like_a_path_is_a_program():
    with pytest.raises(rnndsl.RnnError):
        Shell()("", "a.rnn")


SESSION = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

shell = InteractiveShell.instance()
told = []
for text in json.load(sys.stdin):
    with capture_output() as out:
        done = shell.run_cell(text)
    told.append([done.success, out.stdout, out.stderr, [sorted(o.data) for o in out.outputs]])
print(json.dumps(told))
"""


def test_in_ipython(tmp_path):
    pytest.importorskip("IPython")
    inputs = ["%load_ext rnndsl", f"%%rnn\n{CELL}", f"%%rnn -q\n{WRONG}", f"%%rnn --loud\n{CELL}", "type(Para(D=2, H=3)).__name__", "%%rnn?"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SESSION], input=json.dumps(inputs), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded, good, wrong, misuse, made, described = json.loads(done.stdout.splitlines()[-1])
    assert loaded[0] and good[0] and good[3] == [["text/latex"], ["text/html", "text/plain"]]
    for failed, said in ((wrong, "is not defined"), (misuse, "unrecognized arguments: --loud")):
        assert not failed[0] and said in failed[1] and "Traceback" not in failed[1] + failed[2]
    assert made[0] and "'Para'" in made[1] and described[0]


def test_nothing_else_imports_ipython():
    code = "import sys, rnndsl.tools.editors.notebook, rnndsl.cli; assert 'IPython' not in sys.modules and 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert notebook.NAME == "%%rnn"


NOTEBOOKS = sorted((ROOT / "examples").rglob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_of_the_examples_have_run(path):
    """What takes minutes is not run again: each cell is Python, or a command whose files are there, and shows what it gave."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    assert code and all(c["outputs"] for c in cells if c["cell_type"] == "code")
    for text in code:
        if text.startswith("!rnndsl explore "):
            options = parser().parse_args(text.removeprefix("!rnndsl ").split())
            assert all((path.parent / name).is_file() for name in options.cells)
            assert [t.name for name in options.task.split(",") for t in tasks_of(name)]
        else:
            compile(text, path.name, "exec")
