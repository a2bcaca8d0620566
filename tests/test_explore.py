"""Exploring: what is run, how it is trained, and that no run is lost or doubled, whoever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import TrialState

from rnndsl import cli, zoo
from rnndsl.explore.candidates import BASELINES, candidates
from rnndsl.explore.fitting import parameters, shape_of
from rnndsl.explore.models import model
from rnndsl.explore.plan import Case, Open, Plan
from rnndsl.explore.recipe import Training, share_of_rate
from rnndsl.explore.records import records
from rnndsl.explore.runs import carry_out
from rnndsl.explore.shapes import Request
from rnndsl.explore.store import ATTEMPTS, JOURNAL, Store
from rnndsl.explore.training import Run, lengths_beyond
from rnndsl.explore.worker import do, fingerprint, work_of
from rnndsl.tasks import Batch, Task, at_end, task
from rnndsl.tools import Unfit
from tests import choice

ROOT = Path(__file__).resolve().parent.parent
CELL = """cell {name}(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param a: [H]
  h[t] = tanh(W @ x + a * h[t-1]{more})
  output h
"""
QUICK = Training(steps=6, batch=4, looks=2)


def last(draw, count, length, split):
    """Asked at the end is the last token."""
    tokens = draw.below(4, count, length)
    return Batch(tokens, at_end(tokens[:, -1], length))


EASY = Task("easy", "the last token", "", last, answers=4, train=(2, 4), test=(4, 9), symbols=4)


def plan(**changes) -> Plan:
    given = {"candidates": candidates(["torch.nn.RNN"]), "tasks": (EASY,), "requests": (Request(dim=8),), "rates": (1e-2,), "seeds": range(2), "training": QUICK}
    return Plan(**{**given, **changes})


# What is explored


def test_cells_of_files_folders_and_the_zoo(tmp_path):
    (tmp_path / "one.rnn").write_text(CELL.format(name="Mine", more=""))
    (tmp_path / "two.rnn").write_text(CELL.format(name="Mine", more=" + 1") + CELL.format(name="Other", more=""))
    assert [c.label for c in candidates([str(tmp_path / "one.rnn"), "GRU", "min_gru", "torch.nn.LSTM"])] == ["Mine", "GRU", "MinGRU", "torch.nn.LSTM"]
    assert [c.label for c in candidates([str(tmp_path)])] == ["one", "two", "Other"], "two of one name are called after their files"
    assert [c.label for c in candidates([f"{tmp_path}/two.rnn:Other"])] == ["Other"]
    assert len(candidates(["GRU", "GRU"])) == 1
    (tmp_path / "three.rnn").write_text(CELL.format(name="transformer", more="") + CELL.format(name="GRU", more=""))
    like = candidates([str(tmp_path / "three.rnn"), "GRU", "transformer"])
    assert [c.label for c in like] == ["three:transformer", "three:GRU", "gru", "transformer"], "what is called like a baseline is none"
    plan(candidates=like[:1]).cases()
    edited = candidates([str(tmp_path / "one.rnn")])[0].key
    (tmp_path / "one.rnn").write_text(CELL.format(name="Mine", more=" * 2"))
    assert candidates([str(tmp_path / "one.rnn")])[0].key != edited


@pytest.mark.parametrize(("names", "said"), [(["Gru4"], "did you mean"), (["nowhere.rnn"], "nowhere.rnn"), (["{empty}"], "no .rnn file"), (["{file}:Nothing"], "there is Mine")])
def test_what_is_no_cell(tmp_path, names, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.rnn").write_text(CELL.format(name="Mine", more=""))
    with pytest.raises((Unfit, OSError), match=said):
        candidates([n.format(empty=tmp_path / "empty", file=tmp_path / "a.rnn") for n in names])


def test_every_cell_of_the_zoo_that_can_stands_in_a_block():
    """One in four of them, and those that cannot; with --all each."""
    cannot = {"CfC", "GRUD", "Izhikevich", "Kalman", "PhasedLSTM", "RKN", "RLS", "SCRN"}
    refused = {}
    for name in {*[e.name for e in zoo.entries()][:: 1 if choice.everything else 4], *cannot}:
        (c,) = candidates([name])
        try:
            shape = shape_of(c, EASY, QUICK, Request(dim=8), [c])
            assert parameters(c, EASY, QUICK, shape) > 0
            assert c.facts["family"] and c.facts["structure"] and c.facts["growth"]
        except Unfit as problem:
            refused[name] = str(problem)
    assert set(refused) == cannot, "cells with several inputs or outputs"
    assert all(name in said and "one vector in and one out" in said for name, said in refused.items())


def test_sizes_follow_from_what_was_asked_for():
    gru, delta = candidates(["GRU", "GatedDeltaNet"])
    assert shape_of(gru, EASY, QUICK, Request(sizes=(("H", 24), ("N", 2))), [gru]).text == "dim=24 D=24 H=24"
    assert shape_of(delta, EASY, QUICK, Request(dim=32, sizes=(("N", 2),)), [delta]).text == "dim=32 D=32 N=2 K=8 V=8"
    (deep,) = candidates(["DeltaProduct"])
    assert shape_of(deep, EASY, QUICK, Request(dim=32), [deep]).text == "dim=32 D=32 N=4 K=8 V=8 L=2"


@pytest.mark.parametrize("block", ["plain", "full"])
@pytest.mark.parametrize("name", BASELINES)
def test_baselines_have_as_many_parameters_as_the_first_cell(name, block):
    training = replace(QUICK, block=block)
    own, base = candidates(["GRU", name])
    request = Request(dim=32)
    wanted = parameters(own, EASY, training, shape_of(own, EASY, training, request, [own, base]))
    found = parameters(base, EASY, training, shape_of(base, EASY, training, request, [own, base]))
    assert abs(found / wanted - 1) < 0.03


@pytest.mark.parametrize("name", ["GRU", "MinGRU", "GatedDeltaNet", "torch.nn.GRU", "transformer"])
def test_as_many_parameters_as_were_asked_for(name):
    (c,) = candidates([name])
    training = replace(QUICK, block="full", layers=2)
    shape = shape_of(c, EASY, training, Request(dim=32 if c.source is None else None, parameters=60_000), [c])
    assert abs(parameters(c, EASY, training, shape) / 60_000 - 1) < 0.06


@pytest.mark.parametrize("block", ["plain", "full"])
@pytest.mark.parametrize("name", ["GRU", *BASELINES])
def test_models_see_no_later_step(name, block):
    (c,) = candidates([name])
    training = replace(QUICK, block=block, layers=2)
    torch.manual_seed(0)
    m = model(c, EASY, training, shape_of(c, EASY, training, Request(dim=16), [c])).double()
    inputs = EASY.batch(3, 0, length=11).inputs
    changed = inputs.clone()
    changed[:, 7:] = 3 - changed[:, 7:]
    torch.testing.assert_close(m(inputs)[:, :7], m(changed)[:, :7], rtol=0, atol=1e-12)
    assert (m(inputs)[:, 7:] - m(changed)[:, 7:]).abs().min(0).values.max() > 1e-6


# How it is trained


def test_a_run_learns_and_stops_when_it_has():
    (case, *_) = plan(training=Training(steps=400, batch=32, looks=40)).cases()
    run = Run(case, Training(steps=400, batch=32, looks=40))
    looks = list(run)
    outcome = run.outcome()
    assert outcome.status == "solved" and outcome.is_solved and outcome.metric >= 0.99 and outcome.beyond >= 0.99
    assert outcome.steps == looks[-1].step < 400 and outcome.solved_at <= outcome.steps
    assert list(outcome.by_length) == [4, *lengths_beyond(EASY)] and lengths_beyond(EASY)[-1] == 9


def test_the_same_seed_gives_the_same_run():
    one, other, third = (Run(c, QUICK) for c in [*plan().cases()[:1] * 2, plan().cases()[1]])
    numbers = [[(look.step, look.loss, look.score) for look in run] for run in (one, other, third)]
    assert numbers[0] == numbers[1] != numbers[2]
    assert one.outcome().by_length == other.outcome().by_length


def test_a_run_that_diverges_says_so():
    (case, *_) = plan(rates=(1e30,)).cases()
    run = Run(case, replace(QUICK, steps=40, clip=1e30))
    list(run)
    outcome = run.outcome()
    assert outcome.status == "diverged" and outcome.metric is None and not outcome.is_solved and outcome.steps < 40


def test_the_rate_rises_and_falls():
    shares = [share_of_rate(s, Training(steps=100)) for s in range(100)]
    assert shares[0] == pytest.approx(0.2) and max(shares) == shares[5] == 1.0
    assert shares[:5] == sorted(shares[:5]) and shares[5:] == sorted(shares[5:], reverse=True) and shares[-1] == pytest.approx(0.1, abs=0.01)


def test_values_in_and_out():
    own = plan(tasks=(task("adding"), task("lorenz")), training=replace(QUICK, steps=2)).cases()
    for case in own[:2]:
        run = Run(case, replace(QUICK, steps=2))
        assert len(list(run)) == 2 and run.outcome().metric is not None


@pytest.mark.parametrize("forcing", [0.15, "adaptive"])
def test_a_forced_cell_is_trained_on_data_and_judged_by_what_it_makes_itself(forcing):
    training, lorenz = replace(QUICK, steps=60, looks=2, forcing=forcing), task("lorenz").as_system()
    (case, *_) = plan(candidates=candidates(["ShallowPLRNN"]), tasks=(lorenz,), requests=(Request(sizes=(("H", 5), ("M", 7))),), rates=(0.03,), training=training).cases()
    assert case.shape.text == "dim=5 D=1 H=5 M=7"
    run = Run(case, training)
    first, last = run
    outcome = run.outcome()
    assert last.loss < first.loss < 0.5 * lorenz.batch(4, 0).targets.square().mean() and 0 < outcome.metric < 15 and set(outcome.by_length) > {200, 1000}
    inputs = lorenz.batch(2, 0, length=9).inputs
    assert torch.equal(run.model.eval()(inputs), run.model.forecaster.generate(inputs[:, :1], 9))
    assert torch.equal(run.model.train()(inputs), run.model.forecaster(inputs)) and (abs(run.model.forecaster.alpha - 0.15) < 1e-6) is (forcing == 0.15)


def test_what_cannot_be_forced():
    training = replace(QUICK, forcing=0.5)
    for name, said in (("torch.nn.GRU", "has none"), ("LinearAttention", "no real vector"), ("DeltaNet", "no real vector")):
        with pytest.raises(Unfit, match=said):
            plan(candidates=candidates([name]), tasks=(task("lorenz").as_system(),), training=training).cases()
    with pytest.raises(ValueError, match="parity is no system"):
        task("parity").as_system()


# No run is lost, none is doubled


def test_queueing_twice_queues_once(tmp_path):
    for _ in range(2):
        store = Store(str(tmp_path / "study"), is_new=True)
        work = work_of(plan(), plan().cases(), store)
        (group,) = work.queued().values()
        assert len(group.trials) == 2
    work = work_of(plan(seeds=range(3)), plan(seeds=range(3)).cases(), store)
    assert [len(g.trials) for g in work.queued().values()] == [3], "a larger command adds what is missing"


@pytest.mark.parametrize("where", ["{}/study", "sqlite:///{}/study.db"])
def test_what_one_worker_has_no_other_takes(tmp_path, where):
    stores = [Store(where.format(tmp_path), is_new=True) for _ in range(2)]
    works = [work_of(plan(), plan().cases(), s) for s in stores]
    groups = [next(iter(w.queued().values())) for w in works]
    first, second = works[0].cases
    with stores[0].taken(groups[0], first) as mine:
        assert mine is not None
        for group in (groups[1], stores[1].now(groups[1])):  # one that has not heard of it yet, and one that has
            with stores[1].taken(group, first) as theirs:
                assert theirs is None
        with stores[1].taken(groups[1], second) as theirs:
            assert theirs is not None
            stores[1].queue(stores[1].now(groups[1]), works[1].cases)
            assert [t.state for t in stores[1].now(groups[1]).trials] == [TrialState.RUNNING] * 2, "who lives keeps what he has"
        mine.study.tell(mine, 0.5)
    with stores[1].taken(stores[1].now(groups[1]), first) as theirs:
        assert theirs is None


def test_what_a_dead_worker_had_is_taken_up_again_and_given_up_in_the_end(tmp_path):
    store = Store(str(tmp_path / "study"), is_new=True)
    work = work_of(plan(seeds=range(1)), plan(seeds=range(1)).cases(), store)
    for attempt in range(ATTEMPTS):
        (group,) = work.queued().values()
        assert [t.state for t in group.trials] == [TrialState.FAIL] * attempt + [TrialState.WAITING]
        with store.taken(group, work.cases[0]) as trial:
            assert trial is not None  # and is never told how it ended
            assert records(store)[0]["status"] == "running"
        assert records(store)[0]["status"] == "waiting", "nobody runs it"
    (group,) = work.queued().values()
    assert [t.state for t in group.trials] == [TrialState.FAIL] * ATTEMPTS
    (record,) = records(store)
    assert record["status"] == "failed" and "died" in record["error"]
    do(work, "cpu", lambda *_: None)  # and there is nothing left to do
    again = work_of(plan(), plan().cases(), Store(str(tmp_path / "study"), is_new=True))  # but for who has not seen it, and then it comes last
    begun: list[int] = []
    do(again, "cpu", lambda case, look: begun.append(case.seed) if look is None else None)
    assert begun == [1, 0] and [r["status"] for r in records(again.store)] == ["done", "done"]


def test_half_a_line_in_the_journal_is_taken_away(tmp_path):
    store = Store(str(tmp_path / "study"), is_new=True)
    work_of(plan(), plan().cases(), store).queued()
    with (tmp_path / "study" / JOURNAL).open("a") as f:
        f.write('{"op_code": 4, "work')
    again = Store(str(tmp_path / "study"), is_new=False)
    (group,) = work_of(plan(), plan().cases(), again).queued().values()
    assert len(group.trials) == 2


def test_a_line_that_somebody_left_half_is_taken_away_by_who_writes_next(tmp_path):
    store = Store(str(tmp_path / "study"), is_new=True)
    with (tmp_path / "study" / JOURNAL).open("a") as f:
        f.write('{"op_code": 4, "work')
    work_of(plan(), plan().cases(), store).queued()
    assert len(records(store)) == 2


@pytest.mark.parametrize("text", ['{"hello": 1}\n', "hello\n{}\n", "3\n"])
def test_what_is_no_journal(tmp_path, text):
    (tmp_path / JOURNAL).write_text(text)
    with pytest.raises(Unfit, match="no journal of a study, or it is damaged"):
        Store(str(tmp_path), is_new=False)


def test_in_a_database_a_heart_beats_before_a_trial_runs(tmp_path, monkeypatch):
    """Else the trial of who dies at once would be running for ever."""
    store = Store(f"sqlite:///{tmp_path}/study.db", is_new=True)
    work = work_of(plan(), plan().cases(), store)
    (group,) = work.queued().values()
    beaten: list[int] = []
    monkeypatch.setattr(store._storage, "record_heartbeat", lambda trial: beaten.append(store._storage.get_trial(trial).state))
    with store.taken(group, work.cases[0]):
        assert beaten == [TrialState.WAITING]


def test_nothing_is_begun_once_it_is_over(tmp_path):
    work = work_of(plan(), plan().cases(), Store(str(tmp_path / "study"), is_new=True))
    begun: list[int] = []
    do(work, "cpu", lambda case, look: begun.append(case.seed) if look is None else None, lambda: len(begun) == 1)
    assert begun == [0] and [r["status"] for r in records(work.store)] == ["done", "waiting"]


def test_a_cell_is_the_same_whatever_it_is_called(tmp_path):
    """As where another command has one more of its name."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.rnn").write_text(CELL.format(name="Mine", more=" * 2" * (name == "two")))
    store = Store(str(tmp_path / "study"), is_new=True)
    for files in (["one.rnn"], ["one.rnn", "two.rnn"]):
        own = plan(candidates=candidates([str(tmp_path / f) for f in files]))
        work = work_of(own, own.cases(), store)
        groups = work.queued()
    assert [len(g.trials) for g in groups.values()] == [2, 2] and len(store.groups()) == 2
    assert list(dict.fromkeys(r["cell"] for r in records(store))) == ["Mine", "two"]


