"""The examples do what they say, and the README and the language reference show what is so; test_documents.py runs their blocks."""

import inspect
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl import compiler
from rnndsl.api import read_source
from tests.forks import PYTHON

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.rnn"))
SIZES = {"D": 3, "H": 5, "N": 2, "K": 3, "V": 7, "B": 9, "L": 3}  # no two fit by accident where they should not
OTHER_SIZES = {"D": 1, "H": 1, "N": 1, "K": 1, "V": 1, "B": 1, "L": 1}


def by_name(path: Path) -> str:
    return path.stem


def cell_class(path: Path) -> type:
    """The class of an example; each example holds one cell."""
    (cell,) = compiler.compiled(read_source(path)).program.cells
    return getattr(rnndsl.load(path), cell.name)


def layer_of(path: Path, sizes: dict, dtype=torch.float64):
    cls = cell_class(path)
    torch.manual_seed(0)
    return cls(**{k: v for k, v in sizes.items() if k in inspect.signature(cls).parameters}, dtype=dtype)


def inputs_of(layer, batch: int, steps: int) -> list[torch.Tensor]:
    return [torch.randn(batch, steps, *shape, dtype=torch.float64, requires_grad=True) for _, shape, _ in layer._inputs]


def test_there_are_the_cells_of_the_readme():
    assert len(EXAMPLES) == 15


@pytest.mark.parametrize("path", EXAMPLES, ids=by_name)
def test_example_names_its_paper_and_checks_without_a_warning(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line for line in lines[: lines.index("")] if line.startswith("# ")]
    assert len(comment) == lines.index("") >= 2
    assert re.match(r"# [A-Z]\w+.* \d{4}\. ", comment[0])
    assert rnndsl.check(path) == []


@pytest.mark.one_in(3)
@pytest.mark.parametrize("path", EXAMPLES, ids=by_name)
@pytest.mark.parametrize("standalone", [False, True])
def test_module_text_is_deterministic_and_compiles(path, standalone):
    text = rnndsl.compile(path, standalone=standalone)
    assert text == rnndsl.compile(path.read_text(encoding="utf-8"), path.name, standalone=standalone)
    compile(text, path.name, "exec")


@pytest.mark.parametrize("path", EXAMPLES, ids=by_name)
@pytest.mark.parametrize(("sizes", "batch", "steps"), [(SIZES, 2, 7), (SIZES, 1, 1), (SIZES, 3, 0), (OTHER_SIZES, 1, 4)])
def test_example_runs_forward_and_backward(path, sizes, batch, steps):
    layer = layer_of(path, sizes)
    inputs = inputs_of(layer, batch, steps)
    y, state = layer(*inputs)
    outputs = y if isinstance(y, tuple) else (y,)
    for o in outputs:
        assert o.shape[:2] == (batch, steps) and o.dtype == torch.float64 and torch.isfinite(o).all()
    if steps:
        sum(o.square().sum() for o in outputs).backward()
        for name, value in [*layer.named_parameters(), *zip("xyz", inputs, strict=False)]:
            assert value.grad is not None and torch.isfinite(value.grad.abs()).all(), name
    again, _ = layer(*inputs, state=state)
    assert (again[0] if isinstance(again, tuple) else again).shape == outputs[0].shape


