"""What somebody meets who has never seen the commands: misspelt words, a narrow terminal, waiting, an interrupt, numbers of NumPy."""

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import rnndsl
from rnndsl import cli
from rnndsl.cli import progress, terminal
from rnndsl.runtime import notice
from rnndsl.tools.columns import of_width
from rnndsl.tools.verify.cell_report import CellReport, Line
from rnndsl.tools.verify.finding import FAIL, PASS, SKIP, Finding
from rnndsl.tools.verify.page import coloured, page
from tests.zoo_cells import ZOO

ROOT = Path(__file__).resolve().parent.parent
GRU = str(ROOT / "examples" / "gru.rnn")


def run(*arguments: str) -> int:
    """The exit status of a command line."""
    try:
        return cli.main(arguments)
    except SystemExit as e:
        return int(e.code or 0)


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}


def on_a_terminal(*arguments: str, columns: int, until: str = "nothing ends it", **more: str) -> str:
    """What a command shows on a terminal of a width, with line ends as in a file; it is ended where it has shown `until`."""
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen([sys.executable, "-m", "rnndsl", *arguments], env=environment(**more), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
            if until.encode() in shown:
                process.kill()
                break
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    process.wait(60)
    return shown.decode().replace("\r\n", "\n")


class Terminal:
    """A stream that says that it is a terminal."""

    def __init__(self) -> None:
        self.shown = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.shown += text

    def flush(self) -> None:
        pass


# Words


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("explian", "a.rnn"), "there is no command `explian`; did you mean `explain`?"),
        (("a.rnn",), "there is no command `a.rnn`; a command stands before the file, as in: rnndsl compile a.rnn"),
        (("xyz",), "there is no command `xyz`; there is compile, check"),
        (("compile", "a.rnn", "--dump", "kernals"), "there is no stage `kernals`; did you mean `kernels`?"),
        (("verify", "a.rnn", "--bakend", "cpu"), "there is no argument `--bakend`; did you mean `--backend`?"),
    ],
)
def test_what_is_misspelt_is_told_what_it_may_be(capsys, arguments, hint):
    assert run(*arguments) == 2
    assert hint in capsys.readouterr().err


def test_a_file_that_is_not_there_may_be_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("my_gru.rnn").write_text("# a cell\n")
    assert run("check", "my_gur.rnn") == 2
    assert "did you mean my_gru.rnn?" in capsys.readouterr().err


# Terminals


@pytest.mark.parametrize("columns", [60, 90])
def test_help_is_as_wide_as_the_terminal(columns):
    shown = on_a_terminal("bench", "--help", columns=columns)
    prose = shown.split("examples:")[0].splitlines()
    assert columns - 20 < max(map(len, prose)) < columns


def test_pages_are_as_wide_as_the_terminal():
    shown = on_a_terminal("explain", GRU, columns=64)
    assert max(len(line) for line in shown.splitlines() if " | " not in line and "∂" not in line and "=" not in line) <= 64
    assert max(map(len, shown.splitlines())) > 50


def test_a_page_in_a_file_has_one_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert run("explain", GRU) == 0
    narrow = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "200")
    assert run("explain", GRU) == 0
    assert capsys.readouterr().out == narrow


def report() -> CellReport:
    place = "y[b=1, t=11, h=32], which is a long place to name in one narrow line"
    found = [
        ("outputs", "cpu, float32 against the reference", Finding(PASS, 1e-7, 1e-6, place)),
        ("gradients", "cpu, float32, with a reset and a state that is carried on from another call", Finding(FAIL, 1.0, 1e-6, place, "", ("wrong: W",))),
        ("schedules", "newton", Finding(SKIP, notes=("there is nothing to compare",))),
    ]
    return CellReport("GRU", "gru.rnn", 4, {"D": 3, "H": 5}, 0, {"cpu": "CPU"}, [Line(check, what, finding, 0.1) for check, what, finding in found])


@pytest.mark.parametrize("columns", [64, 80, 118, 140])
def test_verdicts_fit_the_terminal(columns):
    with of_width(columns):
        lines = page(report()).splitlines()
    assert max(len(line) for line in lines if "where the error is largest" not in line) <= columns
    assert [line.split()[0] for line in lines if line[:4] in ("pass", "FAIL", "skip")] == ["pass", "FAIL", "skip"]
    assert "in one narrow line" in " ".join(" ".join(lines).split())