def test_tasks_of_one_name_are_told_apart(tmp_path):
    store = Store(str(tmp_path / "study"), is_new=True)
    other = replace(EASY, solved=0.5)
    for t in (EASY, other):
        own = plan(tasks=(t,))
        work_of(own, own.cases(), store).queued()
    assert [(r["task"], r["goal"]) for r in records(store)][1:3] == [(f"easy@{fingerprint(EASY)}", 0.99), (f"easy@{fingerprint(other)}", 0.5)]


def test_a_study_trains_in_one_way(tmp_path):
    store = Store(str(tmp_path / "study"), is_new=True)
    work_of(plan(), plan().cases(), store).queued()
    other = plan(training=replace(QUICK, steps=7))
    with pytest.raises(Unfit, match="steps 6 and not 7"):
        work_of(other, other.cases(), store)


def test_a_task_that_draws_otherwise_is_another():
    other = replace(EASY, make=lambda *a: Batch(*(t.clone() for t in last(*a[:2], a[2] + 1, *a[3:]))))
    assert fingerprint(EASY) == fingerprint(replace(EASY)) != fingerprint(other)


def test_a_cell_that_fails_hides_no_other(tmp_path):
    def wrong(draw, count, length, split):
        raise ArithmeticError("nobody knows")

    store = Store(str(tmp_path / "study"), is_new=True)
    work = work_of(plan(), plan().cases(), store)
    (group,) = work.queued().values()
    broken = replace(work.cases[0], task=replace(EASY, make=wrong))
    with store.taken(group, work.cases[0]) as trial:
        carry_out(broken, trial, QUICK, "cpu", lambda *_: None)
    do(work, "cpu", lambda *_: None)
    assert [(r["status"], r["error"]) for r in records(store)] == [("failed", "ArithmeticError: nobody knows"), ("done", None)]


