"""rnndsl verify: what is right passes, and every check can fail, with the place in its line and exit status 1."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl import cli, compiler
from rnndsl.cli.progress import Progress
from rnndsl.diagnostics import Source
from rnndsl.runtime.backend import BACKENDS, Stepped
from rnndsl.tools import Unfit
from rnndsl.tools.verify import checks
from rnndsl.tools.verify.compare import Gap, allowance, differences, roundings
from rnndsl.tools.verify.context import Context
from rnndsl.tools.verify.finding import FAIL, INFO, NOTE, PASS, SKIP, Finding
from rnndsl.tools.verify.observe import Value
from rnndsl.tools.verify.schedules import parallel
from rnndsl.tools.verify.settings import Settings
from rnndsl.tools.verify.sizes import LARGE, ODD, SMALL, find_sizes

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
GATED = """cell Gated(D, H):
  input x: [D]
  state h: [H]
  param W_z, W_n: [H, D]
  param a: [H]
  z = sigmoid(W_z @ x)
  h[t] = (1 - z) * h[t-1] + z * tanh(W_n @ x + a * h[t-1])
  output h
"""
SPIKING = """def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2

cell Spiking(H):
  input x: [H]
  state u: [H]
  param b: [H] in (0, 1)
  u[t] = b * u[t-1] + x - spike(u[t-1] - 1)
  output s = spike(u[t] - 1), u
"""
NOISY = """cell Noisy(D, H):
  input x: [D]
  state h: [H]
  noise m: [H] ~ bernoulli(0.5)
  param W: [H, D]
  h[t] = tanh(W @ x + m * h[t-1])
  output h
"""
SIZES = {"D": 3, "H": 5}


# A CPU backend without a compiler: the reference, and a fault in it


@pytest.fixture
def backend(monkeypatch):
    """The CPU backend, step by step, as the reference with a fault: `fault(layer, reset, sequences, finals)` gives what it returns instead."""

    class Faulty:
        def __init__(self):
            self.fault = lambda layer, reset, sequences, finals: (sequences, finals)
            self.step_fault = None
            self.ignores_resets = False

    faulty = Faulty()

    def run(layer, name, call, kind):
        found = BACKENDS["reference"].run(layer, name, call._replace(reset=None) if faulty.ignores_resets else call, kind)
        return *faulty.fault(layer, call.reset, *found[:2]), ()

    def step(layer, inputs, values, carried, dtype):
        if faulty.step_fault is None:
            return None
        y, state = layer.forward(*(x.unsqueeze(1) for x in inputs), state=carried)
        return Stepped(*faulty.step_fault([o.squeeze(1) for o in (y if isinstance(y, tuple) else (y,))], list(state)), None)

    for name, replacement in (("run", run), ("step", step), ("refusal", lambda cls: None), ("schedules", ("sequential",))):
        monkeypatch.setattr(BACKENDS["cpu"], name, replacement)
    monkeypatch.setattr(checks, "throughput", lambda c: Finding(INFO))
    return faulty


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes a program and returns its path, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        (tmp_path / "cell.rnn").write_text(text)
        return "cell.rnn"

    return write


def verify(text, **settings):
    settings = {"backends": ("cpu",), "dtypes": ("float64",), "sizes": {n: v for n, v in SIZES.items() if f"{n}" in text.split(":")[0]}} | settings
    return rnndsl.verify(text, **settings)


def lines(report, check: str, what: str = "") -> list[Finding]:
    return [x.finding for c in report.cells for x in c.lines if x.check == check and what in x.what]


def failed(report) -> set[str]:
    """The checks of a report that failed, with whose they are."""
    return {f"{x.check} {x.what.split()[0].rstrip(':')}" for c in report.cells for x in c.lines if x.finding.verdict == FAIL}


def command(*arguments: str) -> int:
    try:
        return cli.main(["verify", *arguments])
    except SystemExit as e:
        return int(e.code or 0)


# What is right passes


def test_a_right_cell_passes(backend, file, capsys):
    assert command(file(GATED), "--backend", "cpu", "--size", "D=3", "H=5") == 0
    out = capsys.readouterr().out
    assert out.startswith("Gated(D=3, H=5)  cell.rnn:1\n===") and "FAIL" not in out
    for check in ("equations", "finite", "backend", "gradcheck", "jacobian", "halves", "steps", "resets"):
        assert f"\npass  {check} " in out
    assert "skip  schedule" in out and "throughput" in out and " passed, 1 not checked; " in out


def test_the_kernels_of_this_machine():
    report = rnndsl.verify(EXAMPLES / "para_gru.rnn", backends=("cpu",))
    assert report.passed, report.text
    assert [f.verdict for f in lines(report, "backend", "cpu on")] == [PASS] * 4
    shape, reference, kernels, *_ = lines(report, "throughput")[0].notes
    assert shape == "B=4, T=64, D=32, H=64: 64 numbers in the states of a sequence"
    assert "steps·channels/s" in reference and kernels.endswith(" times the reference")


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", ["slstm", "zoo/adaptive_lif", "zoo/clockwork_rnn", "zoo/linoss", "zoo/kda", "zoo/zoneout_lstm", "zoo/kalman", "zoo/rhn"])
def test_published_cells(name):
    report = rnndsl.verify(EXAMPLES / f"{name}.rnn", backends=("reference",), dtypes=("bfloat16",))
    assert report.passed, report.text
    assert all(f.error is not None and f.error <= f.allowed for f in lines(report, "equations") + lines(report, "jacobian") + lines(report, "backend"))


def test_a_cell_without_a_state(backend):
    report = verify("cell Flat(D, H):\n  input x: [D]\n  param W: [H, D]\n  output y = tanh(W @ x)\n")
    assert report.passed and not lines(report, "jacobian")


def test_lags_a_clock_and_head_axes(backend):
    text = """cell Lags(H):
  input x: [H]
  state h: [H] = h0
  state S: [2, 2, 2, 2; H]
  param a, h0: [H]
  h[t] = tanh(a * h[t-2] + x[t-1] * sin(0.3 * t) + x)
  S[t] = tanh(S[t-1] + h[t])
  output y = h[t] * t + h[t-1]
