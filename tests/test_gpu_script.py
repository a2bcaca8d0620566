"""`benchmarks/gpu.py`, all of it, at tiny sizes in Triton's interpreter; and the pictures of what it writes. No timing is asserted."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch

from tests.forks import PYTHON
from tests.ptx.native import compiler as emulator

pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parent.parent
MADE_UP = ROOT / "tests" / "made_up_gpu_times.json"
PEERS = ("pararnn", "accelerated-scan", "FlashRNN", "fla", "TorchRL")
CELLS = ["ParaGRU", "MinGRU"]


def script(name: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run([*PYTHON, str(ROOT / "benchmarks" / name), *arguments], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[dict, str]:
    """What the script saved, and what it printed. The group that takes a C++ compiler and a minute is left out."""
    folder = tmp_path_factory.mktemp("gpu")
    done = script("gpu.py", "--device", "cpu", "--part", "--skip", "compiled", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.json")
    assert path.name == "gpu-interpreter-part-without-compiled.json"
    assert path.with_suffix(".md").read_text().startswith("# A dry run of benchmarks/gpu.py, not on a GPU\n")
    return json.loads(path.read_text()), done.stdout


def rows(ran, group: str) -> list[dict]:
    return ran[0]["groups"][group]


def test_it_runs_through(ran):
    data, out = ran
    assert list(data["groups"]) == ["agreement", "functions", "bounds", "times", "cycles", "rounds", "sanitizer", "dense", "layer", "model"]
    installed = [e for e in data["errors"] if not e["who"].startswith(PEERS)]
    assert installed == [] and data["machine"]["gpu"] is None and data["machine"]["triton"]
    assert all(f"\n{group} " in out for group in ("bounds", "agreement", "functions", "cycles", "rounds", "model"))
    assert "\nParaGRU, recurrence, forward and backward " in out


def test_numbers_agree(ran):
    found = rows(ran, "agreement")
    assert [(r["cell"], r["schedule"]) for r in found if r["dtype"] == "float32" and r["cell"] == "ParaGRU" and r["program"] == "para_gru"][:3] == [
        ("ParaGRU", s) for s in ("sequential", "newton", "auto")
    ]
    assert list(dict.fromkeys(r["cell"] for r in found))[:2] == CELLS and len({r["program"] for r in found}) > 2
    assert {r["dtype"] for r in found} == {"float32", "bfloat16"} and "step by step, as in decoding" in {r["schedule"] for r in found}
    assert all(r["right"] for r in found)


def test_functions_are_compared(ran):
    found = {(r["function"], r["dtype"]): r for r in rows(ran, "functions")}
    assert len(found) == 28 and all(r["not_finite_wrong"] == 0 for r in found.values())
    assert all(found[name, "float32"]["holds"] for name in ("exp2", "rsqrt", "sigmoid", "tanh"))
    assert all(r["mixed"] < (8 if name == "power" else 4) for (name, _), r in found.items())


def test_rounds_are_counted(ran):
    found = rows(ran, "rounds")
    assert {r["form"] for r in found} == {"shooting", "plain"} and {r["chunk"] for r in found} == {4, 8}
    assert all(1 <= r["rounds"] <= r["most_rounds"] <= r["lanes"] + 1 and r["gap"] < 1e-4 for r in found)


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_all_are_timed_at_each_shape(ran, direction):
    for cell in CELLS:
        found = {r["name"]: r for r in rows(ran, "times") if (r["cell"], r["direction"]) == (cell, direction)}
        parallel = "exact scan" if cell == "MinGRU" else "newton"
        assert {"sequential", parallel, "auto", "loop", "bound: bytes", "bound: special functions"} <= set(found)
        for name in ("sequential", parallel, "auto", "loop"):
            assert found[name]["gap"] < 1e-5 and found[name]["median"] > 0
        assert found["auto"]["of_best"] > 0 and found["auto"]["plan"] and found[parallel]["solved"][0]["chunks"] > 0
        assert found["bound: bytes"]["bytes_moved"] > 0 and found["bound: special functions"]["count"] > 0
    names = {r["name"] for r in rows(ran, "dense")}
    assert {"torch.nn", "loop", "auto"} <= names


def test_the_model_is_compared(ran):
    assert [(r["cell"], r["direction"]) for r in rows(ran, "model")] == [(c, d) for c in ("ParaGRU", "MinGRU") for d in ("forward", "backward")]
    assert all(c["predicted"] > 0 for r in rows(ran, "model") for c in r["candidates"])


def test_without_a_gpu():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = script("gpu.py")
    assert done.returncode == 2 and "PyTorch finds no GPU here" in done.stderr


def test_groups_are_checked():
    done = script("gpu.py", "--only", "bounds,speed")
    assert done.returncode == 2 and "there is no group speed; there is compile, agreement" in done.stderr


def test_the_command_knows_every_group(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu
    from on_gpu.groups import GROUPS

    assert sorted(["compile", *GROUPS]) == sorted(gpu.GROUPS)


def test_compiled_kernels_without_a_gpu(tmp_path):
    """A part of the command in the emulator: the pool compiles all that is launched after it, and nothing is wrong with the launches."""
    if emulator() is None:
        pytest.skip("the emulator needs a C++ compiler")
    done = script("gpu.py", "--device", "emulated", "--part", "--only", "compile,cycles", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "gpu-emulated-part-compile-cycles.json").read_text())
    assert data["errors"] == [] and data["machine"]["emulated"] == "sm_90" and data["left_out"] == []
    assert len(data["groups"]["cycles"]) == 2 * len(CELLS) and data["groups"]["compile"]
    assert data["compiled"]["cycles"]["hits"] > 0
    assert not any("misses" in counts for counts in data["compiled"].values()), data["compiled"]
    assert data["launches"]["cycles"]["launches"] > 0


def test_it_can_be_ended_at_any_moment(tmp_path):
    """What was measured until then is there, and a page."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--part", "--only", "bounds,times", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    path = tmp_path / "gpu-interpreter-part-bounds-times.json"
    for _ in range(1200):
        if path.exists() and json.loads(path.read_text())["groups"].get("bounds"):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    data = json.loads(path.read_text())
    assert process.returncode == 0 and data["groups"]["bounds"]
    assert any((row["group"], row["why"]) == ("times", "interrupted") for row in data["left_out"]), data["left_out"]
    assert "interrupted" in path.with_suffix(".md").read_text()


