"""Programs that leave the process: torch.export, AOTInductor, torch.compile's caches and saved states give the same numbers in a new one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl.runtime import recurrence
from rnndsl.runtime.kernels import CELLS
from rnndsl.runtime.key import Key
from tests.zoo_cells import ZOO, name_of

ROOT = Path(__file__).parents[1]
CELL = """
cell Leaky(D, H, rate = 0.1):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param R: [H, H]
  param tau: [H] > 0
  h[t] = rate * tau * h[t-1] + tanh(W @ x + R @ h[t-1])
  output h, e = h[t]^2
"""
# complex values, heads, matrix states, a surrogate gradient
NAMES = ("lru", "slstm", "gated_delta_net", "lif")

SAVE = """
import sys, inspect, pathlib, torch
sys.path.insert(0, {folder!r})
import {modules}
sizes = {{"D": 3, "H": 4, "N": 2, "K": 3, "V": 3, "B": 5}}
for module in ({modules},):
    cls = next(c for c in vars(module).values() if isinstance(c, type) and hasattr(c, "_run") and c.__module__ == module.__name__)
    known = inspect.signature(cls).parameters
    torch.manual_seed(0)
    layer = cls(**{{n: v for n, v in sizes.items() if n in known}}, backend={backend!r}).eval()
    given = lambda b, t: tuple(torch.randn(b, t, *map(int, shape)) for _, shape, _ in layer._inputs)
    B, T = torch.export.Dim("B", min=2, max=1000), torch.export.Dim("T", min=2, max=1000)
    program = torch.export.export(layer, given(2, 5), dynamic_shapes={{"inputs": tuple({{0: B, 1: T}} for _ in layer._inputs)}}, strict={strict})
    torch.export.save(program, f"{folder}/{{module.__name__}}.pt2")
    x = given(3, 7)
    y, state = layer(*x)
    torch.save((x, y, state), f"{folder}/{{module.__name__}}.pt")
"""
LOAD = """
import sys, torch
sys.path.insert(0, {folder!r})
import {modules}
for module in ({modules},):
    x, y, state = torch.load(f"{folder}/{{module.__name__}}.pt", weights_only=True)
    y2, state2 = torch.export.load(f"{folder}/{{module.__name__}}.pt2").module()(*x)
    assert type(state2) is type(state) and type(y2) is type(y), (state2, state)
    for a, b in zip(torch.utils._pytree.tree_leaves((y, state)), torch.utils._pytree.tree_leaves((y2, state2)), strict=True):
        torch.testing.assert_close(a, b)
"""


def fresh(folder: Path) -> dict[str, str]:
    """Caches of PyTorch's compiler that are empty. It would begin with a look at what this processor has, for seconds."""
    return {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "TORCHINDUCTOR_VEC_ISA_OK": "1"}


def in_a_new_process(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=600, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RNNDSL_BACKEND": "auto"} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", ZOO)
def test_a_key_says_all_that_kernels_are_made_from(name):
    text = ZOO[name].text
    cls = getattr(rnndsl.load(text), name_of(text))
    sizes = {n: 2 + 2 * i for i, n in enumerate(cls.__init__.__annotations__)}
    known = CELLS[cls._kernels["triton"].digest]  # or another class of the same kernels
    assert known._kernels["triton"].digest == cls._kernels["triton"].digest and CELLS[cls._kernels["cpu"].digest]._kernels["cpu"].digest == cls._kernels["cpu"].digest
    layer = type("_", (), {"_sizes": sizes | {"H": 3}, "_hypers": {"a": -0.0, "b": 0.1 + 1e-17, "c": 1e300, "d": float("inf"), "e": 1 / 3}, "_kernels": cls._kernels})()
    key = Key.of(Key.text_of("triton", layer, "h", torch.float64, "newton,lanes=4"))
    assert key.cls is known and key.sizes == layer._sizes and list(map(repr, key.hypers.values())) == list(map(repr, layer._hypers.values()))
    assert (key.backend, key.name, key.dtype, key.wish) == ("triton", "h", torch.float64, "newton,lanes=4")


def test_signs_of_zero_have_kernels_of_their_own():
    text = "cell Z(H, s = 1):\n input x: [H]\n state h: [H]\n h[t] = (x + 0 * tanh(h[t-1])) / s\n output h\n"
    x = torch.ones(1, 2, 1)
    for backend in ("reference", "cpu"):
        for s in (0.0, -0.0, 0.0):
            layer = rnndsl.load(text).Z(H=1, s=s, backend=backend)
            assert torch.equal(layer(x)[0], torch.full((1, 2, 1), float("inf")) * (1 if str(s) == "0.0" else -1))
            with torch.no_grad():
                assert torch.equal(layer.step(x[:, 0])[0], layer(x)[0][:, 0])


def test_a_digest_is_of_the_equations_and_not_of_their_place():
    same = rnndsl.load("\n\n# moved\n" + CELL).Leaky
    assert same is not rnndsl.load(CELL).Leaky and same._kernels["cpu"].digest == rnndsl.load(CELL).Leaky._kernels["cpu"].digest
    other = rnndsl.load(CELL.replace("tanh(", "atan(")).Leaky
    assert other._kernels["cpu"].digest != same._kernels["cpu"].digest and other._kernels["triton"].digest != same._kernels["triton"].digest


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("backend", ["cpu", "auto"])
def test_exported_programs_run_in_a_new_process(tmp_path, strict, backend):
    names = NAMES if backend == "auto" and not strict else ("leaky",)
    for name in names:
        text = CELL if name == "leaky" else (ROOT / "examples" / f"{name}.rnn").read_text(encoding="utf-8")
        (tmp_path / f"cell_{name}.py").write_text(rnndsl.compile(text), encoding="utf-8")
    words = {"folder": str(tmp_path), "modules": ", ".join(f"cell_{n}" for n in names), "backend": backend, "strict": strict}
    in_a_new_process(SAVE.format(**words))
    in_a_new_process(LOAD.format(**words))