def test_verdicts_have_colours_of_their_own():
    shown = page(report(), coloured)
    colours = {word: re.search(rf"\033\[([\d;]+)m{word}", shown) for word in ("pass", "FAIL", "skip")}
    assert all(colours.values()) and len({m[1] for m in colours.values() if m}) == 3
    assert re.sub(r"\033\[[\d;]*m", "", shown) == page(report())


@pytest.mark.parametrize(
    ("settings", "on_terminal", "in_file"),
    [({}, True, False), ({"NO_COLOR": "1"}, False, False), ({"FORCE_COLOR": "1"}, True, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
     ({"NO_COLOR": ""}, True, False), ({"TERM": "dumb"}, False, False), ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True)],
)  # fmt: skip
def test_when_there_are_colours(monkeypatch, tmp_path, settings, on_terminal, in_file):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert terminal.has_colour(Terminal()) == on_terminal
    with open(tmp_path / "out", "w") as f:
        assert terminal.has_colour(f) == in_file


def test_errors_are_as_wide_as_the_terminal(tmp_path):
    path = tmp_path / "long.rnn"
    path.write_text("cell A(H):\n  input x: [H]\n  output y = " + " + ".join(["x"] * 40) + " + wrong\n")
    shown = on_a_terminal("check", str(path), columns=72, NO_COLOR="1")
    (line,) = [line for line in shown.splitlines() if line.startswith("3 |")]
    assert len(line) <= 72 and line.startswith("3 | …") and "wrong" in line


# Waiting


def test_something_is_shown_before_pytorch_is_there():
    shown = on_a_terminal("verify", GRU, columns=80, until="…")
    assert shown == "\r\033[Kimporting PyTorch …"


def test_a_build_is_told_on_a_terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with notice.notice("building"):
        assert stream.shown.endswith("building …")
    assert stream.shown.endswith("\r\033[K")
    monkeypatch.setattr(stream, "isatty", lambda: False)
    before = stream.shown
    with notice.notice("building"):
        assert stream.shown == before


def test_progress_keeps_to_its_line(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "width", lambda *_: 50)
    progress.Progress()("a task with a long name", "and a candidate with a long one", 0, 100)
    assert len(stream.shown.replace("\r\033[K", "")) == 49


def test_an_interrupt_in_the_first_second_is_no_traceback():
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys, rnndsl.cli as c; print('on', flush=True); sys.exit(c.main(['verify', sys.argv[1]]))", GRU],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "on\n"
    time.sleep(0.4)  # PyTorch is being imported
    for _ in range(50):  # what is being imported may swallow one
        process.send_signal(signal.SIGINT)
        if select.select([process.stderr], [], [], 0.5)[0]:  # another would end Python while it comes to its end
            break
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "rnndsl: interrupted\n")


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command(capsys, shell):
    pytest.importorskip("shtab")
    assert run("completion", shell) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("explain", "verify", "--picture"))


def test_completion_says_what_it_needs(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert run("completion", "bash") == 2
    assert 'pip install "rnndsl[completion]"' in capsys.readouterr().err


# Python


def test_sizes_may_be_numbers_of_numpy():
    found = rnndsl.explain(GRU, shape=(np.int64(4), np.int32(8)), sizes={"H": np.int64(7)})
    assert found.data == rnndsl.explain(GRU, shape=(4, 8), sizes={"H": 7}).data
    json.dumps(found.data)
    with pytest.raises(ValueError, match=r"size H: expected a whole number, got 7\.5"):
        rnndsl.explain(GRU, sizes={"H": 7.5})


# Our own files


def test_our_own_programs_are_in_the_canonical_style(capsys):
    programs = sorted(str(p) for folder in ("examples", "rnndsl", "grammar") for p in (ROOT / folder).rglob("*.rnn"))
    assert len(programs) > len(ZOO)
    assert run("fmt", "--check", *programs) == 0, capsys.readouterr().out


def test_the_digits_example_leaves_no_file_that_git_sees():
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    ignored = subprocess.run(["git", "check-ignore", "sequential_digits.png"], cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.strip() == "sequential_digits.png"
    assert subprocess.run(["git", "check-ignore", "docs/pictures/a.png", "examples/sequential_digits.py"], cwd=ROOT, capture_output=True).returncode == 1