def test_digits_learn(tmp_path):
    script = ROOT / "examples" / "sequential_digits.py"
    command = [*PYTHON, str(script), "--quick"]
    done = subprocess.run(command, cwd=tmp_path, env=with_repository(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = [float(found) for found in re.findall(r"loss (\d+\.\d+)", done.stdout)]
    assert len(losses) == 2 and losses[1] < losses[0]
    assert (tmp_path / "sequential_digits.png").read_bytes().startswith(b"\x89PNG")


# The language model


LM = ROOT / "examples" / "language_model.py"
SMALL = "--cell MinGRU --dim 8 --layers 1 --length 12 --batch 4 --steps 6 --warmup 2 --every 3 --progress 2 --validation 300 --sample 5".split()


def text_of(folder: Path) -> str:
    path = folder / "some.txt"
    path.write_text("".join(chr(97 + i * i % 11) for i in range(3000)))
    return str(path)


def run_language_model(monkeypatch, *arguments: str) -> int:
    """Runs the example in this process. Returns its exit status."""
    monkeypatch.setattr(sys, "argv", [str(LM), *SMALL, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(LM), run_name="__main__")
    return ended.value.code


def run_until_step_2(monkeypatch, *arguments: str) -> None:
    """Runs the example, with somebody at the keyboard who types ctrl-C."""
    at = "torch.nn.utils.clip_grad_norm_"
    steps, clip = iter(range(1, 100)), torch.nn.utils.clip_grad_norm_
    with monkeypatch.context() as m:
        m.setattr(at, lambda *given: (clip(*given), next(steps) == 2 and signal.raise_signal(signal.SIGINT)))
        assert run_language_model(monkeypatch, *arguments) == 130


def saved(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def test_a_language_model_that_was_stopped_and_killed_is_the_unbroken_one(tmp_path, monkeypatch, capsys):
    """Bit by bit, dropout and the order of data too: stopped by ctrl-C after two steps, killed while it writes its second checkpoint, gone on with."""
    arguments = [text_of(tmp_path), "--dropout", "0.2", "--bf16", "--out"]
    picture = tmp_path / "curve.png"
    assert run_language_model(monkeypatch, *arguments, str(tmp_path / "whole"), "--plot", str(picture)) == 0
    shown = capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG") and "'The " in shown and re.search(r"perplexity \d+\.\d+, \d+\.\d+ bits a byte", shown)

    folder = tmp_path / "broken"
    run_until_step_2(monkeypatch, *arguments, str(folder))
    assert "stopped after step 2, which is saved" in capsys.readouterr().out and saved(folder)["step"] == 2
    killed = f"""import os, runpy, signal, sys, torch
real, sys.argv = torch.save, {[str(LM), *SMALL, *arguments, str(folder), "--resume"]!r}
def save(found, file):
    real(found, file)
    if found["step"] == 6: file.truncate(100); file.flush(); os.kill(os.getpid(), signal.SIGKILL)
torch.save = save
runpy.run_path(sys.argv[0], run_name="__main__")"""
    done = subprocess.run([*PYTHON, "-c", killed], env=with_repository(), capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL and saved(folder)["step"] == 3, done.stderr
    assert run_language_model(monkeypatch, *arguments, str(folder), "--resume") == 0
    one, other = saved(tmp_path / "whole"), saved(folder)
    assert len(one["losses"]) == 6 and one["losses"] == other["losses"] and one["validations"] == other["validations"]
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    capsys.readouterr()
    for wrong, words in {
        "--resume --lr 1": "was made with another lr",
        "": "is there already: go on from it with --resume",
        "--cell MinGURU": "did you mean MinGRU?",
        f"--cell {ROOT}/examples/lru.rnn:Nothing": "there is no cell Nothing in",
        "--prompt=": "--prompt: it is empty",
        "--length 5000": "too long for a text of 3000 bytes",
    }.items():
        assert run_language_model(monkeypatch, *arguments, str(folder), *wrong.split()) == 2 and words in capsys.readouterr().err


def test_a_language_model_learns_alike_in_one_process_and_in_two(tmp_path, monkeypatch):
    """Whole in each and split between them, from the checkpoint of one process."""
    text = text_of(tmp_path)
    assert run_language_model(monkeypatch, text, "--out", str(tmp_path / "one")) == 0
    run_until_step_2(monkeypatch, text, "--out", str(tmp_path / "ddp"))
    shutil.copytree(tmp_path / "ddp", tmp_path / "fsdp")
    for folder, how in (("ddp", []), ("fsdp", ["--fsdp"])):
        command = [*PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", *PYTHON, str(LM), *SMALL, text]
        done = subprocess.run([*command, "--out", str(tmp_path / folder), "--resume", *how], env=with_repository(), capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    one = saved(tmp_path / "one")
    assert one["losses"][-1] < one["losses"][0]
    for folder in ("ddp", "fsdp"):
        other = saved(tmp_path / folder)
        torch.testing.assert_close(other["losses"], one["losses"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(other["validations"], one["validations"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(other["model"], one["model"], rtol=1e-4, atol=1e-4)


def with_repository() -> dict[str, str]:
    """The environment, with this repository on the path."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


# Documents


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of one language, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [body for found, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M) if found == language]


def test_readme_opens_with_a_cell_of_eight_lines():
    cell = blocks("README.md", "")[0]
    assert cell.count("\n") == 8
    assert rnndsl.check(cell) == []


def test_readme_shows_a_real_error():
    (shown,) = [b for b in blocks("README.md", "") if b.startswith("error[")]
    with pytest.raises(rnndsl.RnnError) as caught:
        rnndsl.compile(WRONG_GRU, "gru.rnn")
    assert str(caught.value) == shown.rstrip("\n")


def test_readme_shows_a_real_page():
    (shown,) = [b for b in blocks("README.md", "") if "Component: c, h" in b]
    assert shown.rstrip("\n") in rnndsl.explain(ROOT / "examples" / "para_lstm.rnn").text


WRONG_GRU = """cell GRU(D, H):
  input x: [D]
  state h: [H]
  param W_z, W_r, W_n: [H, D]
  param R_z, R_r, R_n: [H, H]
  r = sigmoid(W_r @ x + R_r @ h[t-1])
  z = sigmoid(W_z @ x + R_z @ h[t-1])
  n = tanh(W_n @ x + R_n @ (r * x))
  h[t] = (1 - z) * n + z * h[t-1]
  output h
"""


@pytest.mark.parametrize("number", range(5))
def test_cells_of_the_reference_run(number):
    found = blocks("docs/language.md", "rnn")
    assert len(found) == 5
    text = found[number]
    assert rnndsl.check(text) == []
    (cell,) = compiler.compiled(rnndsl.Source("docs", text)).program.cells
    layer = getattr(rnndsl.load(text), cell.name)(**{n: SIZES[n] for n in cell.sizes})
    y, _ = layer(torch.randn(2, 6, 3))
    assert y.shape == (2, 6, 5)


def test_check_is_the_function_whatever_was_imported():
    code = "import rnndsl; rnndsl.check(''); import rnndsl.compiler; from rnndsl import check; rnndsl.check(''); check('')"
    done = subprocess.run([sys.executable, "-c", code], env=with_repository(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
