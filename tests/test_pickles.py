"""Layers, classes, states and outputs in pickles: they come back as they were, in another process too; what torch cannot pickle fails when it is saved."""

import copy
import inspect
import io
import multiprocessing
import pickle
import pickletools

import cloudpickle
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils._pytree import tree_leaves

import rnndsl
from rnndsl.diagnostics import RnnError, Source
from rnndsl.programs import module_name
from tests.test_export import CELL, in_a_new_process
from tests.zoo_cells import ZOO, name_of

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
X = torch.ones(2, 5, 3)


def leaky(cls=None, **settings):
    return (cls or rnndsl.load(CELL).Leaky)(D=3, H=4, **settings)


class Doubled(rnndsl.load(CELL).Leaky):
    """A user's own subclass, with a constructor of its own."""

    def __init__(self, factor):
        super().__init__(D=3, H=4)
        self.factor = factor

    def forward(self, *inputs, **given):
        y, state = super().forward(*inputs, **given)
        return self.factor * y.h, state


def seen(module, arguments):
    module.calls = getattr(module, "calls", 0) + 1


def saved(value, way):
    if way == "torch":
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    if way == "copy":
        return copy.deepcopy(value)
    return pickle.loads((cloudpickle if way == "cloudpickle" else pickle).dumps(value, *([way] if isinstance(way, int) else [])))


WAYS = [*PROTOCOLS, "torch", "copy", "cloudpickle"]


@pytest.mark.parametrize("way", WAYS)
def test_layers_come_back_as_they_were(way):
    """With hooks, attributes, modes, frozen and tied params, and settings."""
    layer = leaky(rate=0.3, schedule="sequential").eval()
    layer.register_forward_pre_hook(seen)
    layer.note, layer.recompute = {"a": [1, 2]}, True
    layer.raw_tau.requires_grad_(False)
    layer.R = nn.Parameter(torch.randn(4, 4))
    both = nn.ModuleList([layer, leaky(rate=0.3)])
    both[1].raw_tau = layer.raw_tau
    again, other = saved(both, way)
    assert type(again) is type(layer) and again is not layer and not again.training and other.training
    assert again.note == layer.note and again.recompute and again.schedule == "sequential" and again._hypers == layer._hypers
    assert [p.requires_grad for p in again.parameters()] == [True, True, False] and other.raw_tau is again.raw_tau
    for a, b in zip(tree_leaves(layer(X)), tree_leaves(again(X)), strict=True):
        assert torch.equal(a, b)
    assert again.calls == layer.calls == 1


@pytest.mark.parametrize("way", WAYS)
def test_subclasses_classes_states_and_outputs(way):
    cls = rnndsl.load(CELL).Leaky
    y, state = leaky()(X)
    assert saved((cls, cls.State, cls.Output, Doubled), way) == (cls, cls.State, cls.Output, Doubled)
    values = (state._replace(h=state.h.detach()), cls.Output(*(v.detach() for v in y)))
    for a, b in zip(values, saved(values, way), strict=True):
        assert type(a) is type(b) and all(map(torch.equal, a, b))
    layer = Doubled(3.0)
    again = saved(layer, way)
    assert type(again) is Doubled and again.factor == 3.0 and torch.equal(again(X)[0], layer(X)[0])


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", ZOO)
def test_all_cells(name):
    text = ZOO[name].text
    cls = getattr(rnndsl.load(text), name_of(text))
    sizes = dict.fromkeys([n for n, p in inspect.signature(cls).parameters.items() if p.default is p.empty or p.default is None], 4)
    layer = cls(**{n: v for n, v in sizes.items() if n not in ("device", "dtype")})
    again = pickle.loads(pickle.dumps(layer))
    assert type(again) is cls and again.extra_repr() == layer.extra_repr()
    for (n, a), (m, b) in zip(layer.state_dict().items(), again.state_dict().items(), strict=True):
        assert n == m and torch.equal(a, b)


# Parametrizations of torch


@pytest.mark.parametrize("of", ["orthogonal", "weight_norm", "spectral_norm"])
def test_what_torch_cannot_pickle_fails_when_it_is_saved(of):
    """As it does for any module; state dicts and deep copies work."""
    layer, other = (getattr(parametrizations, of)(leaky(), "R") for _ in range(2))
    layer.eval(), other.eval()
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(layer)
    other.load_state_dict(layer.state_dict())
    for twin in (other, copy.deepcopy(layer)):
        assert torch.equal(twin(X)[0].h, layer(X)[0].h)