"""
    assert (report := verify(text, sizes={"H": 3})).passed, report.text


# Every check can fail


def test_a_wrong_output(backend, file, capsys):
    def fault(layer, reset, sequences, finals):
        wrong = sequences[0].clone()
        if wrong.shape[:2] == (3, 13):
            wrong[1, 4, 2] += 0.01
        return (wrong, *sequences[1:]), finals

    backend.fault = fault
    assert command(file(GATED), "--backend", "cpu", "--size", "D=3", "H=5", "--dtype", "float64") == 1
    out = capsys.readouterr().out
    told = " ".join(out.split())
    (line,) = [x for x in out.split("\n") if x.startswith("FAIL  backend ")]
    assert "cpu on float64 against the reference" in line and line.endswith("output h, sequence 1, step 4, entry [2]")
    assert "there cpu has " in told and "B=3, T=13, with a carried state and resets" in told
    assert 'next: use backend="reference" for this cell until it is mended' in told and "please report it" in told
    assert " FAILED" in out.split("\n")[-2]


def test_a_wrong_gradient(backend):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g * 1.001

    backend.fault = lambda layer, reset, sequences, finals: (tuple(map(Wrong.apply, sequences)), finals)
    report = verify(GATED)
    (found,) = lines(report, "backend", "cpu on")
    assert found.verdict == FAIL and found.place.startswith("gradient of ") and 1e-5 < found.error < 1e-2
    assert found.notes[1].startswith("wrong: gradient of ") and "; right: output h, state h" in found.notes[1]
    assert "gradcheck gradients" not in failed(report), "the reference is right"


def test_a_fault_in_one_dtype(backend):
    backend.fault = lambda layer, reset, sequences, finals: (tuple(s + 1e-3 * (s.dtype == torch.float32) for s in sequences), finals)
    report = verify(GATED, dtypes=("float64", "float32"))
    assert [f.verdict for f in lines(report, "backend", "cpu on")] == [PASS, FAIL]


def test_a_nan_of_one_backend(backend):
    def fault(layer, reset, sequences, finals):
        wrong = sequences[0].clone()
        wrong[0, -1:, 1] = math.nan
        return (wrong,), finals

    backend.fault = fault
    report = verify(GATED)
    (found,) = lines(report, "backend", "cpu on")
    assert found.verdict == FAIL and found.place.startswith("output h, sequence 0, step ") and "there cpu has nan, the reference" in found.notes[0]
    (line,) = [x for x in json.loads(json.dumps(report.data))["cells"][0]["checks"] if x["what"].startswith("cpu on")]
    assert found.error == math.inf and line["error"] is None
    assert lines(report, "finite")[0].verdict == PASS


def test_a_nan_of_the_equations(backend, file, capsys):
    text = GATED.replace("output h", "output h, y = log(x)")
    assert command(file(text), "--backend", "cpu", "--size", "D=3", "H=5") == 0
    out = capsys.readouterr().out
    assert "note  finite" in out and "output y, sequence 0, step 0, entry [" in out and "is nan (B=3, T=13" in out
    assert "no fault of a backend" in out and "pass  backend      cpu on float64" in out and "FAIL" not in out


def test_an_overflow_of_a_dtype(backend):
    """What float16 cannot hold is no fault, and is told."""
    report = verify(GATED.replace("output h", "output y = 1e6 * (2 + h[t])"), dtypes=("float16",))
    (found,) = lines(report, "backend", "cpu on")
    assert found.verdict == PASS and "not finite in the reference either, in this dtype, which it is then held against: output y" in found.notes


def test_an_ignored_reset(backend):
    backend.ignores_resets = True
    report = verify(GATED)
    assert {"backend cpu", "resets cpu"} <= failed(report) and "halves cpu" not in failed(report)
    (found,) = lines(report, "resets", "cpu")
    assert found.verdict == FAIL and "instead of with a reset" in " ".join(found.notes)


def test_a_state_that_is_not_carried_on(backend):
    backend.fault = lambda layer, reset, sequences, finals: (sequences, tuple(f * 1.01 for f in finals))
    assert {"backend cpu", "halves cpu", "steps cpu"} <= failed(verify(GATED))


def test_a_wrong_step(backend):
    backend.step_fault = lambda outputs, fields: ([o + 1e-3 for o in outputs], fields)
    report = verify(GATED)
    assert failed(report) == {"steps cpu"}
    (found,) = lines(report, "steps", "cpu")
    assert found.place.startswith("output h, sequence ") and "without gradients" in found.case and "decode with" in " ".join(found.notes)


def test_noise_in_training(backend):
    assert lines(verify(NOISY), "noise", "cpu")[0].verdict == PASS
    backend.fault = lambda layer, reset, sequences, finals: (tuple(s + 0.1 * layer.training for s in sequences), finals)
    report = verify(NOISY)
    assert failed(report) == {"noise cpu"}
    still = verify(NOISY.replace("m * h[t-1]", "h[t-1] + 0 * m"))
    assert lines(still, "noise", "reference")[0].verdict == NOTE, "noise that changes nothing"


def test_a_wrong_jacobian(backend, monkeypatch):
    from rnndsl.calculus import analysis

    right = analysis.differentiate

    def wrong(lanes, backward=False):
        j = right(lanes, backward)
        updates = tuple(type(p)(p.root, {s: 1.001 * e for s, e in p.by.items()}) for p in j.updates)
        return type(j)(j.lanes, updates, j.operands, j.conjugates, j.factors, j.locals)

    monkeypatch.setattr(analysis, "differentiate", wrong)
    report = verify(GATED)
    assert failed(report) == {"jacobian derivatives"}
    assert lines(report, "jacobian")[0].place.startswith("∂h[t]/∂h[t-1], row ")


def test_a_wrong_surrogate_in_the_jacobian(backend, monkeypatch):
    """True derivative and surrogate are told apart: with one in place of the other, the line fails."""
    from rnndsl.calculus import analysis

    right = analysis.differentiate
    assert verify(SPIKING).passed
    monkeypatch.setattr(analysis, "differentiate", lambda lanes, backward=False: right(lanes, not backward))
    assert failed(verify(SPIKING)) == {"jacobian derivatives"}


def step_of(monkeypatch, text: str, wrong):
    """Puts a wrong step into the generated class: the reference itself is broken."""
    cls = rnndsl.load(text).Gated
    right = cls._step_h
    monkeypatch.setattr(cls, "_step_h", lambda self, kind, *values: wrong(*right(self, kind, *values)))


def test_a_wrong_reference(backend, monkeypatch):
    step_of(monkeypatch, GATED, lambda h: (h * 1.0001,))
    report = verify(GATED)
    assert "equations reference" in failed(report) and "backend cpu" not in failed(report)
    assert "trust no backend" in " ".join(lines(report, "equations")[0].notes)


def test_a_wrong_gradient_of_the_reference(backend, monkeypatch):
    step_of(monkeypatch, GATED, lambda h: (0.999 * h + (0.001 * h).detach(),))
    report = verify(GATED)
    assert {"equations reference", "gradcheck gradients", "jacobian derivatives"} <= failed(report)
    (found,) = lines(report, "gradcheck")
    assert found.place.startswith("gradient of ") and "there the gradient has" in found.notes[0]


def test_torchs_gradcheck_has_its_say(backend, monkeypatch):
    def fail(*_, **__):
        raise torch.autograd.gradcheck.GradcheckError("Jacobian mismatch for output 0\nnumerical: 1")

    monkeypatch.setattr("torch.autograd.gradcheck", fail)
    monkeypatch.setattr("rnndsl.tools.verify.gradcheck.GradcheckError", RuntimeError)
    (found,) = lines(verify(GATED), "gradcheck")
    assert found.verdict == FAIL


def test_a_failing_check_stops_no_other(backend, monkeypatch):
    def broken(*_):
        raise RuntimeError("the kernel did not build\nand more")

    monkeypatch.setattr(BACKENDS["cpu"], "run", broken)
    monkeypatch.setattr(checks, "throughput", broken)
    report = verify(GATED)
    assert failed(report) == {"backend cpu", "halves cpu", "steps cpu", "resets cpu", "throughput forward"}
    assert lines(report, "backend", "cpu on")[0].notes[0] == "it raised RuntimeError: the kernel did not build and more"
    assert lines(report, "gradcheck")[0].verdict == PASS


# Derivatives that there are not


def test_surrogates_are_named(backend):
    (found,) = lines(verify(SPIKING), "gradcheck")
    assert found.verdict == SKIP and "surrogate derivative in `spike`" in found.notes[0]


def test_kinks_are_left_out_and_named(backend):
    """A state that is always zero, under a relu: differences to either side are not the same."""
    text = "cell Kink(H):\n  input x: [H]\n  state h, s: [H]\n  s[t] = 0 * s[t-1]\n  h[t] = 0.5 * h[t-1] + relu(s[t-1]) + x\n  output h\n"
    report = verify(text, sizes={"H": 3})
    (found,) = lines(report, "gradcheck")
    assert report.passed and found.verdict == PASS
    assert found.notes == ("6 of 30 entries lie at a kink or a jump and were left out (relu, line 5)",)


def test_jumps_without_a_surrogate_pass_away_from_them(backend):
    text = "cell Jump(H):\n  input x: [H]\n  state h: [H]\n  param a: [H]\n  h[t] = tanh(a * h[t-1] + x) + 0.1 * (h[t-1] > 0.2)\n  output h\n"
    (found,) = lines(verify(text, sizes={"H": 3}), "gradcheck")
    assert found.verdict == PASS


def test_nothing_to_differentiate(backend):
    text = "cell Count(H):\n  input x: [H]\n  state n: [H]\n  n[t] = (x > 0) + floor(n[t-1])\n  output n\n"
    report = verify(text, sizes={"H": 3})
    assert report.passed, report.text
    assert lines(report, "gradcheck")[0].verdict == PASS


# The schedule that is parallel over time


def context(text: str, settings: Settings) -> Context:
    checked = compiler.compiled(Source("c.rnn", text))
    (plan,) = checked.plans
    return Context(plan, checked.program.source, checked.file, getattr(rnndsl.load(text), plan.cell.name), settings)


@pytest.fixture
def interpreted():
    """A cell whose kernels run in Triton's interpreter."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU: kernels are not interpreted")
    return context(GATED, Settings({"D": 2, "H": 3}, ("triton",)))


