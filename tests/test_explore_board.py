"""The leaderboard of explore, from made-up records."""

import csv
import io
import json
import sys
from html.parser import HTMLParser

import pytest

from rnndsl.explore.board import board_of
from rnndsl.explore.page import page
from rnndsl.explore.picture import draw
from rnndsl.explore.table import csv_text, table
from rnndsl.tools import NoMatplotlib, Unfit

TRAINING = {"steps": 1600, "batch": 128, "layers": 1, "block": "plain", "clip": 1.0, "decay": 0.01, "warmup": 0.05, "rate_end": 0.1, "looks": 20}
TASKS = {
    "parity": {"metric_name": "accuracy", "chance": 0.5, "goal": 0.99, "train": [3, 40], "test": [40, 160]},
    "digits": {"metric_name": "accuracy", "chance": 0.1, "goal": 0.99, "train": [784, 784], "test": [784, 784]},
    "text": {"metric_name": "nats", "chance": 3.0, "goal": None, "train": [256, 256], "test": [256, 1024]},
    "adding": {"metric_name": "mse", "chance": 0.16, "goal": 0.01, "train": [50, 100], "test": [100, 400]},
}
OUTCOME = ("steps", "metric", "beyond", "by_length", "solved", "solved_at", "parameters", "seconds", "step_seconds", "looks")


