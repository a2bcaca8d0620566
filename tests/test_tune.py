"""`rnndsl tune`: what it times, what it keeps, what it says; with a made-up timer, in Triton's interpreter. No timing is asserted."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl import cli, compiler
from rnndsl.cli.parser import parser
from rnndsl.devices import USUAL, of_architecture
from rnndsl.diagnostics import Source
from rnndsl.runtime.backend import BACKENDS
from rnndsl.runtime.triton import launch, tuned
from rnndsl.tiles import PARALLEL, SEQUENTIAL, Tiles
from rnndsl.tools import Unfit
from rnndsl.tools.tune import race as racing
from rnndsl.tools.tune import run as running
from rnndsl.tools.tune.calls import calls_of
from rnndsl.tools.tune.race import ROUNDS, race
from rnndsl.tools.tune.report import data, table
from rnndsl.tools.tune.run import Result, Tuned, common, line, run
from rnndsl.tools.tune.settings import Settings, parse
from rnndsl.tools.tune.timer import timer_of

pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parent.parent
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
GRU = (ROOT / "examples" / "para_gru.rnn").read_text(encoding="utf-8")
MIXED = """cell Mixed(D, H):
  input x: [D]
  state h: [H]
  state g: [H]
  param W, R: [H, D]
  param V: [H, H]
  param a: [H]
  h[t] = tanh(W @ x + a * h[t-1])
  g[t] = tanh(R @ x + V @ g[t-1] + h[t])
  output g
"""
SLOW, FAST, BACK, BROKEN = Tiles(SEQUENTIAL, 8, ahead=2), Tiles(PARALLEL, 8, lanes=4, lane_steps=2), Tiles(PARALLEL, 8, lanes=4), Tiles(PARALLEL, 8, lanes=2, lane_steps=3)


@pytest.fixture(autouse=True)
def few(tmp_path, monkeypatch):
    """A cache of the test's own, and four ways to cut a kernel, of which the last cannot be launched."""
    monkeypatch.setenv("RNNDSL_CACHE", str(tmp_path / "cache"))
    tuned._table.cache_clear()
    monkeypatch.setattr(running, "candidates", lambda *_: iter((SLOW, FAST, BACK, BROKEN)))
    monkeypatch.setattr(running, "choose", lambda *_, **__: SLOW)
    whole = launch._launch

    def launched(kernel, tiles, *rest, **further):
        if tiles == BROKEN:
            raise RuntimeError("out of resource: shared memory\nRequired: much")
        whole(kernel, tiles, *rest, **further)

    monkeypatch.setattr(launch, "_launch", launched)
    yield
    tuned._table.cache_clear()


class Clock:
    """A timer of made-up seconds, by what is launched; counts calls."""

    def __init__(self, monkeypatch, forward: dict, backward: dict):
        self.seconds, self.counts, self._last = {False: forward, True: backward}, {}, None
        self._is_timing = False
        for name in ("forward", "backward"):
            monkeypatch.setattr(launch, name, self._watched(getattr(launch, name), name == "backward"))

    def _watched(self, function, is_backward):
        def watched(kernels, tiles, *rest):
            self._last = (is_backward, tiles)
            if self._is_timing:  # the numbers were checked before
                return [] if is_backward else ([], [], None)
            return function(kernels, tiles, *rest)

        return watched

    def __call__(self, call):
        self._is_timing = True
        call()
        self._is_timing = False
        self.counts[self._last] = self.counts.get(self._last, 0) + 1
        is_backward, tiles = self._last
        return self.seconds[is_backward][tiles]


def parts(text: str = GRU):
    (cell,) = compiler.compiled(Source("c.rnn", text)).program.cells
    return cell, getattr(rnndsl.load(text), cell.name)