def test_newton(interpreted):
    found = parallel(interpreted, interpreted.backends[1], torch.float64, "newton")
    assert found.verdict == PASS, found
    assert sum(" rounds each, " in n and "residual" in n for n in found.notes) == 4
    assert all(f"weights × {s}:" in " ".join(found.notes) for s in ("0.1", "1", "2", "5"))


def test_a_residual_that_is_too_large(interpreted, monkeypatch):
    from rnndsl.runtime.triton import backend

    right = backend.read_report
    monkeypatch.setattr(backend, "read_report", lambda *a: replace(right(*a), residual=1.0))
    found = parallel(interpreted, interpreted.backends[1], torch.float32, "newton")
    assert found.verdict == FAIL and found.notes[0] == "weights × 0.1: residual 1.0e+00 of h is more than 2e-06"


def test_newton_that_is_not_sequential(interpreted, monkeypatch):
    from rnndsl.runtime.triton.backend import Launched

    forward = Launched.forward
    monkeypatch.setattr(Launched, "forward", lambda self, *a: [t + 1e-6 * (self.schedule == "newton") for t in forward(self, *a)])
    found = parallel(interpreted, interpreted.backends[1], torch.float64, "newton")
    assert found.verdict == FAIL and found.place and 'schedule="sequential"' in " ".join(found.notes)
    assert found.notes[0].startswith("there newton has ") and ", sequential " in found.notes[0]