def record(score=None, beyond=None, *, cell="GRU", task="parity", seed=0, lr=3e-3, status="done", size="dim=64 H=64", steps=1600, error=None, **more):
    """A run with a score at training's longest length, and one at twice and four times that; without a score it has not ended, or diverged."""
    is_baseline = cell.startswith("torch") or cell == "transformer"
    facts = (None, None, None) if is_baseline else ("nonlinear", "dense", "h in [-1, 1]")
    found = {
        "cell": cell, "key": f"key of {cell}", **dict(zip(("family", "structure", "growth"), facts, strict=True)), "task": task, "about": f"what {task} is", **TASKS[task],
        "size": size, "dim": 64, "sizes": {"H": 64}, "seed": seed, "lr": lr, "status": status, **dict.fromkeys(OUTCOME), "error": error, "training": TRAINING,
        "device": "cpu", "machine": "a processor", "threads": 1, "torch": "2.9.1", "python": "3.11.7", "rnndsl": "0.2.0",
    }  # fmt: skip
    low, high = TASKS[task]["train"][1], TASKS[task]["test"][1]
    if score is not None:
        lengths = [low] if low == high else [low, 2 * low, 4 * low]
        scores = [score, *[score if beyond is None else beyond] * (len(lengths) - 1)]
        is_solved = score >= 0.99 if TASKS[task]["metric_name"] == "accuracy" else task == "adding" and score <= 0.01
        looks = [{"step": s, "loss": 2.0 / s, "score": score, "beyond": scores[-1]} for s in (steps // 2, steps)]
        found |= {
            "steps": steps, "metric": score, "beyond": scores[-1] if len(scores) > 1 else None, "by_length": [list(p) for p in zip(lengths, scores, strict=True)],
            "solved": is_solved, "solved_at": steps // 2 if is_solved else None, "parameters": 30000, "seconds": 14.0 + seed, "step_seconds": 0.018, "looks": looks,
        }  # fmt: skip
    elif status == "diverged":
        found |= {"steps": 1, "by_length": [], "solved": False, "parameters": 30000, "seconds": 0.1, "step_seconds": None, "looks": []}
    return found | more


def only(records):
    """The one entry of a board of one row and one task."""
    (row,) = board_of(records).rows
    (entry,) = row.entries.values()
    return entry


def test_an_entry_is_over_seeds():
    e = only([record(1.0, 0.995, seed=0, steps=400), record(0.992, 0.8, seed=1, steps=800), record(0.7, 0.6, seed=2)])
    assert (e.solved, e.solved_beyond, e.seeds, e.worst, e.lr) == (2, 1, 3, 0.7, 3e-3)
    assert e.mean == pytest.approx((1 + 0.992 + 0.7) / 3) and e.spread == pytest.approx(0.1710, abs=1e-4)
    assert e.beyond == pytest.approx((0.995 + 0.8 + 0.6) / 3)
    assert [n for n, *_ in e.by_length] == [40, 80, 160] and e.by_length[2][1:] == pytest.approx((0.79833, 0.6, 0.995), abs=1e-5)
    assert (e.solved_at, e.parameters, e.seconds, e.step_seconds) == (300, 30000, 15.0, 0.018)


def test_a_run_that_ended_early_stays_as_it_was_last_seen():
    e = only([record(1.0, seed=0, steps=400), record(0.6, seed=1, steps=1600), record(seed=2, status="diverged")])
    assert e.curve("score") == tuple((s, pytest.approx(v)) for s, v in ((200, 1.0), (400, 1.0), (800, 0.8), (1600, 0.8)))


def test_the_best_rate_has_the_best_mean_and_as_many_seeds_as_any():
    slow = [record(s, seed=i, lr=1e-3) for i, s in enumerate((0.9, 0.9))]
    lucky = [record(1.0, seed=0, lr=1e-2), record(seed=1, lr=1e-2, status="diverged")]  # 0.75 in the mean
    early = [record(1.0, seed=0, lr=3e-3), record(seed=1, lr=3e-3, status="running")]
    e = only([*slow, *lucky, *early])
    assert (e.lr, e.rates, e.counts["diverged"], e.counts["running"], e.is_open) == (1e-3, (1e-3, 3e-3, 1e-2), 1, 1, True)
    e = only([record(0.9, seed=0, lr=1e-3), record(0.9, seed=0, lr=1e-2), record(0.95, seed=0, lr=3e-3, task="parity")])
    assert e.lr == 3e-3


def test_of_rates_that_are_equally_good_the_sooner_solved_one_is_best():
    assert only([record(1.0, lr=1e-3, steps=1600), record(1.0, lr=3e-3, steps=400), record(1.0, lr=1e-2, steps=800)]).lr == 3e-3


def test_small_scores_are_the_good_ones_of_losses():
    text = only([record(1.2, task="text", lr=1e-3), record(1.4, task="text", lr=3e-3), record(1.3, task="text", seed=1, lr=1e-3)])
    assert (text.lr, text.worst, text.solved_beyond, text.column.has_goal) == (1e-3, 1.3, None, False)
    adding = only([record(0.005, task="adding"), record(0.02, task="adding", seed=1)])
    assert (adding.solved, adding.column.has_goal, adding.worst) == (1, True, 0.02)
    shown = table(board_of([record(1.2, task="text"), record(1.4, task="text", seed=1)]), 120)
    assert "1.300 ± 0.141" in shown and "perplexity" in shown and "3.67" in shown and "1.876" in shown  # exp(1.3), 1.3 / ln 2


def test_what_diverges_scores_as_chance():
    e = only([record(1.0, seed=0), record(seed=1, status="diverged")])
    assert (e.mean, e.worst, e.solved, e.diverged) == (0.75, 0.5, 1, 1) and e.by_length[-1][1] == 0.75
    every = [record(seed=i, status="diverged") for i in range(2)]
    assert only(every).step_seconds is None and "diverged" in table(board_of(every), 80) and "Diverged: GRU on parity (2 runs)" in table(board_of(every), 80)


def test_what_is_not_finished_is_marked():
    runs = [record(1.0, seed=0), record(1.0, seed=1), record(seed=2, status="waiting")]
    assert "2/2 of 3" in table(board_of(runs), 80) and "1 run waiting" in table(board_of(runs), 80)
    unknown = [record(status=s, size=None, lr=None, seed=None, machine=None) for s in ("waiting", "waiting")]
    assert only(unknown).runs == () and "waiting" in table(board_of(unknown), 80)
    failed = [record(status="failed", error="ValueError: no\nsuch thing"), record(1.0, seed=1)]
    assert "1/1 of 2" in table(board_of(failed), 80) and "Failed: GRU on parity: ValueError: no" in table(board_of(failed), 100)
    assert only(failed).errors == ("ValueError: no\nsuch thing",)


def test_rows_and_columns():
    """A row a size where a cell has several on one task; baselines behind all cells; the best first."""
    runs = [record(0.7, cell="A"), record(1.0, cell="B", size="H=8"), record(0.6, cell="B", size="H=4"), record(1.0, cell="torch.nn.GRU"), record(0.9, cell="A", task="digits", size="H=9")]
    board = board_of(runs)
    assert [r.label for r in board.rows] == ["A", "B · H=8", "B · H=4", "torch.nn.GRU"] and [c.name for c in board.columns] == ["parity", "digits"]
    assert [r.label for r in board.baselines] == ["torch.nn.GRU"]
    assert board.rows[0].overall == pytest.approx((0.4 + (0.9 - 0.1) / 0.9) / 2) and board.rows[1].overall == 0.5  # what is missing counts as nothing


STUDIES = {
    "nothing": [],
    "one": [record(1.0)],
    "waiting": [record(status="waiting", size=None, lr=None, seed=None, machine=None)],
    "amiss": [record(seed=0, status="diverged"), record(seed=1, status="failed", error="E: <b>x</b>"), record(cell="transformer", status="running")],
    "losses": [record(s, task=t, cell=c, seed=i) for t in ("text", "adding") for c in ("A", "transformer") for i, s in enumerate((0.005, 1.5))],
    "not finite": [record(0.1, task="adding", cell="A", by_length=[[100, 0.1], [200, 5.0], [400, None]], beyond=None), record(0.1, 1e30, task="adding", cell="B"), record(0.1, 0.2, task="adding", cell="C")],
    "baselines": [record(0.9, cell="transformer")],
    "many": [
        record((0.5 + 0.02 * i + 0.01 * s) if t in ("parity", "digits") else 0.1 * (i + 1), cell=f"cell {i}" if i < 18 else "torch.nn.GRU", task=t, seed=s, size=f"H={h}")
        for i in range(20) for t in TASKS for s in range(2) for h in ((32, 64) if i < 2 else (32,))
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("columns", [80, 140])
def test_tables_fit(name, columns):
    shown = table(board_of(STUDIES[name]), columns)
    assert all(len(line) <= columns and line == line.rstrip() for line in shown.splitlines())
    for r in STUDIES[name]:
        assert r["cell"] in shown and r["task"] in shown
    assert "AdamW" in shown or not STUDIES[name]


def test_a_table_of_wide_and_wrong_letters():
    shown = table(board_of([record(1.0, cell="変種" * 30), record(1.0, cell="a\x1b[31m\nb\udc80")]), 80)
    assert "\x1b" not in shown and shown.encode()


def test_csv_has_every_run_and_field():
    runs = [record(1.0, cell='a,"b"\nc'), record(seed=1, status="waiting"), record(task="text", status="failed", error="x")]
    rows = list(csv.DictReader(io.StringIO(csv_text(runs))))
    assert len(rows) == 3 and rows[0]["by_length"] == "40:1 80:1 160:1" and rows[0]["train_to"] == "40" and rows[1]["metric"] == "" and rows[0]["training_steps"] == "1600"
    plain = {n for n, v in runs[0].items() if not isinstance(v, list | dict)}
    assert plain <= rows[0].keys() and rows[2]["error"] == "x" and rows[0]["solved"] == "True"
    assert csv_text([]).startswith("cell,")


class _Page(HTMLParser):
    """Its tags and texts; fails where tags do not close."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.attributes, self._open = [], [], [], []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("name", STUDIES)
def test_pages_are_whole_and_need_no_network(name):
    found = _Page(page(STUDIES[name], "A study"))
    assert not {"link", "img", "iframe"} & set(found.tags) and not [a for a, _ in found.attributes if a in ("src", "srcset", "xlink:href")]
    assert all(v.startswith("#") for a, v in found.attributes if a == "href")
    assert found.tags.count("script") == 1 and found.tags.count("caption") == found.tags.count("table")
    assert not any("nan" in v or "inf" in v.split() for a, v in found.attributes if a in ("d", "x", "y", "cx", "cy", "style"))
    text = " ".join(found.texts)
    for r in STUDIES[name]:
        assert r["cell"] in text and r["task"] in text and (r["error"] or "") in text


def test_a_page_says_what_an_appendix_needs():
    runs = [record(1.0, 0.97), record(0.9, 0.5, seed=1), record(1.2, task="text", seed=1, lr=1e-3)]
    text = " ".join(" ".join(_Page(page(runs, "A study")).texts).split())
    for said in ("1/2", "0/2 beyond", "0.950 , worst 0.900", "perplexity 3.32", "nonlinear", "h in [-1, 1]", "at most 1,600 steps of 128 sequences", "0.001, 0.003",
                 "rnndsl 0.2.0, PyTorch 2.9.1, Python 3.11.7", "a processor, cpu, 1 thread", "parity, what parity is; text, what text is", "30,000", "18.0 ms", "dim=64 H=64", "key of GRU", "longest in training", "chance 0.500"):  # fmt: skip
        assert said in text


def test_names_on_a_page_are_escaped():
    evil = "<script>alert(1)</script>"
    sly = "x\" onmouseover='alert(1)' &amp;\x00\udc80"
    runs = [record(1.0, cell=evil), record(0.8, cell=sly), record(status="failed", error=evil), record(0.9, cell="transformer", task="digits", machine=evil)]
    runs[1]["growth"] = evil
    text = page(runs, evil)
    assert evil not in text and text.encode()
    found = _Page(text)
    assert found.tags.count("script") == 1 and not [a for a, _ in found.attributes if a.startswith("on")]
    assert evil in "".join(found.texts) and any("&amp;" in t for t in found.texts)  # what was written, letter by letter


def test_records_from_json_are_the_same():
    runs = STUDIES["losses"]
    again = json.loads(json.dumps(runs))
    assert page(runs, "x") == page(again, "x") and csv_text(runs) == csv_text(again) and table(board_of(runs), 100) == table(board_of(again), 100)


@pytest.mark.parametrize(("name", "suffix"), [("one", ".png"), ("amiss", ".svg"), ("losses", ".svg"), ("not finite", ".svg"), ("baselines", ".svg"), ("many", ".svg")])
def test_pictures(name, suffix, tmp_path):
    pytest.importorskip("matplotlib")
    draw([*STUDIES[name], record(1.0, cell="a $x^$ _ é")], tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").stat().st_size > 5000


def test_no_picture(tmp_path, monkeypatch):
    with pytest.raises(Unfit, match="no run has ended"):
        draw(STUDIES["waiting"], tmp_path / "a.png")
    with pytest.raises(Unfit, match="no run has ended"):
        draw([], tmp_path / "a.svg")
    with pytest.raises(Unfit, match=r"a \.png or a \.svg"):
        draw(STUDIES["one"], tmp_path / "a.pdf")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(NoMatplotlib):
        draw(STUDIES["one"], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_runs_that_wait_are_known(tmp_path):
    pytest.importorskip("optuna")
    from rnndsl.explore.plan import Case, Open
    from rnndsl.explore.records import records
    from rnndsl.explore.shapes import Shape
    from rnndsl.explore.store import Store

    store = Store(str(tmp_path / "s"), is_new=True)
    facts = {"name": "parity", "metric": "accuracy", "chance": 0.5, "train": [3, 40], "test": [40, 160]}
    group = store.group("g", "maximize", lambda: {"cell": {"label": "A", "key": "k"}, "task": facts, "training": TRAINING})
    shape = Shape(8, (("H", 8),))
    store.queue(group, [Case(None, None, shape, 1e-3, 2), Open(None, None, (shape,), (1e-4, 1e-2), 7)])
    found = records(tmp_path / "s")
    assert [(r["status"], r["size"], r["lr"], r["seed"]) for r in found] == [("waiting", "dim=8 H=8", 1e-3, 2), ("waiting", None, None, 7)]
    assert found[0].keys() == record().keys() and "2 runs waiting" in table(board_of(found), 80)


def test_the_command_shows_all_of_it(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna")
    pytest.importorskip("matplotlib")
    from rnndsl import cli
    from rnndsl.explore import records

    runs = STUDIES["losses"]
    monkeypatch.setattr(records, "records", lambda where: runs)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explore", "--show", "s", "--page", "a.html", "--picture", "a.svg"]) == 0
    assert capsys.readouterr().out == table(board_of(runs), 118) + "wrote a.html\nwrote a.svg\n"
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page(runs, "s") and (tmp_path / "a.svg").exists()
    assert cli.main(["explore", "--show", "s", "--csv", "--page", "b.html"]) == 0 and capsys.readouterr().out == csv_text(runs)
    assert cli.main(["explore", "--show", "s", "--json"]) == 0 and json.loads(capsys.readouterr().out) == runs
    assert cli.main(["explore", "--show", "s", "--picture", "a.txt"]) == 2 and "a .png or a .svg" in capsys.readouterr().err