def found(monkeypatch, settings=None, text: str = GRU, forward=None, backward=None) -> tuple[Result, Clock]:
    forward = forward or {SLOW: 4e-3, FAST: 1e-3, BACK: 1.1e-3}
    clock = Clock(monkeypatch, forward, backward or {SLOW: 4e-3, FAST: 3e-3, BACK: 2e-3})
    cell, cls = parts(text)
    settings = settings or Settings(2, 7, {"D": 3, "H": 5})
    return run("c.rnn", cell, cls, settings, DEVICE, clock, lambda *_: None), clock


# What is timed


def test_the_fastest_wins_forwards_and_backwards_apart(monkeypatch):
    result, _ = found(monkeypatch)
    forward, backward = result.tuned
    assert (forward.is_backward, backward.is_backward) == (False, True)
    assert forward.measured == [FAST, BACK, SLOW] and backward.measured == [BACK, FAST, SLOW]
    assert (forward.channels, forward.steps) == (10, 7)
    name = "ParaGRU.h(D=3,H=5) float32, float32 streams, channels 2^4, steps 2^3"
    assert result.winners == {f"{name}, forward": FAST, f"{name}, backward": BACK}


def test_a_failing_candidate_is_counted_and_costs_nobody_else_anything(monkeypatch):
    result, _ = found(monkeypatch)
    for call in result.tuned:
        assert call.failures == {BROKEN: "RuntimeError: out of resource: shared memory"}
        assert all(len(call.runs[t].timing.seconds) >= 1 for t in (SLOW, FAST, BACK))
    assert table(result).count(f"  1 failed; the first, {BROKEN}: RuntimeError: out of resource: shared memory") == 2


def test_a_candidate_with_wrong_numbers_fails(monkeypatch):
    whole = launch.forward

    def wrong(kernels, tiles, *rest):
        values, report = whole(kernels, tiles, *rest)
        if tiles == FAST:
            values[0][0, -1] = float("nan")
        return values, report

    monkeypatch.setattr(launch, "forward", wrong)
    result, _ = found(monkeypatch, Settings(2, 7, {"D": 3, "H": 5}, is_backward=False))
    (call,) = result.tuned
    assert call.failures[FAST] == "its numbers differ from those of the step by step kernel by inf"
    assert call.measured[0] == BACK


def test_slow_candidates_are_dropped_early(monkeypatch):
    result, clock = found(monkeypatch)
    assert clock.counts[(False, SLOW)] == 1 and clock.counts[(False, FAST)] == clock.counts[(False, BACK)] == ROUNDS
    assert clock.counts[(True, SLOW)] == clock.counts[(True, FAST)] == racing.FEW and clock.counts[(True, BACK)] == ROUNDS
    assert [result.tuned[0].runs[t].is_dropped for t in (SLOW, FAST, BACK)] == [True, False, False]


def test_rounds_are_interleaved():
    order: list[str] = []
    runs = race({k: lambda k=k: order.append(k) for k in "abc"}, lambda _: None, lambda call: (call(), 1.0)[1], lambda *_: None)
    assert order == [k for k in "abc" for _ in range(2)] + list("abc") * (ROUNDS - 1)
    assert all(run.is_finished for run in runs.values())


def test_a_single_sample_that_was_disturbed_does_not_decide():
    samples = {"a": iter([2.0] + [1.0] * ROUNDS), "b": iter([1.5] * ROUNDS)}
    runs = race({k: lambda k=k: k for k in "ab"}, lambda _: None, lambda call: next(samples[call()]), lambda *_: None)
    assert runs["a"].is_finished and runs["b"].is_dropped


