"""`rnndsl bench`: what it prints and saves, whom it takes for the same cell, and what its figures are made of. No timing is asserted."""

import json
import os
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl import api, cli, compiler
from rnndsl.cli.progress import Progress
from rnndsl.diagnostics import Source
from rnndsl.runtime.call import Call
from rnndsl.runtime.ops import scan
from rnndsl.tools.bench import candidates, measure, peers, ranks
from rnndsl.tools.bench.bound import copy_call, moved_bytes, stored_bytes
from rnndsl.tools.bench.limit import TookTooLong, time_limit
from rnndsl.tools.bench.measure import Timing, race
from rnndsl.tools.bench.report import bytes_text, percent_text, seconds_text, table, times_text
from rnndsl.tools.bench.run import COPY, Entry, Group, run
from rnndsl.tools.bench.settings import Settings
from rnndsl.tools.bench.subject import Subject, make_layer
from tests.forks import PYTHON

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
TINY = ("--shape", "2,6", "--size", "D=3", "H=4", "--repeats", "2", "--backends", "")
CELL = """cell C(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param a: [H]
  h[t] = tanh(W @ x + a * h[t-1])
  output h
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The copy that no cache holds is a small one here, samples are short, and nobody looks at other programs for long."""
    monkeypatch.setattr("rnndsl.tools.bench.machine.LOOK", 0.0)
    monkeypatch.setattr("rnndsl.tools.bench.run.LARGE", 1 << 16)
    monkeypatch.setattr("rnndsl.tools.bench.measure.SAMPLE", 1e-4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with a few programs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.rnn").write_text(CELL)
    (tmp_path / "two.rnn").write_text(CELL + CELL.replace("cell C", "cell E"))
    (tmp_path / "wrong.rnn").write_text(CELL.replace("W @ x", "W @ y"))
    return tmp_path


def bench(*arguments: str) -> int:
    try:
        return cli.main(["bench", *arguments])
    except SystemExit as e:
        return int(e.code or 0)


def parts(text: str):
    """The one cell of a program, and a small layer."""
    (cell,) = compiler.compiled(Source("c.rnn", text)).program.cells
    layer = getattr(rnndsl.load(text), cell.name)(**dict.fromkeys(cell.sizes, 4))
    return cell, layer


# What is printed


def test_the_table(folder, capsys):
    assert bench("c.rnn", *TINY, "--against", "loop,nn") == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    lines = [line for line in lines if not line.startswith("Mind: ")]
    assert lines[0] == "C (c.rnn), float32, 2 sequences of 6 steps, D = 3, H = 4"
    assert f"torch {torch.__version__}" in lines[1] and f"rnndsl {rnndsl.__version__}" in lines[1]
    titles = ["Recurrence, forward", "Recurrence, forward and backward", "Layer, forward", "Layer, forward and backward", "One step, B = 1", "One step, B = 2"]
    assert [t for line in lines for t in titles if line.startswith(t + "  ")] == titles
    assert sum(line.startswith("  loop") for line in lines) == 6 and out.count("1.0x") == 6
    assert sum(line.startswith("  bound: ") for line in lines) == 2
    assert "  nn: not the same cell" in out
    assert all(line == line.rstrip() for line in lines)


def test_our_backends_come_first():
    group = Group(candidates.Task("layer", "forward", 1))
    for name, ours, seconds in [("loop", False, 4.0), ("nn", False, 0.5), ("cpu newton", True, 3.0), ("cpu", True, 2.0), (COPY, False, 0.1), ("late", False, None)]:
        group.entries[name] = Entry(name, "", ours, None, Timing(1, [seconds] if seconds else []))
    assert [e.name for e in group.measured()] == ["cpu", "cpu newton", "nn", "loop", COPY]
    assert group.ratio(group.entries["cpu"]) == 2.0 and group.of_bound(group.entries["cpu"]) == 0.05
    assert group.ratio(group.entries["late"]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(5.53e-4, "553 µs"), (0.0401, "40.1 ms"), (1.234, "1.23 s"), (85e-9, "85.0 ns"), (0.9996, "1.00 s"), (9.996e-3, "10.0 ms"), (0.09996, "100 ms")],
)
def test_seconds_are_shown_in_fitting_units(value, text):
    assert seconds_text(value) == text