def test_triton_in_the_interpreter(interpreted, file, capsys):
    assert command(file(GATED), "--backend", "triton", "--dtype", "float64", "--size", "D=2", "H=3") == 0
    out = capsys.readouterr().out
    assert "triton (interpreted) on float64 against the reference" in out and "pass  schedule " in out
    assert "\n                   triton" not in out, "the time of an interpreter says nothing"


# Sizes


def sizes(header: str, body: str, given: dict | None = None, wish=ODD) -> dict[str, int]:
    (cell,) = compiler.compiled(Source("c.rnn", f"cell C({header}):\n{body}\n")).program.cells
    return find_sizes(cell, given or {}, wish)


def test_sizes_are_odd_and_differ():
    body = "  input x: [D]\n  state S: [N; K, V]\n  param k: [N; K, D]\n  param v: [N; V, D]\n  S[t] = S[t-1] + outer(k @ x, v @ x)\n  output y = merge(S[t].T @ (k @ x))"
    assert sizes("D, N, K, V", body) == {"D": 3, "N": 5, "K": 2, "V": 67}
    assert sizes("D, N, K, V", body, {"V": 8}) == {"D": 3, "N": 5, "K": 2, "V": 8}
    small = sizes("D, N, K, V", body, wish=SMALL)
    assert small["V"] == 3 and max(small.values()) <= 4
    assert sizes("D, N, K, V", body, wish=LARGE)["V"] == 64


