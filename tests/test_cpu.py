"""The CPU backend: generated C++ kernels against the oracle, the reference backend, and what torch asks of an op."""

import copy
import io
import multiprocessing
import os
import pickle
import re
import subprocess
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor

import rnndsl
from rnndsl.runtime import build, recurrence
from rnndsl.runtime.backend import BACKENDS
from rnndsl.runtime.cpu import invoke, loaded
from rnndsl.runtime.cpu.kernels import Kernels
from tests.agreement import Case, assert_agrees, assert_close, layer_of, random_inputs, sizes_of, some_resets
from tests.agreement import against_reference as both
from tests.choice import some
from tests.features import FEATURES, SIZES, program
from tests.forks import PYTHON
from tests.random_cells import RandomCell, cells
from tests.zoo_cells import ZOO

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.rnn"))

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")


def published_sizes(name: str, width: int) -> dict:
    """Small sizes of a published cell, with so many channels and columns if that is not 0."""
    return {n: width if width and n in "HKV" else v for n, v in sizes_of(ZOO[name].text, name).items()}


@pytest.fixture(scope="module", autouse=True)
def built_ahead(request):
    """Builds the kernels of the published cells whose tests are run in the background: a build is most of their time."""
    items = [i for i in request.session.items if getattr(i, "module", None) is request.module and i.originalname.startswith("test_published_")]
    asked = dict.fromkeys((i.callspec.params["name"], i.callspec.params.get("width", 0)) for i in items)

    def make(name: str, width: int) -> None:
        text = ZOO[name].text
        kernels = getattr(rnndsl.load(text), name)._kernels["cpu"]
        if kernels.kernels:
            build.build(loaded.source_of(kernels, published_sizes(name, width), torch.float64), name)

    with ThreadPoolExecutor(1) as pool:
        futures = [pool.submit(make, *case) for case in asked]
        yield
        for f in futures:
            f.cancel()


# Numbers


@pytest.mark.parametrize("name", FEATURES)
def test_every_form_of_the_language_agrees_with_the_oracle(name):
    assert_agrees(Case(program(name), "C", SIZES, backend="cpu"))


@pytest.mark.parametrize("name", ["lags of a state", "heads", "repeat", "complex", "matrix state", "step number", "norms of the state"])
@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (17, 2), (1, 13)])
def test_agrees_at_other_sizes(name, batch, steps):
    assert_agrees(Case(program(name), "C", {"D": 1, "H": 1, "N": 3, "K": 2, "L": 1}, batch, steps, seed=1, backend="cpu"))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("width", [0, 37])
@pytest.mark.parametrize("name", ZOO)
def test_published_cells_agree_with_the_reference(name, width):
    """At small sizes, and where channels and columns are more than one block of a unit."""
    assert_close(both(ZOO[name].text, name, published_sizes(name, width), 3, 7), 1e-9)


COVARIANCE = """cell Covariance(D, H):
  input x: [D]
  state C: [H, H]
  param W: [H, D]
  k = W @ x
  C[t] = 0.9 * C[t-1] + outer(k, k)
  output y = tanh(C[t] @ k)
"""


@pytest.mark.parametrize(("text", "cell", "sizes"), [
    (ZOO["DeltaProduct"].text, "DeltaProduct", {"D": 3, "N": 2, "K": 4, "V": 70, "L": 2}), (COVARIANCE, "Covariance", {"D": 3, "H": 70}),
])  # fmt: skip
def test_gradients_that_blocks_of_columns_share(text, cell, sizes):
    """`k = W_k[j] @ x` is the same for all columns of a state, of which each unit has some; that of outer(k, k) is in rows and in columns."""
    assert_close(both(text, cell, sizes, 2, 3), 1e-9)


