"""Tasks: each against a slow definition of its own, the same in every process, and for lengths that nobody thought of."""

import hashlib
import math
import pickle
import re
import subprocess
from itertools import pairwise, permutations

import pytest
import torch

from rnndsl.tasks import IGNORE, TASKS, Task, task, tasks_of, text
from rnndsl.tasks.formal import MODULUS, group
from rnndsl.tasks.recall import ALPHABET, NTH, VOCABULARY
from rnndsl.tasks.texts import contents
from rnndsl.tasks.values import MEAN, SPREAD, STEP
from tests.forks import PYTHON

EVERY = {**TASKS, "text": text()}


def rows(name: str, length: int | None = None, count: int = 5) -> list[tuple[list, list]]:
    batch = EVERY[name].batch(count, seed=1, length=length)
    return list(zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True))


# The same data


def prints(name: str) -> str:
    """Of some batches: what is where in them."""

    def told(x: torch.Tensor) -> float:
        return float(x.double().nan_to_num().flatten() @ torch.arange(x.numel()).double().sin())

    t = EVERY[name]
    batches = [t.batch(3, seed, number, split) for seed, number, split in ((0, 0, "train"), (0, 1, "train"), (1, 0, "train"), (0, 0, "test"))]
    return " ".join(f"{told(b.inputs):.6f}/{told(b.targets):.6f}" for b in batches)