HEADS = "  input x: [H]\n  state g: [N; H/N]\n  g[t] = tanh(heads(x, N) + g[t-1])\n  output y = merge(g[t])"


def test_divisions_hold():
    found = sizes("H, N", HEADS)
    assert found["H"] % found["N"] == 0 and found["H"] > found["N"] > 1
    assert sizes("H, N", HEADS, {"H": 12})["H"] == 12 and 12 % sizes("H, N", HEADS, {"H": 12})["N"] == 0
    quarters = "  input x: [H]\n  state h: [H/4]\n  a, b, c, d = split(x, 4)\n  h[t] = tanh(a + h[t-1] * b + c * d)\n  output h"
    assert sizes("H", quarters)["H"] % 4 == 0


def test_sizes_that_cannot_be_found_are_asked_for(file, capsys):
    with pytest.raises(Unfit, match="H/N a whole number, with H=7, N=2; give them: --size H=… N=…"):
        sizes("H, N", HEADS, {"H": 7, "N": 2})
    assert command(file(f"cell C(H, N):\n{HEADS}\n"), "--size", "H=7", "N=2") == 2
    assert "--size H=… N=…" in capsys.readouterr().err


# What is compared


def values(**tensors) -> dict[str, Value]:
    return {n.replace("_", " "): Value(torch.tensor(t, dtype=torch.float64), 1e-16) for n, t in tensors.items()}