def test_a_busy_machine_is_told(folder, capsys, monkeypatch):
    arguments = ("c.rnn", *TINY, "--against", "loop", "--scope", "layer", "--direction", "forward")
    for cores, told in [(1.2, True), (0.1, False), (None, False)]:
        monkeypatch.setattr("rnndsl.tools.bench.machine.busy", lambda cores=cores: cores)
        assert bench(*arguments) == 0
        assert ("Mind: other programs kept 1.2 of" in capsys.readouterr().out) == told


def test_other_figures():
    assert (bytes_text(12_582_912), bytes_text(950), bytes_text(4.1e10)) == ("12.6 MB", "950 B", "41.0 GB")
    assert [times_text(v) for v in (41.2, 1.0, 0.52, 0.052, None)] == ["41x", "1.0x", "0.52x", "0.052x", "-"]
    assert [percent_text(v) for v in (0.41, 0.052, 0.001, None)] == ["41 %", "5.2 %", "0.10 %", "-"]


def test_a_sweep_is_a_table_a_task(folder, capsys):
    assert bench("c.rnn", *TINY, "--against", "loop", "--over", "T=8,2,4") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "C (c.rnn), float32, 2 sequences, D = 3, H = 4"
    assert sum(line.split() == ["Layer,", "forward", "T", "=", "2", "T", "=", "4", "T", "=", "8"] for line in out.splitlines()) == 1
    steps = [line for line in out.splitlines() if line.startswith("One step")]
    assert len(steps) == 2 and all(line.endswith("T = 2") for line in steps), "a step is the same at any length"
    assert bench("c.rnn", *TINY, "--against", "loop", "--over", "H=2,3", "--scope", "layer") == 0
    out = capsys.readouterr().out
    assert out.startswith("C (c.rnn), float32, 2 sequences of 6 steps, D = 3\n") and "H = 2" in out
    assert bench("c.rnn", *TINY, "--against", "loop", "--over", "B=1,2", "--scope", "layer", "--direction", "forward") == 0
    assert capsys.readouterr().out.startswith("C (c.rnn), float32, sequences of 6 steps, D = 3, H = 4\n")


# --json


def json_of(capsys) -> dict:
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_json_holds_everything(folder, capsys):
    assert bench("c.rnn", *TINY, "--against", "loop,nn", "--json") == 0
    data = json_of(capsys)
    assert {k: data[k] for k in ("version", "program", "cell", "dtype", "over", "interrupted")} == {
        "version": 1, "program": "c.rnn", "cell": "C", "dtype": "float32", "over": None, "interrupted": False,
    }  # fmt: skip
    assert set(data["machine"]) == {"processor", "cores", "threads", "busy", "system", "python", "torch", "triton", "rnndsl"}
    assert data["memory_copy"]["bytes_moved"] > 0 and data["memory_copy"]["seconds"]
    (point,) = data["points"]
    assert (point["B"], point["T"], point["sizes"]) == (2, 6, {"D": 3, "H": 4})
    assert [(t["scope"], t["direction"], t["B"]) for t in point["tasks"]] == [
        ("recurrence", "forward", 2), ("recurrence", "both", 2), ("layer", "forward", 2), ("layer", "both", 2), ("step", "forward", 1), ("step", "forward", 2),
    ]  # fmt: skip
    for task in point["tasks"]:
        assert task["absent"]["nn"].startswith("not the same cell")
        by_name = {c["name"]: c for c in task["candidates"]}
        assert set(by_name) == ({"loop", COPY} if task["scope"] == "recurrence" else {"loop"})
        for c in by_name.values():
            assert len(c["seconds"]) == 2 and all(s > 0 for s in c["seconds"]) and c["calls_a_sample"] >= 1
            assert c["median"] == statistics.median(c["seconds"]) and c["quartiles"][0] <= c["median"] <= c["quartiles"][1]
            assert c["times_faster_than_loop"] == by_name["loop"]["median"] / c["median"]
            assert c["of_bound"] == (by_name[COPY]["median"] / c["median"] if COPY in by_name else None)
        assert by_name["loop"]["gap"] == 0.0 and by_name["loop"]["ours"] is False


def test_choices_are_kept_to(folder, capsys):
    assert bench("c.rnn", *TINY, "--against", "loop", "--direction", "both", "--scope", "layer", "--dtype", "float64", "--threads", "1", "--json") == 0
    data = json_of(capsys)
    (task,) = data["points"][0]["tasks"]
    assert (task["scope"], task["direction"], data["dtype"], data["machine"]["threads"]) == ("layer", "both", "float64", 1)