@pytest.mark.parametrize("is_half", [False, True])
def test_kernels_are_given_what_the_layer_gives_them(is_half):
    _, cls = parts()
    with DEVICE:
        layer = cls(D=3, H=5, backend="triton")
    x = torch.randn(2, 7, 3, device=DEVICE)
    forward, backward = calls_of(layer, (x,), is_half, True)
    assert forward.call.streams[0].shape == (2, 7, 15) and forward.itemsize == (2 if is_half else 4)
    assert all(call.label == f"ParaGRU.h(D=3,H=5) float32, {'bfloat16' if is_half else 'float32'} streams" for call in (forward, backward))
    with torch.no_grad():
        y = layer(x)[0]
        close = {"rtol": 1e-5, "atol": 1e-2 if is_half else 1e-6}
        torch.testing.assert_close(forward.run(FAST)[0], y, **close)
    for call in (forward, backward):
        assert call.wrong(call.run(FAST)) is None
        assert call.wrong([t + 1 for t in call.run(FAST)]) is not None


def test_without_backward_kernels(monkeypatch):
    result, _ = found(monkeypatch, Settings(2, 7, {"D": 3, "H": 5}, is_backward=False))
    assert [t.is_backward for t in result.tuned] == [False]


def test_float64(monkeypatch):
    result, _ = found(monkeypatch, Settings(2, 7, {"D": 3, "H": 5}, "float64"))
    assert result.tuned[0].label == "ParaGRU.h(D=3,H=5) float64, float64 streams" and result.tuned[0].measured[0] == FAST


def test_recurrences_without_kernels_are_named(monkeypatch):
    monkeypatch.setattr(BACKENDS["cpu"], "devices", ())
    monkeypatch.setattr(BACKENDS["triton"], "devices", ("cpu",))
    monkeypatch.delenv("RNNDSL_BACKEND")
    result, _ = found(monkeypatch, text=MIXED)
    assert [t.label for t in result.tuned] == ["Mixed.h(D=3,H=5) float32, float32 streams"] * 2 and "g" in result.untuned


def test_a_cell_without_kernels_is_refused():
    cell, cls = parts(MIXED.replace("a * h[t-1]", "V @ h[t-1]"))
    with pytest.raises(Unfit, match="Mixed has kernels of whole steps alone"):
        run("c.rnn", cell, cls, Settings(1, 2), DEVICE, timer_of(DEVICE), lambda *_: None)


def test_an_interruption_keeps_the_races_that_are_over(monkeypatch):
    def stop(task, *_):
        if "backward" in task:
            raise KeyboardInterrupt

    cell, cls = parts()
    clock = Clock(monkeypatch, {SLOW: 1.0, FAST: 2.0, BACK: 2.0}, {})
    result = run("c.rnn", cell, cls, Settings(2, 7, {"D": 3, "H": 5}), DEVICE, clock, stop)
    assert result.interrupted and [t.is_backward for t in result.tuned] == [False]
    assert "Interrupted" in table(result) and data(result)["interrupted"]


def test_the_clock_of_the_device():
    assert timer_of(DEVICE)(lambda: torch.ones(8, device=DEVICE).sum()) > 0


def test_events_enclose_the_call_behind_a_kernel_that_waits(monkeypatch):
    done: list[object] = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            done.append("record")

        def synchronize(self):
            done.append("wait")

        def elapsed_time(self, other):
            return 1.5  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", done.append)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr("rnndsl.tools.tune.timer.device_of", lambda device: replace(of_architecture(USUAL), clock=1e9))
    assert timer_of(torch.device("cuda"), lead=1e-3)(lambda: done.append("call")) == 1.5e-3
    assert done == [1_000_000, "record", "call", "record", "wait"]


# What is kept


def test_layers_take_what_was_stored(monkeypatch):
    result, _ = found(monkeypatch)
    tuned.store(result.device, result.winners)
    _, cls = parts()
    with DEVICE:
        layer, other = cls(D=3, H=5, backend="triton"), cls(D=4, H=5, backend="triton")
    x = torch.randn(2, 7, 3, device=DEVICE)
    (plan,) = layer.plan_for(x)
    assert (plan.forward, plan.backward, plan.why) == (FAST, BACK, "measured by rnndsl tune")
    (plan,) = layer.plan_for(torch.randn(64, 7, 3, device=DEVICE))
    assert plan.why != "measured by rnndsl tune", "another shape class"
    (plan,) = other.plan_for(torch.randn(2, 7, 4, device=DEVICE))
    assert plan.why != "measured by rnndsl tune", "another size"