# The record


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from on_gpu.record import Record

    return lambda limit=100.0, machine=None: Record(tmp_path / "found.json", time.monotonic() + limit, machine)


def saved(record) -> dict:
    return json.loads(record.path.read_text())


def test_a_piece_that_fails_costs_no_other(record, capsys):
    def fails():
        yield {"a": 1}
        raise RuntimeError("no more\nat all")

    r = record()
    r.add("times", "here", fails)
    r.add("times", "there", lambda: [{"a": 2}])
    assert saved(r)["groups"] == {"times": [{"a": 1}, {"a": 2}]}
    assert saved(r)["errors"] == [{"group": "times", "who": "", "where": "here", "error": "RuntimeError: no more"}]
    assert capsys.readouterr().err == "times: here: RuntimeError: no more\n"


def test_when_the_time_is_up(record):
    from on_gpu.record import OutOfTime

    r = record(limit=-1.0)
    with pytest.raises(OutOfTime):
        r.add("times", "here", lambda: [])

    def late():
        yield {"a": 1}
        r.ends = 0.0
        r.check()

    r.ends = time.monotonic() + 100.0
    with pytest.raises(OutOfTime):
        r.add("times", "here", late)
    assert saved(r)["groups"]["times"] == [{"a": 1}], "what was measured until then"


def test_a_group_has_its_share(record):
    from on_gpu.record import ShareUsed

    r = record()
    r.begin("times", -1.0)
    with pytest.raises(ShareUsed):
        r.add("times", "here", lambda: [{"a": 1}])
    r.begin("layer", 100.0)
    r.add("layer", "there", lambda: [{"a": 2}])
    assert saved(r)["groups"]["layer"] == [{"a": 2}], "the next group has its own"


def test_a_piece_that_takes_too_long_is_an_error(record):
    def slow():
        yield {"a": 1}
        time.sleep(30)

    r = record()
    r.begin("times", 100.0)
    r.add("times", "here", slow, 0.2)
    assert saved(r)["groups"]["times"] == [{"a": 1}]
    assert [e["error"] for e in saved(r)["errors"]] == ["it took more than 0.2 s"]


def test_another_process_goes_on(record):
    r = record()
    r.begin("times", 100.0)
    r.add("times", "here", lambda: [{"a": 1}])
    again = record()
    again.begin("times", 100.0)
    again.add("times", "here", lambda: [{"a": 2}])
    again.add("times", "there", lambda: [{"a": 3}])
    assert saved(again)["groups"]["times"] == [{"a": 1}, {"a": 3}], "a piece that is over is not done again"