def test_exported_programs_of_loaded_cells_run_in_a_new_process(tmp_path):
    program = f"import rnndsl, sys; sys.modules['loaded'] = rnndsl.load({CELL!r}); "
    words = {"folder": str(tmp_path), "modules": "loaded", "backend": "auto", "strict": False}
    in_a_new_process(program + SAVE.format(**words).replace('{module.__name__}', "p"))
    in_a_new_process(program + LOAD.format(**words).replace('{module.__name__}', "p"))


def test_packages_of_aotinductor_run_in_a_new_process(tmp_path):
    (tmp_path / "cell_leaky.py").write_text(rnndsl.compile(CELL), encoding="utf-8")
    words = {"folder": str(tmp_path), "modules": "cell_leaky", "backend": "auto", "strict": False}
    package = f"{tmp_path}/package.pt2"
    cache = fresh(tmp_path)
    in_a_new_process("import torch; torch.set_grad_enabled(False)\n" + SAVE.format(**words) + f"    torch._inductor.aoti_compile_and_package(program, package_path={package!r})\n", **cache)
    load = LOAD.format(**words)
    assert "torch.export.load(" in load
    in_a_new_process(load.replace('torch.export.load(f"' + f"{tmp_path}/" + '{module.__name__}.pt2").module()', f"torch._inductor.aoti_load_package({package!r})"), **cache)


COMPILED = """
import sys, torch
sys.path.insert(0, {folder!r})
import cell_leaky
torch.manual_seed(0)
layer = cell_leaky.Leaky(D=3, H=4, rate={rate})
x = torch.randn(2, 5, 3)
y, state = torch.compile(layer, fullgraph=True)(x)
y.sum().backward()
found = layer.W.grad.clone()
layer.W.grad = None
z, _ = layer(x)
z.sum().backward()
torch.testing.assert_close(y, z)
torch.testing.assert_close(found, layer.W.grad)
print(torch._dynamo.utils.counters["inductor"]["fxgraph_cache_hit"])
"""


def test_compiled_graphs_on_disk_hold_no_stale_keys(tmp_path):
    """The second process takes the graph of the first from the cache; other equations and other hyperparameters never do. The graph calls ops and has
    no kernel of its own, which would have to be compiled for seconds."""
    place = tmp_path / "cell_leaky.py"
    cache = fresh(tmp_path)
    text = CELL.replace(" > 0", "").replace("output h, e = h[t]^2", "output h")
    place.write_text(rnndsl.compile(text), encoding="utf-8")
    runs = [COMPILED.format(folder=str(tmp_path), rate=r) for r in (0.1, 0.1, 0.5)]
    assert [int(in_a_new_process(r, **cache)) > 0 for r in runs] == [False, True, False]
    place.write_text(rnndsl.compile(text.replace("tanh(", "sin(")), encoding="utf-8")
    assert in_a_new_process(runs[0], **cache) == "0\n"


# Keys of what is not there


def call(key):
    return recurrence.OP(key, [torch.ones(1, 2, 4)], [], [torch.zeros(1, 4)], [torch.zeros(4)], None, 2)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("cpu:h:float32:H=4::0123:my.cells.gru.GRU", "the recurrence `h` of my.cells.gru.GRU is not known in this process: import my.cells.gru, before"),
        ("cpu:h:float32:H=4::0123:rnndsl.programs.GRU", "load its program with rnndsl.load, which has the cell GRU"),
        ("cpu:para_gru.ParaGRU:1234:h:float:D=3", "another version of rnndsl made this program"),
        ("cpu:h:floaty:H=4::0123:my.GRU", "another version of rnndsl made this program"),
        ("", "another version of rnndsl made this program"),
    ],
)
def test_an_unknown_key_says_what_to_import(key, words):
    with pytest.raises(RuntimeError, match=words):
        call(key)


def test_a_key_of_other_equations_says_so(tmp_path, monkeypatch):
    (tmp_path / "cell_other.py").write_text(rnndsl.compile(CELL), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import cell_other  # noqa: F401

    with pytest.raises(RuntimeError, match="cell_other.Leaky was compiled from other equations"):
        call("cpu:h:float32:H=4::0123:cell_other.Leaky")


# States and outputs


def test_states_load_as_weights(tmp_path):
    """With torch.load's weights_only, in a new process that has imported the module."""
    (tmp_path / "cell_leaky.py").write_text(rnndsl.compile(CELL), encoding="utf-8")
    (tmp_path / "alone.py").write_text(rnndsl.compile(CELL, standalone=True), encoding="utf-8")
    place = f"{str(tmp_path)!r} + m.Leaky.__name__ + m.__name__[:9]"
    start = f"import sys, torch, rnndsl; sys.path.insert(0, {str(tmp_path)!r}); import cell_leaky, alone\nfor m in (cell_leaky, alone, rnndsl.load({CELL!r})):\n  "
    in_a_new_process(start + f"torch.save(m.Leaky(D=3, H=4)(torch.ones(2, 5, 3)), {place})")
    in_a_new_process(start + f"y, s = torch.load({place}, weights_only=True)\n  assert type(s) is m.Leaky.State and type(y) is m.Leaky.Output and s.h.shape == (2, 4)")