def test_elementary_functions_of_complex_states():
    text = """cell Z(D, H):
  input x: [D]
  state h, g: complex [H] = 0.4 + 0.3j
  param W: complex [H, D]
  param a: [H]
  u = 2 + h[t-1] + 0.1 * W @ x
  h[t] = 0.2 * log(u) + 0.1 * sqrt(u) + 0.1 * u^0.7 + 0.05 * u^3 / (4 + u) + 0.1j * exp(-u)
  g[t] = 0.3 * tanh(g[t-1]) + 0.2 * sigmoid(h[t] + g[t-1]) + 0.1 * sin(g[t-1]) * cos(h[t]) + a * abs(g[t-1]) + 0.1 * u^(1 + 0.2j)
  output h, g
"""
    assert_close(both(text, "Z", {"D": 3, "H": 11}, 2, 5), 1e-9)


@seed(20261125)
@settings(deadline=None, max_examples=some(20), suppress_health_check=list(HealthCheck), print_blob=True)
@given(cells(), st.integers(1, 3), st.integers(1, 6))
def test_random_cells_agree_with_the_oracle(cell: RandomCell, batch: int, steps: int):
    name = re.search(r"cell (\w+)", cell.text)[1]
    assert_agrees(Case(cell.text, name, cell.sizes, batch, steps, backend="cpu"), tolerance=1e-8)


def example(name: str) -> tuple[str, str]:
    text = (ROOT / "examples" / f"{name}.rnn").read_text(encoding="utf-8")
    return text, re.search(r"^cell (\w+)", text, re.M)[1]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_in_float32(path, optimised):
    text, cell = example(path.stem)
    assert_close(both(text, cell, sizes_of(text, cell), 3, 9, torch.float32), 1e-4)


@pytest.mark.parametrize("name", ["para_lstm", "slstm", "gated_delta_net", "gru", "m2rnn"])
@pytest.mark.parametrize("width", [1, 64, 133])
def test_widths_around_those_of_vectors(name, width, optimised):
    """No block of channels, panel or vector divides these sizes, or just one does."""
    text, cell = example(name)
    sizes = {n: width if n in "HKV" else v for n, v in sizes_of(text, cell).items()}
    assert_close(both(text, cell, sizes, 11 if width == 133 else 2, 5, torch.float32), 1e-4)


@pytest.mark.parametrize("name", ["para_gru", "gru", "rhn"])
@pytest.mark.parametrize(("batch", "steps"), [(2, 0), (0, 3), (0, 0)])
def test_empty(name, batch, steps):
    text, cell = example(name)
    assert_close(both(text, cell, sizes_of(text, cell), batch, steps), 1e-9)