def test_clearing_the_cache_leaves_measurements(monkeypatch, capsys):
    path = tuned.store("a GPU", {"an entry": FAST})
    (path.parent / "kernel-0123456789abcdef").mkdir()
    assert cli.main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out.startswith("removed 1 kernel,") and path.exists()


# What is said


def test_the_table(monkeypatch):
    result, _ = found(monkeypatch)
    result.stored = Path("tuned.json")
    lines = table(result).splitlines()
    assert lines[0] == "ParaGRU (c.rnn), float32 streams, B = 2, T = 7, D = 3, H = 5"
    assert lines[1].startswith(f"{result.device}; torch {torch.__version__}, triton ")
    assert lines[3] == "ParaGRU.h(D=3,H=5) float32, float32 streams, forward: 10 channels, 7 steps"
    assert lines[4].split() == ["the", "fastest", "of", "4", "(1", "dropped", "as", "slow)", "measured", "predicted", "ratio"]
    first, second, third = lines[5:8]
    assert first.strip().startswith("parallel, 8 channels a program, 4 lanes of 2 steps, 1 warp") and "1.00 ms" in first
    assert "1.10 ms" in second and third.endswith("the model's choice, 4.0x the best")
    for row in lines[5:8]:
        assert row.index("ms") == first.index("ms")
    assert "Stored in tuned.json, for calls of channels 2^4, steps 2^3." in lines
    assert lines[-2] == "The best that holds for all of these calls, 1.03 times the time of the winners:"
    assert lines[-1] == '  layer.schedule = "newton"; layer.tiles = {"channels": 8, "lanes": 4, "lane_steps": 1, "warps": 1}'


@pytest.mark.parametrize("tiles", [SLOW, FAST, Tiles(SEQUENTIAL, 64, ahead=8, warps=2)])
def test_the_line_fixes_the_tiles(tiles):
    _, cls = parts()
    with DEVICE:
        layer = cls(D=3, H=5, backend="triton")
    exec(line(tiles), {"layer": layer})
    (plan,) = layer.plan_for(torch.randn(2, 7, 3, device=DEVICE))
    assert plan.forward == plan.backward == tiles


def test_nothing_in_common():
    assert common([]) is None
    runs = [{SLOW: racing.Run(racing.Timing(1, [1.0]))}, {FAST: racing.Run(racing.Timing(1, [1.0]))}]
    calls = [Tuned("C.h() float32", bool(n), 8, 8, SLOW, {}, r) for n, r in enumerate(runs)]
    assert common(calls) is None and common(calls[:1]) == (SLOW, 1.0)


def test_a_call_for_which_nothing_ran():
    call = Tuned("C.h() float32", False, 8, 8, SLOW, {SLOW: 1.0}, {SLOW: racing.Run(failure="RuntimeError")})
    result = Result("c.rnn", "C", "float32", "a GPU", {"torch": "2", "triton": "3", "rnndsl": "0"}, 1, 8, {}, {}, [call])
    assert "none of 1 ran\n  1 failed; the first, sequential, 8 channels a program, 2 steps ahead, 1 warp: RuntimeError" in table(result)
    assert result.winners == {} and data(result)["line"] is None


def test_data(monkeypatch):
    result, _ = found(monkeypatch)
    told = json.loads(json.dumps(data(result)))
    assert set(told) == {"version", "program", "cell", "dtype", "device", "machine", "B", "T", "sizes", "calls", "untuned", "stored", "line", "interrupted"}
    forward, backward = told["calls"]
    assert (forward["direction"], backward["direction"]) == ("forward", "backward")
    best = forward["candidates"][0]
    assert best["lanes"] == 4 and best["median"] == 1e-3 and best["seconds"] == [1e-3] * ROUNDS and best["predicted"] > 0
    assert forward["failed"][0]["why"].startswith("RuntimeError")