def worst(got, want, limit=0.1, own=None) -> Gap:
    return max(differences(got, want, lambda *_: limit, "a call", own), key=lambda g: g.error)


def test_where_two_runs_differ_most():
    want = values(output_a=[[1.0, 2.0], [3.0, 4.0]], output_b=[1.0], gradient_of_c=[1e-9])
    got = values(output_a=[[1.0, 2.0], [3.4, 4.0]], output_b=[1.0], gradient_of_c=[2e-9])
    a, b, c = differences(got, want, lambda *_: 0.2, "a call")
    assert (a.name, a.index, a.place) == ("output a", (1, 0), "output a, entry [1, 0]") and a.error == pytest.approx(0.1) and a.fits
    assert b.error == 0
    assert c == Gap("gradient of c", (0,), (), 1.0, 0.2, 2e-9, 1e-9, "a call") and not c.fits, "relative to the largest of its own"


def test_small_values_are_held_against_the_largest_of_their_kind():
    want = values(output_a=[1000.0], output_b=[0.0])
    gap = worst(values(output_a=[1000.0], output_b=[0.5]), want)
    assert (gap.name, gap.error) == ("output b", 0.5)


def test_what_is_not_finite_must_be_so_in_both():
    inf, nan = math.inf, math.nan
    want = values(output_a=[inf, nan, -inf, 1.0])
    assert worst(want, want).error == 0
    for got in ([inf, nan, inf, 1.0], [1.0, nan, -inf, 1.0], [inf, nan, -inf, nan]):
        assert worst(values(output_a=got), want).error == inf
    assert worst(values(output_a=[inf]), values(output_a=[1e9]), own=values(output_a=[inf])).error == 0


def test_what_is_allowed_follows_from_the_dtype():
    exact, low = values(output_a=[1.0]), values(output_a=[1.0 + 100 * 2**-23])
    lost = roundings(low, exact)
    assert lost["output a"] == pytest.approx(100)
    value = Value(torch.zeros(1), 2.0**-8)
    assert allowance(torch.float64, lost)("output a", value) == pytest.approx(2**-8 + 32 * 116 * 2**-52)
    assert allowance(torch.bfloat16, lost)("output a", value) == pytest.approx(2**-8 + 101 * 2**-7 + 32 * 116 * 2**-23)
    chaos = roundings(values(output_a=[2.0]), exact)
    assert allowance(torch.float32, chaos)("output a", value) == math.inf and allowance(torch.float64, chaos)("output a", value) == 1e-3


# The command