def test_messages_keep_passwords_to_themselves():
    with pytest.raises(Unfit, match="foo://joe:…@host/x: ") as e:
        Store("foo://joe:s3c:r@t@host/x", is_new=True)
    assert "s3c" not in str(e.value)


def test_a_search_chooses_rates_and_sizes(tmp_path):
    searching = plan(requests=(Request(dim=4), Request(dim=8)), rates=(1e-4, 1e-2), search=4)
    cases = searching.cases()
    assert all(isinstance(c, Open) for c in cases) and len(cases) == 4
    store = Store(str(tmp_path / "study"), is_new=True)
    do(work_of(searching, cases, store), "cpu", lambda *_: None)
    found = records(store)
    assert len({r["lr"] for r in found}) == 4 and all(1e-4 <= r["lr"] <= 1e-2 for r in found)
    assert {r["dim"] for r in found} <= {4, 8} and {r["seed"] for r in found} == {0, 1, 2, 3}
    assert all(r["status"] in ("done", "stopped") for r in found)


def test_each_record_says_everything(tmp_path):
    own = plan(candidates=candidates(["MinGRU", "transformer"]))
    store = Store(str(tmp_path / "study"), is_new=True)
    do(work_of(own, own.cases(), store), "cpu", lambda *_: None)
    found = records(store)
    assert [(r["cell"], r["seed"]) for r in found] == [("MinGRU", 0), ("MinGRU", 1), ("transformer", 0), ("transformer", 1)]
    assert json.loads(json.dumps(found)) == found
    for r in found:
        empty = {n for n, v in r.items() if v is None}
        assert empty <= {"solved_at", "error"} | ({"family", "structure", "growth"} if r["cell"] == "transformer" else set())
        assert r["training"] == QUICK.data and r["steps"] == 6 and len(r["looks"]) == 2 and r["chance"] == EASY.chance