def test_what_the_sanitizer_says(record, monkeypatch, tmp_path):
    """With a sanitizer of the test's own, which runs the program and says what the real one does."""
    from on_gpu import sanitizer
    from on_gpu.device import Processor

    r = record()
    monkeypatch.setenv("PATH", "")
    assert list(sanitizer.rows("memcheck", Processor(), r)) == [] and r.data["left_out"][0]["why"] == "compute-sanitizer is not on the path"
    tool = tmp_path / "compute-sanitizer"
    tool.write_text('#!/bin/sh\nwhile [ "$1" != "-c" ]; do last="$1"; shift; done\n"$last" "$@"\necho "========= ERROR SUMMARY: 3 errors"\nexit 9\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.setattr(sanitizer, "PROGRAM", "import sys; print('ran', sys.argv[1])")
    assert list(sanitizer.rows("memcheck", Processor(), r)) == [
        {"tool": "memcheck", "status": 9, "ran": 1, "of": 4, "errors": 3, "last": "========= ERROR SUMMARY: 3 errors"}
    ]


# Processes that crash or hang

WORKER = """
import os, signal, sys, time
from pathlib import Path
from on_gpu.record import Record
record = Record(Path(sys.argv[1]), time.monotonic() + 100)
record.begin("times", 100.0)
record.add("times", "first", lambda: [{"a": 1}])
record.add("times", "crash", lambda: os.kill(os.getpid(), signal.SIGSEGV))
def hang():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # as in a call of the driver that does not return
    time.sleep(1000)
record.add("times", "hang", hang, 0.2)
record.add("times", "last", lambda: [{"a": 2}])
record.end("times")
"""


def test_a_crash_and_a_hang_cost_their_piece(record, monkeypatch, tmp_path):
    r = record()
    r.save()
    from on_gpu import record as module
    from on_gpu import watch

    monkeypatch.setattr(watch, "started", lambda *command: subprocess.Popen(
        [sys.executable, "-c", WORKER.replace("from on_gpu.record", "import on_gpu.record as m; m.GRACE = 0.3\nfrom on_gpu.record"), command[1]],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT)])}, start_new_session=True,
    ))  # fmt: skip
    monkeypatch.setattr(module, "GRACE", 0.3)
    watch.measured(r.path, "cpu", "tiny", time.monotonic() + 100, {"times": 100.0})
    assert saved(r)["groups"]["times"] == [{"a": 1}, {"a": 2}] and saved(r)["over"] == ["times"]
    assert [(e["where"], e["error"]) for e in saved(r)["errors"]] == [
        ("crash", "its process was ended by SIGSEGV"), ("hang", "it overran what it was given, and its process was killed"),
    ]  # fmt: skip


POOL = """
import json, os, sys, time
from pathlib import Path
folder, row = Path(sys.argv[1]), {"group": "times", "cell": "A", "kernel": "good", "error": ""}
(folder / "good").write_text(json.dumps(row | {"seconds": 1.0}))
(folder / "bad").write_text(json.dumps(row | {"kernel": "bad", "seconds": None, "error": "CompilationError: no"}))
(folder / "claimed").touch()
os.abort() if (folder / "second").exists() else (folder / "second").touch()
time.sleep(1000)
"""


def test_the_pool_outlives_a_crash_and_a_hang(record, monkeypatch, tmp_path):
    """A kernel that nobody could compile, one that a process was at when it was ended, a crash, and a process that never ends."""
    from on_gpu import ahead

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    started: list[subprocess.Popen] = []

    def start(*command, **_):
        if started:
            while not (tmp_path / "claims" / "second").exists():
                time.sleep(0.05)
        started.append(subprocess.Popen([sys.executable, "-c", POOL, command[1]], start_new_session=True, stderr=subprocess.DEVNULL))
        return started[-1]

    monkeypatch.setattr(ahead, "started", start)
    r = record()
    ahead.compiled(r, "cuda", "tiny", ("cuda", 90, 32), "", ["times"], 2.0)
    errors = {e["where"]: e["error"] for e in saved(r)["errors"]}
    assert errors["bad of A"] == "CompilationError: no" and errors["claimed of ?"].startswith("its process ended, or was killed")
    assert errors["a process of the pool"] == "it ended with status -6"
    assert all(p.poll() is not None for p in started) and saved(r)["over"] == ["compile"]
    assert {"group": "compile", "what": "the rest", "why": "its share of the time was up"} in saved(r)["left_out"]