def test_sizes_that_are_not_given(folder, capsys):
    (folder / "heads.rnn").write_text((EXAMPLES / "gated_delta_net.rnn").read_text())
    assert bench("heads.rnn", "--shape", "1,2", "--size", "K=3", "--repeats", "1", "--backends", "", "--against", "loop", "--scope", "layer", "--json") == 0
    assert json_of(capsys)["points"][0]["sizes"] == {"D": 64, "N": 4, "K": 3, "V": 64}


# Timing


def test_candidates_are_timed_in_turn():
    order: list[str] = []
    calls = {n: (lambda n=n: order.append(n)) for n in "abc"}
    timings = {n: Timing() for n in "abc"}
    ticks: list[tuple] = []
    with pytest.MonkeyPatch.context() as m:
        m.setattr(measure, "SAMPLE", 1e-9)
        race(calls, timings, 3, lambda *t: ticks.append(t))
    assert "".join(order) == "abc" * 4
    assert all(len(t.seconds) == 3 and t.calls == 1 for t in timings.values())
    assert ticks[0] == ("a", 0, 0) and ticks[-1] == ("c", 2, 3)


def test_quick_calls_are_timed_several_at_a_time(monkeypatch):
    monkeypatch.setattr(measure, "SAMPLE", 0.004)
    timings = {"quick": Timing(), "slow": Timing()}
    race({"quick": lambda: None, "slow": lambda: time.sleep(0.005)}, timings, 1, lambda *t: None)
    assert timings["quick"].calls > 100 and timings["slow"].calls == 1


def test_slow_candidates_end_the_rounds_early(monkeypatch):
    monkeypatch.setattr(measure, "PATIENCE", 0.0)
    timings = {"a": Timing()}
    race({"a": lambda: None}, timings, None, lambda *t: None)
    assert len(timings["a"].seconds) == measure.FEWEST


def test_quartiles():
    assert Timing(1, [3.0]).quartiles == (3.0, 3.0)
    assert Timing(1, [1.0, 2.0, 3.0, 4.0, 5.0]).quartiles == (2.0, 4.0)


# The bound


def test_bytes_of_a_known_case():
    streams = (torch.zeros(4, 1024, 768),)
    states = (torch.zeros(4, 1024, 256),)
    s, h = 4 * 1024 * 768 * 4, 4 * 1024 * 256 * 4
    assert moved_bytes(streams, states, "forward") == s + h
    assert moved_bytes(streams, states, "both") == (s + h) + (s + h + h + s)
    assert stored_bytes([torch.zeros(5, 1, dtype=torch.float64).expand(5, 7)]) == 40
    assert stored_bytes([torch.zeros(2, 3, 8)[:, :, :4]]) == 96


def test_the_bound_of_a_layer():
    cell, _ = parts(CELL)
    result = run("c.rnn", cell, rnndsl.load(CELL).C, Settings(2, 5, {"D": 3, "H": 4}, against=("loop",), backends=(), scopes=("recurrence",), repeats=1), lambda *t: None)
    forward, both = result.points[0].groups
    assert forward.moved == 2 * (2 * 5 * 4 * 4), "one stream and one state"
    assert both.moved == 3 * forward.moved
    assert forward.of_bound(forward.entries["loop"]) == forward.entries[COPY].timing.median / forward.entries["loop"].timing.median


def test_a_copy_moves_that_many_bytes():
    assert copy_call(1024, torch.device("cpu"))().nbytes == 512


# The recurrence


def test_what_goes_into_a_recurrence_is_run_again():
    (cell,) = compiler.compiled(api.read_source(EXAMPLES / "para_lstm.rnn")).program.cells
    layer = make_layer(cell, rnndsl.load(EXAMPLES / "para_lstm.rnn").ParaLSTM, {"D": 3, "H": 4}, "float64")
    subject = Subject(cell, layer, 2, 7)
    (r,) = subject.recurrences
    assert r.call.steps == 7 and all(s.shape[:2] == (2, 7) for s in (*r.call.streams, *r.states))
    assert "_scan" not in vars(layer), "the layer is as it was"
    loop = candidates.loop(subject)
    states = loop.call(candidates.Task("recurrence", "forward", 2))()
    y, _ = layer(*subject.inputs)
    assert any(torch.equal(s, y) for s in states)
    gradients = loop.call(candidates.Task("recurrence", "both", 2))()
    assert [g.shape for g in gradients] == [t.shape for t in (*r.call.streams, *r.call.statics)]


