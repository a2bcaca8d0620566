"""Every command and flag, as a person at a terminal meets them."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rnndsl import cli
from rnndsl.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
GOOD = """cell Good(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param a: [H]
  h[t] = tanh(W @ x + a * h[t-1])
  output h
"""
WRONG = GOOD.replace("W @ x", "W @ y")
WARNS = GOOD.replace("param a: [H]", "param a, spare: [H]")
EMPTY = "# nothing yet\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with a few programs."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"good": GOOD, "wrong": WRONG, "warns": WARNS, "empty": EMPTY}.items():
        (tmp_path / f"{name}.rnn").write_text(text)
    return tmp_path


def give_input(monkeypatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def run(*arguments: str) -> int:
    """The exit status of a command line."""
    try:
        return cli.main(arguments)
    except SystemExit as e:
        return int(e.code or 0)


def program_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


# check


def test_check_says_nothing_of_a_good_program(folder, capsys):
    assert run("check", "good.rnn") == 0
    assert capsys.readouterr() == ("", "")


def test_check_accepts_a_file_without_a_cell(folder, capsys):
    (folder / "void.rnn").write_text("")
    assert run("check", "empty.rnn", "void.rnn") == 0
    assert capsys.readouterr() == ("", "")


def test_check_shows_an_error_and_counts_it(folder, capsys):
    assert run("check", "wrong.rnn") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error[undefined]: ")
    assert "--> wrong.rnn:6:19" in err
    assert err.endswith("\n1 error\n")


def test_check_names_a_file_as_it_was_given(folder, capsys):
    (folder / "cells").mkdir()
    (folder / "cells" / "bad.rnn").write_text(WRONG)
    assert run("check", "cells/bad.rnn") == 1
    assert f"--> {Path('cells/bad.rnn')}:6:19" in capsys.readouterr().err


def test_a_warning_is_no_error(folder, capsys):
    assert run("check", "warns.rnn") == 0
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("warning[unused]: ") and "error" not in err


def test_check_goes_on_after_a_wrong_program(folder, capsys):
    (folder / "worse.rnn").write_text(WRONG)
    assert run("check", "wrong.rnn", "good.rnn", "worse.rnn", "warns.rnn") == 1
    err = capsys.readouterr().err
    assert [line.split()[-1] for line in err.splitlines() if "-->" in line] == ["wrong.rnn:6:19", "worse.rnn:6:19", "warns.rnn:5:12"]
    assert err.endswith("\n2 errors\n")


def test_check_reads_standard_input(folder, capsys, monkeypatch):
    give_input(monkeypatch, GOOD)
    assert run("check", "-") == 0
    give_input(monkeypatch, WRONG)
    assert run("check", "-") == 1
    assert "--> <stdin>:6:19" in capsys.readouterr().err
    assert run("check", "-", "-") == 2
    assert "standard input" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "compile"])
def test_a_file_that_cannot_be_read_is_misuse(folder, capsys, command):
    assert run(command, "missing.rnn") == 2
    assert capsys.readouterr().err == "rnndsl: missing.rnn: no such file or directory\n"
    (folder / "cells").mkdir()
    assert run(command, "cells") == 2
    assert "cells: is a directory" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_misuse(folder, capsys):
    (folder / "good.rnn").chmod(0)
    assert run("check", "good.rnn") == 2
    assert "permission denied" in capsys.readouterr().err


def test_a_link_to_nothing_is_not_its_own_correction(folder, capsys):
    (folder / "goof.rnn").symlink_to("nowhere.rnn")
    assert run("check", "goof.rnn") == 2
    assert capsys.readouterr().err == "rnndsl: goof.rnn: no such file or directory; did you mean good.rnn?\n"


@pytest.mark.parametrize("arguments", [("check", ""), ("compile", "good.rnn", "-o", ""), ("export", "good.rnn", "--c", "-o", "out", "--weights", "")])
def test_what_a_script_left_empty_is_misuse(folder, capsys, arguments):
    assert run(*arguments) == 2
    assert "it is empty" in capsys.readouterr().err
    assert not (folder / "good.py").exists() and not (folder / "out").exists()


def test_without_arguments_all_of_the_help_is_shown(capsys):
    assert run() == 2
    assert "rnndsl new my_cell" in capsys.readouterr().err


def test_a_missing_file_hides_no_error(folder, capsys):
    assert run("check", "missing.rnn", "wrong.rnn") == 2
    err = capsys.readouterr().err
    assert "missing.rnn: no such file" in err and "--> wrong.rnn:6:19" in err


@pytest.mark.parametrize(("data", "word"), [(b"\xff\xfe\x00", "UTF-8"), (b"cell C(D):\n  input \xe9: [D]\n", "UTF-8")])
def test_bytes_that_are_no_text_are_an_error(folder, capsys, data, word):
    (folder / "bytes.rnn").write_bytes(data)
    assert run("check", "bytes.rnn") == 1
    assert word in capsys.readouterr().err


def test_any_newline_and_a_byte_order_mark_are_accepted(folder, capsys):
    (folder / "dos.rnn").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    (folder / "mac.rnn").write_bytes(GOOD.replace("\n", "\r").encode())
    assert run("check", "dos.rnn", "mac.rnn") == 0


# --json


def json_of(capsys) -> dict:
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_json_of_a_good_program(folder, capsys):
    assert run("check", "--json", "good.rnn") == 0
    assert json_of(capsys) == {"version": cli.JSON_VERSION, "diagnostics": []}


def test_json_schema(folder, capsys):
    assert run("check", "--json", "wrong.rnn", "warns.rnn") == 1
    data = json_of(capsys)
    assert set(data) == {"version", "diagnostics"}
    kinds = {"file": str, "severity": str, "code": str, "message": str, "label": str, "line": int, "column": int,
             "end_line": int, "end_column": int, "related": list, "notes": list, "hints": list}  # fmt: skip
    for d in data["diagnostics"]:
        assert {k: type(v) for k, v in d.items()} == kinds
    first, second = data["diagnostics"]
    assert (first["file"], first["severity"], first["code"]) == ("wrong.rnn", "error", "undefined")
    assert (first["line"], first["column"], first["end_line"], first["end_column"]) == (6, 19, 6, 20)
    assert (second["file"], second["severity"]) == ("warns.rnn", "warning")


def test_json_of_compile(folder, capsys):
    assert run("compile", "--json", "good.rnn", "wrong.rnn") == 1
    assert [d["file"] for d in json_of(capsys)["diagnostics"]] == ["wrong.rnn"]
    assert (folder / "good.py").exists()
    assert run("compile", "--json", "good.rnn", "-o", "-") == 2


# compile


def imported(path: Path) -> dict:
    scope: dict = {"__name__": "generated"}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    return scope


def test_compile_writes_beside_the_program(folder, capsys):
    (folder / "cells").mkdir()
    (folder / "cells" / "my-cell.rnn").write_text(GOOD)
    assert run("compile", "good.rnn", "cells/my-cell.rnn") == 0
    assert capsys.readouterr() == (f"wrote good.py\nwrote {Path('cells/my_cell.py')}\n", "")
    assert (folder / "good.py").read_text().startswith("# Made by rnndsl")
    y, state = imported(folder / "cells" / "my_cell.py")["Good"](3, 4)(torch.randn(2, 5, 3))
    assert y.shape == (2, 5, 4) and state.h.shape == (2, 4)


def test_compile_to_a_named_file(folder, capsys):
    (folder / "layers").mkdir()
    assert run("compile", "good.rnn", "-o", "layers/out.py") == 0
    assert (folder / "layers" / "out.py").exists() and not (folder / "good.py").exists()
    assert run("compile", "good.rnn", "warns.rnn", "-o", "both.py") == 2
    assert "-o names one file" in capsys.readouterr().err
    assert run("compile", "good.rnn", "-o", "nowhere/out.py") == 2
    assert run("compile", "good.rnn", "-o", "layers") == 2
    assert "is a directory" in capsys.readouterr().err


def test_compile_to_standard_output(folder, capsys, monkeypatch):
    assert run("compile", "good.rnn", "-o", "-") == 0
    printed = capsys.readouterr().out
    assert not (folder / "good.py").exists()
    run("compile", "good.rnn")
    assert printed == (folder / "good.py").read_text()
    give_input(monkeypatch, GOOD)
    capsys.readouterr()
    assert run("compile", "-") == 0
    from_stdin = capsys.readouterr().out
    assert from_stdin.split("\n", 1)[0].endswith("from <stdin>. Change the equations there, not here.")
    give_input(monkeypatch, GOOD)
    assert run("compile", "-", "-o", "piped.py") == 0
    assert (folder / "piped.py").read_text() == from_stdin


def test_compile_shows_warnings_and_goes_on(folder, capsys):
    assert run("compile", "warns.rnn") == 0
    assert "warning[unused]" in capsys.readouterr().err
    assert (folder / "warns.py").exists()


def test_compile_writes_nothing_for_a_wrong_program(folder, capsys):
    assert run("compile", "wrong.rnn", "good.rnn") == 1
    assert not (folder / "wrong.py").exists() and (folder / "good.py").exists()


def test_compile_says_that_there_is_no_cell(folder, capsys):
    (folder / "void.rnn").write_text("")
    for name in ("empty", "void"):
        assert run("compile", f"{name}.rnn") == 1
        assert "error[no-cell]: there is no cell to compile" in capsys.readouterr().err
        assert not (folder / f"{name}.py").exists()


def test_compile_overwrites_only_what_it_made(folder, capsys):
    assert run("compile", "good.rnn") == 0
    assert run("compile", "good.rnn") == 0
    (folder / "good.py").write_text("mine = 1\n")
    capsys.readouterr()
    assert run("compile", "good.rnn") == 2
    assert capsys.readouterr().err == "rnndsl: good.py exists and was not made by rnndsl; name another file with -o\n"
    assert run("compile", "good.rnn", "-o", "good.rnn") == 2
    assert (folder / "good.py").read_text() == "mine = 1\n" and (folder / "good.rnn").read_text() == GOOD
    (folder / "new.py").touch()
    assert run("compile", "good.rnn", "-o", "new.py") == 0


def test_two_programs_never_share_a_module(folder, capsys):
    for name in ("a-b", "a_b"):
        (folder / f"{name}.rnn").write_text(GOOD)
    assert run("compile", "a-b.rnn", "a_b.rnn") == 2
    assert "a_b.rnn: its module would overwrite that of a-b.rnn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "module"),
    [
        ("random.rnn", "random_.py"),
        ("class.rnn", "class_.py"),
        ("torch.rnn", "torch_.py"),
        ("2nd.rnn", "cell_2nd.py"),
        ("a b.rnn", "a_b.py"),
    ],
)
def test_a_module_has_a_name_that_python_can_import(folder, program, module):
    (folder / program).write_text(GOOD)
    assert run("compile", program) == 0
    assert (folder / module).exists()


def test_standalone_module_runs_without_rnndsl(folder):
    (folder / "good.rnn").write_text(GOOD.replace("param a: [H]", "param a: [H] in (0, 1)"))
    assert run("compile", "good.rnn", "--standalone") == 0
    code = """
import sys
sys.modules["rnndsl"] = None
import torch
from good import Good
layer = Good(3, 4)
y, state = layer(torch.randn(2, 5, 3))
y.sum().backward()
assert y.shape == (2, 5, 4) and layer.W.grad is not None
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# new


def test_new_cell_compiles_and_learns(folder, capsys):
    assert run("new", "my_cell") == 0
    assert capsys.readouterr().out == "wrote my_cell.rnn; next: rnndsl compile my_cell.rnn\n"
    assert run("check", "my_cell.rnn") == 0
    assert run("compile", "my_cell.rnn") == 0
    assert capsys.readouterr() == ("wrote my_cell.py\n", "")
    torch.manual_seed(0)
    layer = imported(folder / "my_cell.py")["MyCell"](D=3, H=8)
    x, goal = torch.randn(4, 6, 3), torch.randn(4, 6, 8)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    losses = []
    for _ in range(2):
        loss = ((layer(x)[0] - goal) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


@pytest.mark.parametrize(("name", "file", "cell"), [("gru2.rnn", "gru2.rnn", "Gru2"), ("my-own cell", "my-own cell.rnn", "MyOwnCell")])
def test_new_makes_a_class_name(folder, name, file, cell):
    assert run("new", name) == 0
    assert f"cell {cell}(D, H):" in (folder / file).read_text()


def test_new_overwrites_nothing(folder, capsys):
    assert run("new", "good") == 2
    assert (folder / "good.rnn").read_text() == GOOD
    assert "good.rnn exists already" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["3rd", "none", "...", "nowhere/cell", ".", "a\nb"])
def test_new_refuses_what_it_cannot_write(folder, capsys, name):
    assert run("new", name) == 2
    assert capsys.readouterr().err.startswith("rnndsl: ")


# the command itself


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"rnndsl {VERSION}\n"


@pytest.mark.parametrize("command", [(), ("compile",), ("check",), ("fmt",), ("lsp",), ("new",)])
def test_help_shows_examples(capsys, command):
    assert run(*command, "--help") == 0
    out = capsys.readouterr().out
    assert "example" in out
    assert f"  rnndsl {' '.join(command)}".rstrip() in out.split("example")[-1]


@pytest.mark.parametrize("arguments", [(), ("compile",), ("check",), ("fmt",), ("new",), ("compiel", "good.rnn"), ("check", "--colour", "good.rnn")])
def test_misuse_exits_with_2(folder, capsys, arguments):
    assert run(*arguments) == 2
    assert "usage: rnndsl" in capsys.readouterr().err


def test_python_m_rnndsl(folder):
    done = subprocess.run([sys.executable, "-m", "rnndsl", "--version"], env=program_env(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"rnndsl {VERSION}\n")


@pytest.mark.parametrize(("command", "unneeded"), [("check", {"torch", "sympy", "jinja2"}), ("compile", {"torch"})])
def test_a_command_imports_nothing_slow_that_it_does_not_need(folder, command, unneeded):
    code = f"import sys; from rnndsl.cli import main; main([{command!r}, 'good.rnn']); assert not {unneeded!r} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=program_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_output_is_utf8_whatever_the_terminal(folder):
    (folder / "greek.rnn").write_text(GOOD.replace("W", "Ω"), encoding="utf-8")
    (folder / "wrong_greek.rnn").write_text(GOOD.replace("W @ x", "Ω @ x"), encoding="utf-8")
    for arguments in (["compile", "greek.rnn", "-o", "-"], ["check", "wrong_greek.rnn"], ["check", "--json", "wrong_greek.rnn"]):
        environment = {**program_env(), "PYTHONIOENCODING": "ascii"}
        done = subprocess.run([sys.executable, "-m", "rnndsl", *arguments], cwd=folder, env=environment, capture_output=True)
        assert b"Traceback" not in done.stderr
        if "-o" in arguments:
            assert "Ω" in done.stdout.decode()


def test_no_colour_where_nobody_looks(folder, capsys):
    run("check", "wrong.rnn")
    assert "\033" not in capsys.readouterr().err


@pytest.mark.parametrize(("setting", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_on_a_terminal(folder, setting, coloured):
    main_end, terminal = pty.openpty()
    environment = {k: v for k, v in program_env().items() if k != "NO_COLOR"} | {"TERM": "xterm"} | setting
    command = [sys.executable, "-m", "rnndsl", "check", "wrong.rnn"]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, stdin=terminal, stdout=terminal, stderr=terminal)
    finally:
        os.close(terminal)
    shown = b""
    try:
        while part := os.read(main_end, 65536):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(main_end)
    assert done.returncode == 1
    assert b"undefined" in shown
    assert (b"\033[" in shown) == coloured


def test_a_closed_pipe_is_no_traceback(folder):
    (folder / "many.rnn").write_text("\n".join(GOOD.replace("Good", f"Good{i}") for i in range(80)))
    command = f"{sys.executable} -m rnndsl compile many.rnn -o - | head -n 1"
    done = subprocess.run(command, shell=True, cwd=folder, env=program_env(), capture_output=True, text=True)
    assert done.stdout.startswith("# Made by rnndsl") and done.stderr == ""