def test_a_process_that_never_starts_ends_it(record, monkeypatch):
    r = record()
    r.save()
    from on_gpu import watch

    monkeypatch.setattr(watch, "started", lambda *command: subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"], start_new_session=True))
    watch.measured(r.path, "cpu", "tiny", time.monotonic() + 100, {"times": 100.0})
    assert {e["error"] for e in saved(r)["errors"]} == {"its process ended with status 7"}
    assert [(row["group"], row["what"]) for row in saved(r)["left_out"]] == [("times", "the rest")]


def test_the_page_is_made_from_the_data(tmp_path):
    data = tmp_path / "found.json"
    rows = [{"cell": "MinGRU", "schedule": "sequential", "dtype": "float32", "outputs": 1e-7, "gradients": 2e-7}]
    found = {"machine": {"gpu": "a GPU"}, "groups": {"agreement": rows, "layer": []}, "errors": [], "left_out": [], "seconds": 1.0}
    data.write_text(json.dumps(found))
    done = script("gpu_page.py", str(data))
    assert done.returncode == 0, done.stderr
    text = data.with_suffix(".md").read_text()
    assert text.startswith("# Triton kernels on ") and all(f"\n## {group}\n" in text for group in json.loads(data.read_text())["groups"])
    data.write_text("{}")
    assert script("gpu_page.py", str(data)).returncode == 2


def test_a_gpu_that_answers_no_more_is_left_by_its_process(record):
    from on_gpu.device import Processor
    from on_gpu.record import Lost

    def lost(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    machine = Processor()
    machine.synchronize = lost
    r = record(machine=machine)
    with pytest.raises(Lost):
        r.add("times", "here", lost)
    assert [e["where"] for e in saved(r)["errors"]] == ["here", "the GPU answers no more"] and "here" in saved(r)["pieces"]["times"]


def test_a_candidate_that_fails_again_and_again_is_left_alone(record):
    r = record()
    for _ in range(3):
        assert not r.is_hopeless("times", "peer")
        r.error("times", "here", RuntimeError(), "peer")
    assert r.is_hopeless("times", "peer") and not r.is_hopeless("layer", "peer")


def test_memory_and_the_time_of_the_host(record, monkeypatch):
    """With a GPU of the test's own: what a call holds at most beyond what was held, and how long it takes to return."""
    from on_gpu.device import Gpu
    from on_gpu.timing import host_and_peak

    done: list[str] = []
    for name, value in {"synchronize": None, "reset_peak_memory_stats": None, "memory_allocated": 100, "max_memory_allocated": 350}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name, value=value: (done.append(name), value)[1])
    machine = Gpu.__new__(Gpu)
    machine.device = torch.device("cuda")
    host, peak = host_and_peak(lambda: done.append("call"), machine)
    assert host >= 0 and peak == 250
    measured = ["reset_peak_memory_stats", "memory_allocated", "call", "synchronize", "max_memory_allocated"]
    assert done == ["synchronize", "call", "synchronize", *measured]


def test_the_clock_is_measured(record):
    from on_gpu import bounds
    from on_gpu.device import Processor

    machine = Processor()
    machine.spin, machine.timer = (lambda cycles: None), (lambda call: (call(), 0.025)[1])
    (row,) = bounds.clock(machine)
    assert row["per_second"] == 2e9 and bounds.rate([row, row | {"per_second": 1.0}], "clock") == 2e9
    assert bounds.rate([], "clock") is None


def test_slow_calls_are_timed_less_often(record):
    from on_gpu import timing

    seconds = {"quick": 1e-5, "slow": 1.0, "hopeless": 60.0}
    failures = []
    calls = {name: (lambda name=name: name) for name in (*seconds, "broken")}
    found = timing.race(calls, lambda call: seconds[call()], 11, lambda name, e: failures.append((name, type(e))))
    assert {name: len(t.seconds) for name, t in found.items()} == {"quick": 11, "slow": 3, "hopeless": 1}
    assert failures == [("broken", KeyError)]


# Pictures


@pytest.fixture
def pictures(monkeypatch, capsys):
    """Runs the script in this process: its exit status, and what it printed."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import pictures as module

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["pictures.py", *map(str, arguments)])
        status = module.main()
        return status, "".join(capsys.readouterr())

    return run


def test_pictures(pictures, tmp_path):
    status, said = pictures(MADE_UP, "--out", tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    recurrence = [f"made_up_gpu_times-recurrence-{d}-over-{a}.svg" for d in ("both", "forward") for a in ("T", "channels")]
    assert names == ["made_up_gpu_times-layer-forward-over-T.svg", *recurrence]
    assert status == 0 and sorted(said.splitlines()) == [f"wrote {tmp_path / n}" for n in names]
    for name in names:
        ET.parse(tmp_path / name)


def test_what_pictures_cannot_draw(pictures, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    data = json.loads(MADE_UP.read_text())
    (tmp_path / "none.json").write_text(json.dumps(data | {"groups": {}}))
    data["machine"]["gpu"] = "another GPU that does not exist"
    (tmp_path / "another.json").write_text(json.dumps(data))
    for files, expected, words in [
        (["other.json"], 2, "is not a file that benchmarks/gpu.py has written"), (["missing.json"], 2, "No such file"),
        (["none.json"], 0, "there is no line to draw"), (["none.json", "another.json"], 2, "the files are of several machines"),
    ]:  # fmt: skip
        status, said = pictures(*(tmp_path / f for f in files))
        assert status == expected and words in said