def test_a_seed_gives_the_same_data_in_every_process():
    script = f"from tests.test_tasks import prints\nfor n in {list(EVERY)!r}: print(prints(n))"
    done = subprocess.run([*PYTHON, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [prints(n) for n in EVERY]
    for name in EVERY:
        assert len(set(prints(name).split())) == 4  # of other seeds, numbers and splits other data


@pytest.mark.parametrize("name", EVERY)
def test_tasks_can_be_sent_and_are_what_they_say(name):
    t = EVERY[name]
    again = pickle.loads(pickle.dumps(t))
    assert again == t and torch.equal(again.batch(2, 3).inputs, t.batch(2, 3).inputs) and task(name) == t
    for split in ("train", "test"):
        low, high = getattr(t, split)
        for length in (low, high, 1, 2, 3, 7):
            b = t.batch(2, 0, split=split, length=length)
            assert b.inputs.shape == ((2, length) if t.symbols else (2, length, t.width)) and b.targets.shape[:2] == (2, length)
            if t.symbols:
                assert int(b.inputs.min()) >= 0 and int(b.inputs.max()) < t.symbols
            asked = b.targets[b.targets != IGNORE]
            assert b.targets.shape[2:] == (t.answers,) if t.metric == "mse" else not len(asked) or (int(asked.min()) >= 0 and int(asked.max()) < t.answers)
        assert all(low <= t.batch(1, s, split=split).inputs.shape[1] <= high for s in range(20))
    with pytest.raises(ValueError, match="split: expected train or test"):
        t.batch(1, 0, split="validation")
    with pytest.raises(ValueError, match="length: expected a positive number"):
        t.batch(1, 0, length=-1)


# What is asked


@pytest.mark.parametrize("length", [3, 4, 5, 40])
def test_modular_arithmetic(length):
    for tokens, targets in rows("modular_arithmetic", length):
        said = "".join("01234+-*= "[k] for k in tokens).lstrip()
        assert said.endswith("=") and re.fullmatch(r"\d([-+*]\d)*=", said)
        assert targets[-1] == eval(said[:-1]) % MODULUS and set(targets[:-1]) <= {IGNORE}


def test_parity_pairs_and_cycles():
    for tokens, targets in rows("parity", 9):
        assert targets == [tokens[: t + 1].count(1) % 2 for t in range(9)]
    for tokens, targets in rows("even_pairs", 9):
        assert targets == [sum(a != b for a, b in pairwise(tokens[: t + 1])) % 2 == 0 for t in range(9)]
    for tokens, targets in rows("cycle_navigation", 9):
        place = 0
        for token, target in zip(tokens, targets, strict=True):
            place = (place + (-1, 0, 1)[token]) % MODULUS
            assert target == place


@pytest.mark.parametrize(("name", "kinds"), [("dyck2", 2), ("dyck8", 8)])
def test_brackets(name, kinds):
    deepest = 0
    for tokens, targets in rows(name, 200):
        stack = []
        for token, target in zip(tokens, targets, strict=True):
            if token < kinds:
                stack.append(token)
            else:
                assert stack.pop() == token - kinds
            assert target == (stack[-1] + 1 if stack else 0)
            deepest = max(deepest, len(stack))
    assert 4 < deepest <= 8


@pytest.mark.parametrize(("name", "degree", "size"), [("s3", 3, 6), ("s5", 5, 120), ("a5", 5, 60)])
def test_groups(name, degree, size):
    table = group(degree, name == "a5")
    assert table.shape == (size, size) and all(set(row.tolist()) == set(range(size)) for row in (*table, *table.T))  # a product undoes
    everything = list(permutations(range(degree)))
    elements = [p for p in everything if name != "a5" or sum(p[i] > p[j] for j in range(degree) for i in range(j)) % 2 == 0]
    for tokens, targets in rows(name, 12):
        now = tuple(range(degree))
        for token, target in zip(tokens, targets, strict=True):
            now = tuple(elements[token][i] for i in now)
            assert elements[target] == now


def test_recall():
    for tokens, targets in rows("keep_nth", 30):
        assert targets == [IGNORE] * (NTH - 1) + [tokens[NTH - 1]] * (31 - NTH)
    for tokens, targets in rows("selective_copying", 30):
        assert [t for t in targets if t != IGNORE] == [t for t in tokens if t < ALPHABET] and len(targets) - targets.count(IGNORE) == 8 == tokens.count(ALPHABET + 1)
    for tokens, targets in rows("mqar", 100):
        known = {tokens[i]: tokens[i + 1] - VOCABULARY // 2 for i in range(0, 16, 2)}
        assert len(known) == 8 == len(targets) - targets.count(IGNORE)
        assert all(known[token] == target for token, target in zip(tokens, targets, strict=True) if target != IGNORE)


@pytest.mark.parametrize("number", [1, 2])
def test_hops(number):
    for tokens, targets in rows(f"hop{number}", 60):
        for t, target in enumerate(targets):
            place = t
            for _ in range(number):
                earlier = [i for i in range(place) if tokens[i] == tokens[place]] if place is not None else []
                place = earlier[-1] + 1 if earlier else None
            assert target == (IGNORE if place is None else tokens[place])


def test_values():
    for values, targets in rows("adding", 40):
        marked = [v for v, m in values if m]
        assert len(marked) == 2 and math.isclose(targets[-1][0], sum(marked), rel_tol=1e-6) and math.isnan(targets[0][0])
    batch = EVERY["lorenz"].batch(4, 0, length=400)
    x = batch.inputs.double() * torch.tensor(SPREAD) + torch.tensor(MEAN)
    u, v, w = x.unbind(2)
    middle = (x[:, 2:] - x[:, :-2]) / (2 * STEP)
    slope = torch.stack([10 * (v - u), u * (28 - w) - v, u * v - 8 / 3 * w], 2)[:, 1:-1]
    assert float((middle - slope).abs().max()) < 0.05 * float(slope.abs().max()) and torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    batch = EVERY["spikes"].batch(64, 0, length=80)
    assert torch.equal(batch.inputs.sum(1), torch.ones(64, 20)) and len(set(batch.targets[:, -1].tolist())) == 5


def test_spikes_of_a_kind_are_alike():
    """Nearer to the nearest of their own kind than to that of any other."""
    a, b = (EVERY["spikes"].batch(300, s, length=100) for s in (0, 1))
    times = [x.inputs.argmax(1).double() for x in (a, b)]
    nearest = torch.cdist(*times).argmin(1)
    assert float((a.targets[:, -1] == b.targets[nearest, -1]).double().mean()) > 0.95


def test_digits_of_the_test_are_no_others():
    pytest.importorskip("sklearn")
    seen = {s: {tuple(row.flatten().tolist()) for row in EVERY["digits"].batch(3000, 0, split=s).inputs} for s in ("train", "test")}
    assert len(seen["test"]) > 350 and not seen["train"] & seen["test"]


def test_texts(tmp_path):
    path = tmp_path / "some.txt"
    path.write_bytes(bytes(range(256)) * 20)
    t = task(f"text:{path}")
    for split, part in (("train", contents(str(path))[:4608]), ("test", contents(str(path))[4608:])):
        b = t.batch(3, 0, split=split, length=50)
        assert torch.equal(b.inputs[:, 1:], b.targets[:, :-1]) and all(bytes(row.tolist()) in bytes(part.tolist()) for row in b.inputs)
    path.write_bytes(bytes(range(256)) * 20 + b"more")
    contents.cache_clear()  # as in another process
    assert text(path).options != t.options and hashlib.sha256(path.read_bytes()).hexdigest()[:16] in text(path).about
    path.with_name("short").write_bytes(b"too short")
    with pytest.raises(ValueError, match="a text of 9 bytes is too short"):
        text(path.with_name("short"))
    with pytest.raises(OSError):
        text(path.with_name("none"))


# How answers are judged


def test_scores():
    t = EVERY["keep_nth"]
    targets = t.batch(2, 0).targets
    right = torch.nn.functional.one_hot(targets.clamp(min=0), t.answers).double()
    assert t.score(100 * right, targets) == (1.0, 2 * (100 - NTH + 1)) and t.score(-right, targets)[0] < 0.5 and float(t.loss(100 * right, targets)) < 1e-9
    assert t.is_solved(0.995) and not t.is_solved(0.5)
    targets = EVERY["adding"].batch(8, 0).targets
    assert EVERY["adding"].score(targets.nan_to_num(7.0), targets) == (0.0, 8) and EVERY["adding"].is_solved(0.0) and not EVERY["adding"].is_solved(0.2)
    assert EVERY["text"].score(torch.zeros(1, 3, 256), torch.zeros(1, 3).long()) == (pytest.approx(math.log(256)), 3) and not EVERY["text"].is_solved(0.0)


def test_chance():
    """Of who knows how often each answer is right."""
    for name, chance in {"parity": 1 / 2, "cycle_navigation": 1 / 5, "s3": 1 / 6, "hop1": 1 / 4, "adding": 1 / 6, "lorenz": 1.0}.items():
        assert EVERY[name].chance == pytest.approx(chance, rel=0.12), name
    assert 2.5 < EVERY["text"].chance < math.log(256)
    still = EVERY["lorenz"].as_system()
    x = still.batch(1024, 1, length=200).targets
    assert still.chance == pytest.approx(still.score(torch.zeros_like(x), x)[0], rel=0.1)  # as of a model that does not move


def test_a_task_of_your_own():
    def make(draw, count, length, split):
        tokens = draw.below(3, count, length)
        return tokens, tokens

    assert Task("echo", "the same", "", make, 3, (2, 4), (4, 8), symbols=3).batch(2, 0, length=4)[0].shape == (2, 4)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ((torch.ones(2, 4), torch.ones(2, 4).long()), r"own: inputs: expected \[2, T\] of whole numbers, got \[2, 4\] of torch.float32"),
        ((torch.ones(2, 4).long(), torch.ones(2, 3).long()), r"own: targets: expected \[2, T\]"),
        ((torch.full((2, 4), 3), torch.ones(2, 4).long()), "own: inputs: expected numbers from 0 to 2, got 3 to 3"),
        ((torch.ones(2, 4).long(), torch.full((2, 4), -1)), "own: targets: expected numbers from 0 to 1, got -1 to -1"),
    ],
)
def test_what_is_no_batch_of_a_task(made, said):
    with pytest.raises(ValueError, match=said):
        Task("own", "", "", lambda *_: made, 2, (4, 4), (4, 4), symbols=3).batch(2, 0)


def test_where_nothing_is_asked():
    """A batch of that is no loss, a task of that is none."""
    own = Task("own", "", "", lambda draw, count, length, split: (draw.below(2, count, length), torch.full((count, length), IGNORE)), 2, (4, 4), (4, 4), symbols=2)
    assert float(own.loss(torch.randn(2, 4, 2), own.batch(2, 0).targets)) == 0
    with pytest.raises(ValueError, match="own: nothing is asked of sequences of 4"):
        own.chance  # noqa: B018


def test_a_file_that_goes_wrong_says_where(tmp_path):
    for text_, said in (("a = 1\nb = c\n", "2: NameError: name 'c' is not defined"), ("a = 1\nb = (\n", "2: SyntaxError: '\\(' was never closed")):
        (tmp_path / "mine.py").write_text(text_)
        with pytest.raises(ValueError, match=f"mine.py:{said}"):
            tasks_of(str(tmp_path / "mine.py"))


def test_a_name_that_is_misspelt():
    with pytest.raises(ValueError, match="did you mean parity"):
        task("pairty")
    with pytest.raises(ValueError, match="there are parity, "):
        task("zzz")