def test_the_page_names_every_key(monkeypatch):
    page = (ROOT / "docs" / "tune.md").read_text(encoding="utf-8")
    told = data(found(monkeypatch)[0])
    keys = {*told, *told["calls"][0], *told["calls"][0]["candidates"][0], *told["calls"][0]["failed"][0]}
    assert [k for k in keys if f"`{k}`" not in page and f'"{k}"' not in page] == []


# The command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shape", "2,x"], "--shape 2,x: give sequences and steps"),
        (["--shape", "2,3", "--dtype", "float16"], "--dtype float16: there is float32, bfloat16, float64"),
        (["--shape", "2,3", "--direction", "back"], "--direction back: there is no back; there is forward, both"),
        (["--shape", "2,3", "--cell", "LSTM"], "there is no cell LSTM; there is ParaGRU"),
    ],
)
def test_misuse(arguments, said, capsys):
    assert cli.main(["tune", str(ROOT / "examples" / "para_gru.rnn"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_without_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["tune", str(ROOT / "examples" / "para_gru.rnn"), "--shape", "2,3"]) == 2
    assert capsys.readouterr().err == "rnndsl: tune times kernels on a GPU, and PyTorch finds none here\n"


def test_the_interpreter_is_no_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert cli.main(["tune", str(ROOT / "examples" / "para_gru.rnn"), "--shape", "2,3"]) == 2
    assert "TRITON_INTERPRET is set" in capsys.readouterr().err


def test_the_command(monkeypatch, capsys):
    """From the arguments to the file, with a device and a timer put in."""
    clock = Clock(monkeypatch, {SLOW: 4e-3, FAST: 1e-3, BACK: 1.1e-3}, {})
    monkeypatch.setattr(running, "gpu", lambda: DEVICE)
    monkeypatch.setattr("rnndsl.tools.tune.timer.timer_of", lambda device: clock)
    arguments = ["tune", str(ROOT / "examples" / "para_gru.rnn"), "--shape", "2,7", "--size", "D=3", "H=5", "--direction", "forward"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    path = Path(os.environ["RNNDSL_CACHE"]) / tuned.FILE
    assert f"Stored in {path}" in out and out.splitlines()[-1].strip().startswith('layer.schedule = "newton"')
    (entries,) = json.loads(path.read_text()).values()
    assert list(entries) == ["ParaGRU.h(D=3,H=5) float32, float32 streams, channels 2^4, steps 2^3, forward"]
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stored"] == str(path)


def test_a_cache_that_cannot_be_written_is_told(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(running, "gpu", lambda: DEVICE)
    monkeypatch.setattr("rnndsl.tools.tune.timer.timer_of", lambda device: Clock(monkeypatch, dict.fromkeys((SLOW, FAST, BACK), 1.0), {}))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RNNDSL_CACHE", str(tmp_path / "file"))
    arguments = ["tune", str(ROOT / "examples" / "para_gru.rnn"), "--shape", "2,7", "--size", "D=3", "H=5", "--direction", "forward"]
    assert cli.main(arguments) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_help_needs_no_torch():
    program = "import sys; from rnndsl.cli import main\ntry: main(['tune', '--help'])\nexcept SystemExit: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0 and "--shape B,T" in done.stdout, done.stderr


def test_settings_need_no_torch():
    program = "import sys, rnndsl.tools.tune.settings; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_parse():
    options = parser().parse_args(["tune", "c.rnn", "--shape", "8,16", "--size", "H=4", "--dtype", "bfloat16", "--direction", "forward"])
    assert parse(options) == Settings(8, 16, {"H": 4}, "bfloat16", False)
    assert parse(parser().parse_args(["tune", "c.rnn", "--shape", "8,16"])) == Settings(8, 16)