def test_scales_of_weights_and_infinities():
    """Saturated gates, -inf states and overflow come out as the reference has them."""
    text, cell = example("slstm")
    for scale in (1.0, 30.0, 1000.0):
        torch.manual_seed(0)
        layer = layer_of(text, cell, sizes_of(text, cell))
        with torch.no_grad():
            for p in layer.parameters():
                p.mul_(scale)
        x = torch.randn(2, 12, layer._sizes["D"], generator=torch.Generator().manual_seed(1)).double()
        want, want_state = layer(x)
        layer.backend = "cpu"
        got, got_state = layer(x)
        torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-9)
        for a, b in zip(got_state, want_state, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_a_nan_comes_out_where_the_step_has_it():
    layer = layer_of(*example("para_gru"), {"D": 3, "H": 40}, backend="cpu", dtype=torch.float32)
    x = torch.randn(2, 6, 3)
    x[1, 3, 0] = float("nan")
    y, _ = layer(x)
    assert torch.isfinite(y[0]).all() and torch.isfinite(y[1, :3]).all() and torch.isnan(y[1, 3:]).all()


def para_gru(**settings):
    torch.manual_seed(0)
    return layer_of(*example("para_gru"), {"D": 3, "H": 6}, **({"backend": "cpu"} | settings))


# What a call may be given


def test_strided_inputs_and_gradients():
    layer, plain = para_gru(), para_gru(backend="reference")
    x = torch.randn(3, 5, 4, dtype=torch.float64).transpose(0, 2)[:, ::2]  # [4, 3, 3]
    assert not x.is_contiguous()
    for make in (lambda y: y.sum(), lambda y: (y.transpose(1, 2) * torch.ones(1, 6, 1).double()).sum(), lambda y: y[:, -1].square().sum(), lambda y: y[:, 1, ::2].sum()):
        grads = [torch.autograd.grad(make(m(x)[0]), list(m.parameters())) for m in (layer, plain)]
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(a, b)
    reset = torch.zeros(3, 4, dtype=torch.bool).t()
    reset[1, 2] = True
    torch.testing.assert_close(layer(x, reset=reset)[0], plain(x, reset=reset)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_keep_the_state_in_float32(dtype):
    layer, plain = para_gru(dtype=torch.float32), para_gru(dtype=torch.float32, backend="reference")
    x = torch.randn(2, 7, 3).to(dtype).requires_grad_()
    got, state = layer(x)
    want, _ = plain(x)
    assert got.dtype == dtype and state.h.dtype == torch.float32
    torch.testing.assert_close(got, want)
    got.float().sum().backward()
    assert x.grad.dtype == dtype and torch.isfinite(x.grad).all()


def test_gradient_of_the_last_state_alone():
    layer, plain = para_gru(), para_gru(backend="reference")
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    first = layer.initial_state(2).h.detach().requires_grad_()
    for leaf in (first, layer.a_z, plain.a_z):
        leaf.grad = None
    grads = [torch.autograd.grad(m(x, state=(first,))[1].h.square().sum(), [first, m.a_z, m.W_n]) for m in (layer, plain)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_noise_is_drawn_once_and_seen_by_both_directions():
    text = "cell Z(D, H):\n input x: [D]\n state h: [H]\n param W: [H, D]\n noise m: [H] ~ bernoulli(0.5)\n h[t] = m * h[t-1] + (1 - m) * tanh(W @ x + h[t-1])\n output h\n"
    outcomes = []
    for backend in ("cpu", "reference"):
        torch.manual_seed(3)
        layer = layer_of(text, "Z", {"D": 3, "H": 5}, backend=backend).train()
        y, _ = layer(torch.ones(2, 9, 3, dtype=torch.float64))
        outcomes.append((y, torch.autograd.grad(y.square().sum(), [layer.W])[0]))
    for a, b in zip(*outcomes, strict=True):
        torch.testing.assert_close(a, b)


# What torch asks of an op


def arguments(layer, batch: int = 2, steps: int = 3, reset: Tensor | None = None) -> tuple:
    """The arguments of the op that a call makes."""
    seen: list[tuple] = []
    real = recurrence.OP

    class Recorder:
        def __call__(self, *args):
            seen.append(args)
            return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrence, "OP", Recorder())
        layer(*random_inputs(layer, batch, steps), reset=reset)
    key, *groups, mask, count = seen[0]
    return key, *[[t.detach().clone().requires_grad_() for t in g] for g in groups], mask, count


@pytest.mark.parametrize("reset", [False, True])
def test_opcheck(reset):
    args = arguments(para_gru(), reset=some_resets(2, 3) if reset else None)
    torch.library.opcheck(torch.ops.rnndsl.recurrence.default, args)


@pytest.mark.parametrize("name", ["para_lstm", "gru", "slstm", "m2rnn", "lru", "rhn"])
def test_gradcheck(name):
    text, cell = example(name)
    layer = layer_of(text, cell, dict.fromkeys(sizes_of(text, cell), 2), backend="cpu")
    first = [s.detach().clone().requires_grad_() if torch.isfinite(s.abs()).all() else torch.zeros_like(s, requires_grad=True) for s in layer.initial_state(2)]
    reset = some_resets(2, 3)

    def run(x, *state):
        y, _ = layer(x, state=state, reset=reset)
        return torch.view_as_real(y) if y.is_complex() else y

    assert torch.autograd.gradcheck(run, (*random_inputs(layer, 2, 3), *first))


@pytest.mark.parametrize("name", ["para_lstm", "gru"])
def test_second_derivatives_are_right(name):
    text, cell = example(name)
    layer = layer_of(text, cell, dict.fromkeys(sizes_of(text, cell), 2), backend="cpu")
    (x,) = random_inputs(layer, 2, 3)
    params = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    names = [n for n, _ in layer.named_parameters()]

    def run(x, *params):
        return torch.func.functional_call(layer, dict(zip(names, params, strict=True)), (x,))[0]

    assert torch.autograd.gradgradcheck(run, (x, *params))


@pytest.mark.parametrize(("name", "sizes"), [("para_gru", {}), ("lru", {}), ("gru", {"H": 40})])
def test_torch_compile_without_graph_breaks(name, sizes):
    """Also where products of the forward pass are saved, as those of 40 terms are."""
    text, cell = example(name)
    layer = layer_of(text, cell, sizes_of(text, cell) | sizes, backend="cpu", dtype=torch.float32)
    (x,) = random_inputs(layer, 2, 5)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    want, _ = layer(x)
    got, _ = compiled(x)
    torch.testing.assert_close(got, want)
    weights = torch.randn_like(want)
    mine = torch.autograd.grad((compiled(x)[0] * weights).sum(), list(layer.parameters()))
    theirs = torch.autograd.grad((want * weights).sum(), list(layer.parameters()))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_autocast():
    layer, plain = para_gru(dtype=torch.float32), para_gru(dtype=torch.float32, backend="reference")
    x = torch.randn(2, 5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        got, want = layer(x)[0], plain(x)[0]
    assert torch.isfinite(got).all()
    torch.testing.assert_close(got.float(), want.float(), rtol=2e-2, atol=2e-2)
    got.float().sum().backward()
    assert layer.W_z.grad is not None and layer.W_z.grad.dtype == torch.float32


def test_copies_and_pickles():
    layer = para_gru()
    x = torch.randn(1, 4, 3, dtype=torch.float64)
    want, _ = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.backend == "cpu"
        assert torch.equal(other(x)[0], want)
    saved = io.BytesIO()
    torch.save(layer.state_dict(), saved)
    saved.seek(0)
    fresh = para_gru()
    fresh.load_state_dict(torch.load(saved))
    assert torch.equal(fresh(x)[0], want)


def test_in_place_changes_of_what_was_saved_are_noticed():
    layer = para_gru()
    x = torch.randn(2, 3, 3, dtype=torch.float64)
    y, _ = layer(x)
    with torch.no_grad():
        layer.a_z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# Threads and processes


def test_the_same_numbers_in_every_run_and_with_any_number_of_threads(optimised):
    layer = layer_of(*example("para_gru"), {"D": 8, "H": 96}, backend="cpu", dtype=torch.float32)
    x = torch.randn(6, 200, 8)
    outcomes = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 2, 5):
            torch.set_num_threads(threads)
            y, _ = layer(x)
            outcomes.append([y, *torch.autograd.grad(y.square().sum(), [layer.a_z, layer.b_n])])
    finally:
        torch.set_num_threads(before)
    for other in outcomes[1:]:
        for a, b in zip(other, outcomes[0], strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", ZOO)
def test_published_kernels_give_the_same_bits_again(name, monkeypatch):
    """With one number of threads or another, the same call twice."""
    text = ZOO[name].text
    torch.manual_seed(0)
    layer = layer_of(text, name, sizes_of(text, name), backend="cpu")
    inputs = random_inputs(layer, 5, 6)
    leaves, outcomes = [*layer.parameters(), *inputs], []
    for threads in (2, 2, 3, 3):
        monkeypatch.setattr(invoke, "threads", lambda work, threads=threads: threads)
        y, state = layer(*inputs, reset=some_resets(5, 6))
        values = [*(y if isinstance(y, tuple) else (y,)), *state]
        some = sum(torch.where(torch.isfinite(v.abs()), v, 0.0).abs().square().sum() for v in values)
        grads = torch.autograd.grad(some, leaves, allow_unused=True) if some.requires_grad else ()
        outcomes.append([*values, *(g for g in grads if g is not None)])
    for first, second in (outcomes[:2], outcomes[2:]):
        for a, b in zip(first, second, strict=True):
            assert torch.equal(a.isnan(), b.isnan()) and torch.equal(a.detach().nan_to_num(), b.detach().nan_to_num())


def test_several_threads_call_one_layer():
    layer = layer_of(*example("gru"), {"D": 4, "H": 24}, backend="cpu", dtype=torch.float32)
    x = torch.randn(3, 50, 4)
    want, _ = layer(x)
    found: list[Tensor] = []

    def call() -> None:
        for _ in range(5):
            found.append(layer(x)[0].detach())

    threads = [threading.Thread(target=call) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 20 and all(torch.equal(f, want) for f in found)


def _in_child(layer, call, results) -> None:
    sequences, _, _ = type(layer)._scan(layer, *call)
    results.put(sequences[0][:, -1].tolist())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_fork_after_a_call(monkeypatch):
    """A child runs kernels on several threads although its parent has done so before it. (torch's own operations do not.)"""
    layer = layer_of(*example("para_gru"), {"D": 8, "H": 64}, backend="cpu", dtype=torch.float32).requires_grad_(False)
    calls: list[tuple] = []
    real = layer._scan
    monkeypatch.setattr(invoke, "threads", lambda work: 3)
    monkeypatch.setattr(layer, "_scan", lambda *args: calls.append(args) or real(*args), raising=False)
    want = layer(torch.randn(4, 300, 8))[0][:, -1].tolist()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_in_child, args=(layer, calls[0], results))
    child.start()
    try:
        assert results.get(timeout=60) == want
    finally:
        child.kill()


class _Steps(torch.utils.data.Dataset):
    """Runs a layer in the process of a data loader."""

    def __init__(self, layer):
        self.layer = layer

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Tensor:
        with torch.no_grad():
            return self.layer(torch.full((1, 40, 3), float(i), dtype=torch.float64))[0][0, -1]


@pytest.mark.filterwarnings("ignore:This process")
def test_workers_of_a_data_loader():
    layer = para_gru()
    loader = torch.utils.data.DataLoader(_Steps(layer), batch_size=2, num_workers=2, timeout=60)
    rows = torch.cat(list(loader))
    for i in range(4):
        torch.testing.assert_close(rows[i], _Steps(layer)[i])


class _Sequences(_Steps):
    """Whole sequences, 2 MB each; the states go through torch.multiprocessing as they are."""

    def __getitem__(self, i: int) -> Tensor:
        with torch.no_grad():
            return self.layer(torch.full((1, 4096, 3), float(i), dtype=torch.float64))[0][0]


def _send_sequences(layer, results, done) -> None:
    for i in range(4):
        results.put(_Sequences(layer)[i])
    done.wait(60)  # what was sent can be opened as long as this process lives


@pytest.mark.filterwarnings("ignore:This process")
@pytest.mark.parametrize("way", ["loader", "queue", "sent"])
def test_large_results_stay_as_they_are_in_other_processes(way):
    """Memory that another process reads is not used for a later result."""
    layer = layer_of(*example("para_gru"), {"D": 3, "H": 64}, backend="cpu").requires_grad_(False)
    want = [_Sequences(layer)[i] for i in range(4)]
    if way == "loader":
        found = list(torch.utils.data.DataLoader(_Sequences(layer), batch_size=None, num_workers=1, timeout=60))
    elif way == "sent":
        sent = [ForkingPickler.dumps(_Sequences(layer)[i]) for i in range(4)]
        found = [pickle.loads(s) for s in sent]
    else:
        context = torch.multiprocessing.get_context("fork")
        results, done = context.Queue(), context.Event()
        child = context.Process(target=_send_sequences, args=(layer, results, done))
        child.start()
        try:
            found = [results.get(timeout=60) for _ in range(4)]
            done.set()
            child.join(60)
        finally:
            child.kill()
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a, b)


_DDP = """
import sys, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import rnndsl
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
torch.manual_seed(0)
layer = rnndsl.load(sys.argv[3]).ParaGRU(D=3, H=6, dtype=torch.float64, backend="cpu")
x = torch.randn(4, 5, 3, dtype=torch.float64)
alone = torch.autograd.grad(layer(x)[0].square().mean(), list(layer.parameters()))
model = DistributedDataParallel(layer)
model(x[2 * rank : 2 * rank + 2])[0].square().mean().backward()
for a, p in zip(alone, layer.parameters()):
    torch.testing.assert_close(p.grad, a)
dist.destroy_process_group()
"""


def test_distributed_data_parallel(tmp_path):
    """Two processes with half of a batch each get the gradients of the whole."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*PYTHON, "-c", _DDP]
    rest = [str(tmp_path / "store"), str(ROOT / "examples" / "para_gru.rnn")]
    processes = [subprocess.Popen([*command, str(rank), *rest], env=environment, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    for p in processes:
        _, errors = p.communicate(timeout=120)
        assert p.returncode == 0, errors


# What `auto` takes, and what is refused


def test_auto_takes_the_kernels(monkeypatch):
    monkeypatch.delenv("RNNDSL_BACKEND")
    layer = para_gru(backend="auto")
    calls: list[str] = []
    real = BACKENDS["cpu"].run
    monkeypatch.setattr(BACKENDS["cpu"], "run", lambda *args: calls.append(args[1]) or real(*args))
    layer(torch.randn(1, 2, 3, dtype=torch.float64))
    assert calls == ["h"]
    monkeypatch.setenv("RNNDSL_BACKEND", "reference")
    layer(torch.randn(1, 2, 3, dtype=torch.float64))
    assert calls == ["h"]
    monkeypatch.setenv("RNNDSL_BACKEND", "gpu")
    with pytest.raises(ValueError, match="RNNDSL_BACKEND: expected auto or reference, got 'gpu'"):
        layer(torch.randn(1, 2, 3, dtype=torch.float64))


def test_without_a_compiler(monkeypatch):
    monkeypatch.delenv("RNNDSL_BACKEND")
    monkeypatch.setattr(build, "compiler", lambda: None)
    cls = rnndsl.load(example("para_gru")[0].replace("cell ParaGRU", "cell NoCompiler")).NoCompiler
    with pytest.raises(ValueError, match=r"'cpu' cannot run this cell: no C\+\+ compiler was found: install g\+\+"):
        cls(D=3, H=6, backend="cpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer = cls(D=3, H=6)
        y, _ = layer(torch.randn(1, 2, 3))
        layer(torch.randn(1, 2, 3))
    assert y.shape == (1, 2, 6)
    (warning,) = [w for w in caught if "no C++ compiler" in str(w.message)]
    assert "NoCompiler runs step by step in PyTorch" in str(warning.message)


def test_what_has_no_kernel_is_refused_by_name(monkeypatch):
    monkeypatch.delenv("RNNDSL_BACKEND")
    cls = rnndsl.load(example("para_gru")[0].replace("cell ParaGRU", "cell Refused")).Refused
    monkeypatch.setattr(cls, "_kernels", {"cpu": Kernels(refused={"h": "`angle` has no kernel"})})
    with pytest.raises(ValueError, match="'cpu' cannot run this cell: h: `angle` has no kernel; use 'auto' or 'reference'"):
        cls(D=3, H=6, backend="cpu")
    with pytest.warns(UserWarning, match="Refused runs step by step in PyTorch, since h: `angle` has no kernel"):
        cls(D=3, H=6)(torch.randn(1, 2, 3))


def test_every_example_has_kernels():
    for path in EXAMPLES:
        text, cell = example(path.stem)
        assert getattr(rnndsl.load(text), cell)._kernels["cpu"].refused == {}, path.stem


def test_inputs_elsewhere_are_refused():
    layer = layer_of(*example("para_gru"), {"D": 3, "H": 6}, backend="cpu", dtype=torch.float32, device="meta")
    with pytest.raises(ValueError, match="'cpu' runs on a CPU, but the inputs are on meta"):
        layer(torch.empty(1, 2, 3, device="meta"))