# The command

SLOW = """import time
from rnndsl.tasks import Batch, Task, at_end
def slow(draw, count, length, split):
    time.sleep(0.05)
    tokens = draw.below(4, count, length)
    return Batch(tokens, at_end(tokens[:, -1], length))
TASK = Task("slow", "the last token", "", slow, answers=4, train=(2, 4), test=(4, 9), symbols=4)
"""


MINE = """from rnndsl.tasks import Task
TASKS = [Task(name, "", "", lambda *_: 1 / 0, answers=2, train=(3, 3), test=(3, 3), symbols=2) for name in ("parity", "broken")]
"""


def started(folder, *more):
    words = ["torch.nn.RNN", "--task", "slow.py", "--seeds", "3", "--steps", "20", "--batch", "4", "--dim", "8", "--study", "s", "--json", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "rnndsl", "explore", *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_killed_workers_lose_nothing_and_double_nothing(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    for _ in range(2):  # each is killed at its work
        worker = started(tmp_path)
        store = None
        before = Counter(r["status"] for r in records(Store(str(tmp_path / "s"), is_new=False))) if (tmp_path / "s").exists() else Counter()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if (tmp_path / "s" / JOURNAL).is_file():
                store = store or Store(str(tmp_path / "s"), is_new=False)
                counts = Counter(t.state for g in store.groups() for t in g.trials)
                if counts[TrialState.RUNNING] and worker.poll() is None and sum(counts.values()) >= 3 + bool(before):
                    break
            time.sleep(0.05)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    done = started(tmp_path, "--workers", "2")
    out, said = done.communicate(timeout=240)
    assert done.returncode == 0, said.decode()
    assert said.decode() == "", "quiet where nobody looks"
    found = json.loads(out)
    assert sorted(r["seed"] for r in found) == [0, 1, 2] and all(r["status"] == "done" for r in found)
    study = Store(str(tmp_path / "s"), is_new=False).groups()[0]
    ended = Counter(t.user_attrs["case"] for t in study.trials if t.state == TrialState.COMPLETE)
    assert list(ended.values()) == [1, 1, 1]
    assert 1 <= sum(t.state == TrialState.FAIL for t in study.trials) <= 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["GRU"], "name tasks with --task"),
        (["--task", "parity"], "name cells"),
        (["GRU", "--task", "paritty"], "did you mean parity"),
        (["GRU", "--task", "parity", "--lr", "fast"], "--lr fast: give a positive number"),
        (["GRU", "--task", "parity", "--steps", "0"], "--steps 0: give a whole number"),
        (["GRU", "--task", "parity", "--size", "H"], "--size H"),
        (["GRU", "--task", "parity", "--size", "M=2"], "--size M: no cell has a size of this name; there are D, H"),
        (["GRU", "--task", "parity", "--dim", "8", "--parameters", "1000"], "leave one out"),
        (["--show", "nowhere"], "there is no study in it"),
        (["GRU", "--show", "nowhere"], "runs nothing"),
        (["Kalman", "--task", "parity"], "one vector in and one out"),
        (["GRU", "--task", "nowhere.py"], "nowhere.py"),
        (["GRU", "--task", "parity", "--seeds", "5-3"], "--seeds 5-3: there is none from 5 to 3"),
        (["GRU", "--task", "parity", "--seeds", "1,"], "give how many, or which"),
        (["GRU", "--task", "parity,mine.py"], "two different tasks are called parity"),
        (["GRU", "--task", "mine.py:broken"], "task broken: ZeroDivisionError"),
        (["GRU", "--task", "parity", "--forcing", "0.5"], "parity is no system"),
        (["GRU", "--task", "lorenz", "--forcing", "2"], "give a number from 0 to 1"),
        (["GRU", "--task", "lorenz", "--forcing", "adaptive", "--layers", "2"], "leave out --layers"),
    ],
)
def test_what_cannot_be_run(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    assert cli.main(["explore", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_wrong_program_is_called_by_its_file(tmp_path, capsys):
    (tmp_path / "wrong.rnn").write_text("cell\n")
    assert cli.main(["explore", str(tmp_path), "--task", "parity"]) == 1
    assert "wrong.rnn:1:" in capsys.readouterr().err


def test_cases_are_plain(tmp_path):
    (case, *_) = plan().cases()
    assert isinstance(case, Case) and case.settled(None) is case
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