class Slow(torch.nn.Module):
    """A layer made by hand, with the method that generated layers have."""

    _fields, _tensors, _inputs = [("h", (4,), "real")], {}, [("x", (4,), False)]

    def _own_dtype(self):
        return torch.float32

    def _own_device(self):
        return torch.device("cpu")

    def forward(self, x):
        first = (x.new_zeros(x.shape[0], 4),)
        (h,), last, _ = self._scan("h", Call((x,), (x.new_ones(4),), first, (x.new_zeros(4),), None, x.shape[1]), {})
        return h, last

    def _scan(self, name, call, kind):
        (a,) = call.statics
        return *scan(lambda h, x: (torch.tanh(a * h + x),), call.streams, call.first, call.initial, call.reset, 1, call.steps), ()

    def _follow(self, *_):
        return ()


def test_a_compiled_step_is_looped_over(monkeypatch):
    compiled: list[dict] = []

    def fake(function, **options):
        compiled.append(options)
        return function

    monkeypatch.setattr(torch, "compile", fake)
    subject = Subject(None, Slow(), 2, 5)  # type: ignore[arg-type]
    for task in (candidates.Task(scope, d, 2) for scope in ("recurrence", "layer") for d in ("forward", "both")):
        expected = candidates.loop(subject).call(task)()
        got = candidates.Compiled(subject).call(task)()
        assert candidates.gap(got, expected) < 1e-6 and all(o["fullgraph"] for o in compiled)
    assert len(compiled) == 4


def test_how_far_numbers_are_apart():
    inf, nan = float("inf"), float("nan")
    for got, expected, far in [
        ([1.0, 2.0], [1.0, 4.0], 0.4), ([inf, 1.0], [inf, 1.0], 0.0), ([nan, 1.0], [nan, 1.0], 0.0),
        ([nan, 1.0], [1.0, 1.0], inf), ([1.0, 1.0], [nan, 1.0], inf), ([-inf, 1.0], [inf, 1.0], inf),
    ]:  # fmt: skip
        assert candidates.gap((torch.tensor(got), None), (torch.tensor(expected), None)) == pytest.approx(far)


# Candidates that are not there, or fail