# Other processes


READ = """
import pickle, sys, torch
{before}
with open({path!r}, "rb") as f:
    cls, layer, state, y, x = {read}
assert type(layer) is cls and type(state) is cls.State and type(y) is cls.Output
for a, b in zip((*layer(x)[0], *layer(x)[1]), (*y, *state), strict=True):
    torch.testing.assert_close(a, b)
{after}
"""


FORKS = """
import os, sys, traceback, torch
for script in {scripts!r}:
    assert "rnndsl" not in sys.modules
    child = os.fork()
    if not child:
        try:
            exec(script, {{}})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, script
"""


def test_loaded_classes_are_read_in_a_process_that_knows_nothing(tmp_path):
    """Nor has loaded the program before; and in one that has. Each is a child of a process that has imported torch alone."""
    layer = leaky()
    y, state = layer(X)
    value = (type(layer), layer, state, y, X)
    torch.save(value, tmp_path / "torch")
    for way in (pickle, cloudpickle):
        (tmp_path / way.__name__).write_bytes(way.dumps(value))
    same, load = f"import rnndsl; assert rnndsl.load({CELL!r}).Leaky is cls", f"import rnndsl; rnndsl.load({CELL!r})"
    scripts = [
        READ.format(before=before, path=str(tmp_path / way), read="torch.load(f, weights_only=False)" if way == "torch" else "pickle.load(f)", after=same)
        for way in ("pickle", "torch", "cloudpickle")
        for before in ("", load)
    ]
    in_a_new_process(FORKS.format(scripts=scripts))


def _work(given, found):
    cls, layer, state = given.get(timeout=100)
    y, new = layer(torch.ones(2, 1, 3), state=state)
    found.put((new, type(y) is cls.Output, cls))
    given.get(timeout=100)  # tensors are read from the process that sent them


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_queues_of_workers(method):
    context = multiprocessing.get_context(method)
    given, found = context.Queue(), context.Queue()
    layer = leaky().requires_grad_(False)
    worker = context.Process(target=_work, args=(given, found))
    worker.start()
    try:
        state = layer.initial_state(2)
        given.put((type(layer), layer, state))
        new, is_output, cls = found.get(timeout=100)
        assert is_output and cls is type(layer) and type(new) is cls.State
        torch.testing.assert_close(new.h, layer(torch.ones(2, 1, 3), state=state)[1].h)
        given.put(None)
    finally:
        worker.join(10)
        worker.kill()


# What a pickle holds


def test_a_pickle_holds_the_program_and_no_python():
    found = [argument for _, argument, _ in pickletools.genops(pickle.dumps(leaky())) if isinstance(argument, str)]
    assert module_name(Source("<string>", CELL)) in found
    assert not any("def " in text or "import" in text or "\n" in text for text in found)


@pytest.mark.parametrize("text", ["cell C(H):\n input x: [H]\n output z\n", "no program", "/etc/passwd", "examples/gru.rnn"])
def test_what_is_no_program_is_refused_where_it_is_read(text):
    """A name that spells no right program; also one that looks like a path, which is not opened."""
    name = module_name(Source("evil", text))
    with pytest.raises(RnnError):
        pickle.loads(f"c{name}\nC\n.".encode())


@pytest.mark.parametrize("name", ["rnndsl.programs.os", "rnndsl.programs.", "rnndsl.programs.abc", "rnndsl.programs.a.b"])
def test_other_names_are_no_modules(name):
    with pytest.raises((ModuleNotFoundError, ImportError)):
        __import__(name)


def test_without_the_compiler_it_says_what_is_missing(tmp_path):
    (tmp_path / "saved").write_bytes(pickle.dumps(leaky()))
    script = f"""
import pickle, sys
sys.modules["lark"] = None
try:
    pickle.load(open({str(tmp_path / "saved")!r}, "rb"))
except ImportError as e:
    assert "compiled where it is used, which needs all of rnndsl" in str(e), e
else:
    raise SystemExit("no error")
"""
    in_a_new_process(script)