def test_json(backend, file, capsys):
    assert command(file(GATED), "--backend", "cpu", "--dtype", "float64", "--size", "D=3", "H=5", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    (cell,) = data["cells"]
    assert (data["version"], data["passed"], data["interrupted"]) == (1, True, False)
    assert (cell["cell"], cell["program"], cell["line"], cell["sizes"], cell["seed"]) == ("Gated", "cell.rnn", 1, SIZES, 0)
    assert cell["versions"]["torch"] == torch.__version__ and cell["devices"] == {"reference": "CPU", "cpu": "CPU"}
    one = next(c for c in cell["checks"] if c["check"] == "halves")
    assert one.keys() == {"check", "what", "verdict", "error", "allowed", "where", "call", "notes", "seconds"}
    assert one["verdict"] == "pass" and one["error"] <= one["allowed"] and one["call"] == "B=3, T=13, with a carried state and resets"


def test_several_cells_have_a_page_each(backend, file, capsys):
    two = GATED + GATED.replace("Gated", "Other")
    assert command(file(two), "--backend", "cpu", "--dtype", "float64", "--size", "D=3", "H=5") == 0
    assert capsys.readouterr().out.count(" passed, 1 not checked; ") == 2
    assert command("cell.rnn", "--cell", "Other", "--backend", "reference", "--size", "D=3", "H=5") == 0
    assert capsys.readouterr().out.startswith("Other(D=3, H=5)  cell.rnn:9\n")


def test_another_seed_draws_other_numbers(backend):
    found = [verify(GATED, seed=s) for s in (0, 0, 1)]
    errors = [[x.finding.error for x in r.cells[0].lines] for r in found]
    assert errors[0] == errors[1] != errors[2]


def test_the_generator_is_left_alone(backend):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    verify(NOISY)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_interruption_prints_what_there_is(backend, file, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, "gradcheck", interrupted)
    assert command(file(GATED), "--backend", "cpu", "--size", "D=3", "H=5") == 130
    out = capsys.readouterr().out
    assert "pass  equations" in out and "jacobian" not in out and out.endswith("what was found until then.\n")


def test_a_wrong_program_is_an_error(file, capsys):
    assert command(file(GATED.replace("W_z @ x", "W_q @ x"))) == 1
    out, err = capsys.readouterr()
    assert out == "" and "error[undefined]" in err
    assert command(file("# nothing\n")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.rnn"], "missing.rnn: no such file"),
        (["cell.rnn", "--cell", "Q"], "there is no cell Q; there is Gated"),
        (["cell.rnn", "--backend", "tpu"], "there is no tpu; there is reference, cpu, triton, torch"),
        (["cell.rnn", "--dtype", "int8"], "there is no int8; there is float64"),
        (["cell.rnn", "--size", "K=4"], "there is no size K; there is D, H"),
        (["cell.rnn", "--size", "H"], "give a name and a whole number"),
        (["cell.rnn", "--size", "H=0"], "size H must be at least 1"),
        (["cell.rnn", "--seed", "x"], "--seed x: give a whole number"),
    ],
)
def test_misuse(file, capsys, arguments, message):
    file(GATED)
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("rnndsl: ") and message in err


def test_a_backend_that_was_asked_for_must_run(file, capsys, monkeypatch):
    monkeypatch.setattr(BACKENDS["cpu"], "refusal", lambda cls: "no C++ compiler was found")
    assert command(file(GATED), "--backend", "cpu") == 2
    assert "--backend cpu: it cannot run Gated here: no C++ compiler was found" in capsys.readouterr().err
    report = rnndsl.verify(GATED, dtypes=("float64",), sizes=SIZES)
    assert any(x.finding.verdict == SKIP and x.finding.notes == ("no C++ compiler was found",) for x in report.cells[0].lines)


def test_the_documentation_runs(backend, monkeypatch, capsys):
    monkeypatch.chdir(EXAMPLES)
    (block,) = re.findall("```python\n(.*?)```", (ROOT / "docs" / "verify.md").read_text(encoding="utf-8"), re.S)
    exec(compile(block, "docs/verify.md", "exec"), {})
    assert capsys.readouterr().out.startswith("GRU(D=3, H=33)  gru.rnn:")


def test_in_python(backend):
    report = verify(GATED)
    assert str(report) == report.text and re.match("<pre style=.font-family: [^>]*monospace[^>]*>Gated", report._repr_html_())
    with pytest.raises(ValueError, match="there is no backend gpu"):
        rnndsl.verify(GATED, backends=("gpu",))
    with pytest.raises(ValueError, match="there is no dtype int8"):
        rnndsl.verify(GATED, dtypes=("int8",))
    with pytest.raises(rnndsl.RnnError):
        rnndsl.verify("cell C(:\n")


def test_help_needs_no_torch():
    code = "import sys; from rnndsl import cli\ntry:\n  cli.main(['verify', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "rnndsl verify gru.rnn" in done.stdout


def test_progress_says_what_is_checked(capsys):
    shown = []
    from rnndsl.tools.verify.run import verify as run

    run(Source("c.rnn", GATED), None, Settings(SIZES, ("reference",), ("float64",)), lambda *t: shown.append(t))
    assert shown[0][:3] == ("Gated", "equations", 0) and shown[-1][1] == "throughput" and shown[-1][2] == shown[-1][3] - 1
    progress = Progress(shown=True)
    progress(*shown[1])
    assert "Gated: finite 1/" in capsys.readouterr().err