def test_a_failing_candidate_is_reported(folder, capsys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no C++ compiler was found\nand more")

    monkeypatch.setattr(torch, "compile", fail)
    assert bench("c.rnn", *TINY, "--against", "loop,compile", "--scope", "layer,step") == 0
    out = capsys.readouterr().out
    assert "  compile: failed: RuntimeError: no C++ compiler was found\n" in out
    assert "  loop" in out


def test_a_candidate_that_takes_too_long_is_given_up():
    slept = False
    with pytest.raises(TookTooLong, match="more than 0.05 s"), time_limit(0.05):
        time.sleep(5)
        slept = True
    assert not slept
    with pytest.raises(TookTooLong), time_limit(0.05):
        try:
            time.sleep(5)
        except TookTooLong:
            raise ValueError("wrapped by a library") from None
    with pytest.raises(ValueError), time_limit(60):
        raise ValueError
    with time_limit(None):
        pass


def test_absent_backends_say_why(folder, capsys):
    assert bench("c.rnn", *TINY[:-1], "triton", "--against", "loop", "--scope", "layer", "--direction", "forward") == 0
    assert "  triton: 'triton' runs on a GPU, but" in capsys.readouterr().out


def test_pararnn_is_optional(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pararnn", None)
    assert bench("c.rnn", *TINY, "--against", "loop,pararnn", "--scope", "layer", "--direction", "forward") == 0
    assert "  pararnn: not installed\n" in capsys.readouterr().out


def test_pararnn_gives_the_same_numbers():
    pytest.importorskip("pararnn", reason="pararnn-torch is not installed; what is done without it is tested above")
    for name in ("para_gru", "para_lstm"):
        (cell,) = compiler.compiled(api.read_source(EXAMPLES / f"{name}.rnn")).program.cells
        settings = Settings(2, 12, {"D": 3, "H": 4}, against=("loop", "pararnn"), backends=(), repeats=1)
        result = run(name, cell, getattr(rnndsl.load(EXAMPLES / f"{name}.rnn"), cell.name), settings, lambda *t: None)
        assert all("pararnn" in g.entries for g in result.points[0].groups)


def test_ctrl_c_prints_what_there_is(folder, capsys, monkeypatch):
    samples = 0

    def interrupted(call, calls):
        nonlocal samples
        samples += 1
        if samples > 12:
            raise KeyboardInterrupt
        call()
        return 0.001

    monkeypatch.setattr(measure, "_seconds", interrupted)
    assert bench("c.rnn", *TINY, "--against", "loop") == 130
    out = capsys.readouterr().out
    assert "Recurrence, forward" in out and "Layer" not in out and out.endswith("measured until then.\n")


def test_a_wrong_backend_is_told():
    result = run("c.rnn", parts(CELL)[0], rnndsl.load(CELL).C, Settings(1, 2, {"D": 2, "H": 2}, against=("loop",), backends=(), scopes=("layer",), repeats=1), lambda *t: None)
    entry = result.points[0].groups[0].entries["loop"]
    entry.gap = 0.5
    assert "its numbers differ from the loop's by 5e-01" in table(result)


# Whose cell it is

GRU = (EXAMPLES / "gru.rnn").read_text()
LSTM = (EXAMPLES / "lstm.rnn").read_text()
SPLIT_LSTM = """cell L(D, H):
  input u: [D]
  state out, mem: [H]
  param A_i, A_f, A_g, A_o: [H, D]
  param B_i, B_f, B_g, B_o: [H, H]
  param e_i, e_f, e_g, e_o: [H]
  keep = sigmoid(e_f + B_f @ out[t-1] + A_f @ u)
  take = sigmoid(A_i @ u + B_i @ out[t-1] + e_i)
  new = tanh(A_g @ u + B_g @ out[t-1] + e_g)
  m = take * new + mem[t-1] * keep
  mem[t] = m
  out[t] = tanh(m) * sigmoid(A_o @ u + B_o @ out[t-1] + e_o)
  output y = out[t]
"""
RENAMED_GRU = """cell MyCell(I, S):
  input u: [I]
  state s: [S]
  param A, B, C: [S, I]
  param P, Q, R: [S, S]
  param one, two, three, four: [S]
  keep = sigmoid(two + B @ u + Q @ s[t-1])
  reset = sigmoid(P @ s[t-1] + A @ u + one)
  s[t] = keep * s[t-1] + (1 - keep) * tanh(reset * (four + R @ s[t-1]) + C @ u + three)
  output s
"""
TORCH_CELLS = {
    "gru renamed": (RENAMED_GRU, "GRU"),
    "gru without biases": (GRU.replace(" + b_r", "").replace(" + b_z", "").replace(" + b_n", "").replace(" + c_n", ""), "GRU"),
    "gru as torch documents it": (GRU.replace(" + b_r)", " + b_r + c_r)").replace(" + b_z)", " + b_z + c_z)").replace("c_n: [H]", "c_r, c_z, c_n: [H]"), "GRU"),
    "lstm": (LSTM, "LSTM"),
    "lstm in four": (SPLIT_LSTM, "LSTM"),
    "elman": ((EXAMPLES / "elman.rnn").read_text(), "RNN"),
}


@pytest.mark.parametrize("name", TORCH_CELLS)
def test_torchs_cells_are_recognised(name):
    text, kind = TORCH_CELLS[name]
    cell, layer = parts(text)
    layer = layer.double()
    found = peers.recognised(cell, layer, peers.TORCH)
    assert found is not None and found[0] == kind
    theirs, _ = peers.torch_modules(*found)
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    assert torch.allclose(theirs(x)[0], layer(x)[0], atol=1e-12)


OTHERS = {
    "a changed equation": GRU.replace("(1 - z) * n + z * h[t-1]", "(1 - z) * h[t-1] + z * n"),
    "another gate": GRU.replace("n = tanh", "n = sigmoid"),
    "a reset before the product": GRU.replace("r * (R_n @ h[t-1] + c_n)", "R_n @ (r * h[t-1])"),
    "another start": GRU.replace("state h: [H]", "state h: [H] = 1"),
    "a shared matrix": GRU.replace("R_z @ h[t-1]", "R_r @ h[t-1]"),
    "an output more": GRU.replace("output h", "output h, z"),
    "swapped parts": LSTM.replace("i, f, g, o", "f, i, g, o"),
    "a GRU by name alone": CELL.replace("cell C", "cell GRU"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_cells_are_not(name):
    (cell,) = compiler.compiled(Source("c.rnn", OTHERS[name])).program.cells
    assert peers.recognised(cell, None, peers.TORCH) is None


@pytest.mark.parametrize("path", [*sorted(EXAMPLES.glob("*.rnn")), ROOT / "benchmarks" / "slstm_diagonal.rnn"], ids=lambda p: p.stem)
def test_examples_are_recognised_as_what_they_are(path):
    (cell,) = compiler.compiled(api.read_source(path)).program.cells
    theirs = {
        "elman": ("RNN", None), "gru": ("GRU", None), "lstm": ("LSTM", None),
        "para_gru": (None, "ParaGRU"), "para_lstm": (None, "ParaLSTM"), "slstm_diagonal": (None, "ParaSLSTM"),
    }.get(path.stem, (None, None))  # fmt: skip
    layer = getattr(rnndsl.load(path), cell.name)(4, 4) if theirs != (None, None) else None
    found = [peers.recognised(cell, layer, who) for who in (peers.TORCH, peers.PARARNN)]
    assert tuple(f and f[0] for f in found) == theirs


def test_torchs_gru_is_timed_beside_ours(folder, capsys):
    (folder / "gru.rnn").write_text(RENAMED_GRU)
    assert bench("gru.rnn", "--shape", "2,5", "--size", "I=3", "S=4", "--repeats", "1", "--backends", "", "--against", "loop,nn") == 0
    out = capsys.readouterr().out
    assert out.count("torch.nn.GRU\n") == 2 and out.count("torch.nn.GRUCell\n") == 2
    assert "nn (recurrence, forward; recurrence, forward and backward): torch.nn.GRU cannot be given its input products" in out


def test_numbers_that_differ_make_another_cell(folder, capsys, monkeypatch):
    module = torch.nn.GRU(3, 4, batch_first=True)
    monkeypatch.setattr("rnndsl.tools.bench.torch_nn.torch_modules", lambda *_: (module, torch.nn.GRUCell(3, 4)))
    (folder / "gru.rnn").write_text(GRU)
    assert bench("gru.rnn", *TINY, "--against", "loop,nn", "--scope", "layer") == 0
    assert "nn: not the same cell: its numbers differ from the loop's by" in capsys.readouterr().out


# Pictures


def test_picture_files(folder, capsys):
    pytest.importorskip("matplotlib")
    arguments = ("c.rnn", *TINY, "--against", "loop", "--over", "T=2,4")
    assert bench(*arguments, "--picture", "out.png") == 0
    assert capsys.readouterr().out.endswith("wrote out.png\n")
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")
    assert bench(*arguments, "--scope", "recurrence", "--picture", "out.svg", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["over"] == "T" and err == "wrote out.svg\n"
    assert ET.parse(folder / "out.svg").getroot().tag.endswith("svg")


def test_without_matplotlib(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert bench("c.rnn", *TINY, "--over", "T=2,4", "--picture", "out.png") == 2
    assert "rnndsl[plot]" in capsys.readouterr().err


# Progress


def test_no_progress_where_nobody_looks(folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*PYTHON, "-m", "rnndsl", "bench", "c.rnn", *TINY, "--against", "loop", "--scope", "layer", "--direction", "forward"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "\r" not in done.stdout and "\033" not in done.stdout


def test_progress_on_a_terminal(capsys):
    progress = Progress(shown=True)
    progress("layer, forward", "loop", 0, 0)
    progress("layer, forward", "loop", 0, 20)
    progress.clear()
    err = capsys.readouterr().err
    assert "layer, forward: loop warm-up, 0 s" in err and "layer, forward: loop 0/20" in err and err.endswith("\r\033[K")


# Misuse


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.rnn"], "missing.rnn: no such file"),
        (["two.rnn"], "choose one with --cell: C, E"),
        (["two.rnn", "--cell", "Q"], "there is no cell Q; there is C, E"),
        (["c.rnn", "--against", "loop,jax"], "there is no jax; there is loop, compile, nn, pararnn"),
        (["c.rnn", "--backends", "tpu"], "there is no tpu; there is cpu, triton, torch"),
        (["c.rnn", "--direction", "back"], "there is no back; there is forward, both"),
        (["c.rnn", "--scope", "cell"], "there is no cell; there is recurrence, layer, step"),
        (["c.rnn", "--dtype", "int8"], "--dtype int8: there is float32"),
        (["c.rnn", "--shape", "4"], "--shape 4: give sequences and steps"),
        (["c.rnn", "--size", "H"], "--size H: give a name and a whole number"),
        (["c.rnn", "--size", "K=4"], "there is no size K; there is D, H"),
        (["c.rnn", "--size", "H=0"], "size H must be at least 1"),
        (["c.rnn", "--repeats", "0"], "--repeats 0: give a whole number from 1 on"),
        (["c.rnn", "--threads", "two"], "--threads two: give a whole number"),
        (["c.rnn", "--over", "T"], "--over T: give B, T or a size"),
        (["c.rnn", "--over", "K=1,2"], "there is no size K; there is B, T, D, H"),
        (["c.rnn", "--picture", "out.png"], "--over T=64,256,1024"),
        (["c.rnn", "--over", "T=2,4", "--picture", "out.pdf"], "a picture is a .png or a .svg file"),
    ],
)
def test_misuse(folder, capsys, arguments, message):
    assert bench(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("rnndsl: ") and message in err


def test_sizes_that_do_not_fit_the_cell(folder, capsys):
    (folder / "part.rnn").write_text("cell P(H):\n  input x: [H]\n  state h: [H/4]\n  a, b, c, d = split(x, 4)\n  h[t] = tanh(a + h[t-1])\n  output h\n")
    assert bench("part.rnn", "--size", "H=6") == 2
    assert "H=6" in capsys.readouterr().err


def test_a_wrong_program_is_an_error(folder, capsys):
    assert bench("wrong.rnn") == 1
    assert "error[undefined]" in capsys.readouterr().err


def test_help_needs_no_torch():
    code = "import sys; from rnndsl import cli\ntry:\n  cli.main(['bench', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rnndsl bench gru.rnn" in done.stdout


# Over ranks


def test_ranks_against_one_process(folder, capsys):
    """Numbers agree, what crossed borders and what was predicted are there, and the table shows them."""
    assert bench("c.rnn", "--ranks", "2", "--shape", "1,7", "--size", "D=3", "H=4", "--repeats", "2", "--dtype", "float64", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ranks"], found["B"], found["T"], found["sizes"], found["machine"]["threads"]) == (2, 1, 7, {"D": 3, "H": 4}, 1)
    assert [t["direction"] for t in found["tasks"]] == ["forward", "both"]
    layer = rnndsl.load(CELL).C(3, 4, dtype=torch.float64)
    (plan,), predicted = layer.plan_for(torch.zeros(1, 7, 3, dtype=torch.float64), ranks=2), found["predicted"]["h"]
    assert predicted["text"] == plan.ranks and predicted["bytes"] == 1024  # a frame
    for task in found["tasks"]:
        (crossed,) = task["recurrences"]
        assert task["gap"] < 1e-12 and crossed["name"] == "h" and crossed["way"] == predicted["way"] and crossed["bytes"] >= predicted["bytes"]
        for timing in (task["one_process"], task["over_ranks"]):
            assert len(timing["seconds"]) == 2 and timing["median"] == statistics.median(timing["seconds"]) > 0
        assert task["times_faster"] == task["one_process"]["median"] / task["over_ranks"]["median"]
    text = ranks.table(found)
    assert "Layer, forward and backward" in text and "2 ranks" in text and "one process" in text and predicted["text"] in text and "differ" not in text
    found["tasks"][0]["gap"] = 0.1
    assert "differ from those of one process by 1e-01" in ranks.table(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--ranks", "1"), "from 2 on"),
        (("--ranks", "two"), "whole number"),
        (("--ranks", "2", "--over", "T=2,4"), "--over does not go with --ranks"),
        (("--ranks", "2", "--against", "loop"), "--against does not go with --ranks"),
        (("--ranks", "2", "--backends", "cpu,triton"), "name one"),
        (("--ranks", "2", "--size", "K=3"), "there is no size K"),
    ],
)
def test_ranks_that_cannot_be_measured(folder, capsys, given, message):
    assert bench("c.rnn", *given) == 2
    assert message in capsys.readouterr().err
