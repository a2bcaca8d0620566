"""Programs that leave the process: torch.export, AOTInductor, torch.compile's caches and saved states give the same numbers in a new one."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl.runtime import recurrence
from rnndsl.runtime.kernels import CELLS
from rnndsl.runtime.key import Key
from rnndsl.runtime.params import header_text
from tests.forks import PYTHON
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
for name, module, backend, strict in {ways}:
    cls = next(c for c in vars(module).values() if isinstance(c, type) and hasattr(c, "_run") and c.__module__ == module.__name__)
    known = inspect.signature(cls).parameters
    torch.manual_seed(0)
    layer = cls(**{{n: v for n, v in sizes.items() if n in known}}, backend=backend).eval()
    given = lambda b, t: tuple(torch.randn(b, t, *map(int, shape)) for _, shape, _ in layer._inputs)
    B, T = torch.export.Dim("B", min=2, max=1000), torch.export.Dim("T", min=2, max=1000)
    program = torch.export.export(layer, given(2, 5), dynamic_shapes={{"inputs": tuple({{0: B, 1: T}} for _ in layer._inputs)}}, strict=strict)
    torch.export.save(program, f"{folder}/{{name}}.pt2")
    x = given(3, 7)
    y, state = layer(*x)
    torch.save((x, y, state), f"{folder}/{{name}}.pt")
"""
LOAD = """
import sys, torch
sys.path.insert(0, {folder!r})
import {modules}
for name, *_ in {ways}:
    x, y, state = torch.load(f"{folder}/{{name}}.pt", weights_only=True)
    y2, state2 = torch.export.load(f"{folder}/{{name}}.pt2").module()(*x)
    assert type(state2) is type(state) and type(y2) is type(y), (state2, state)
    for a, b in zip(torch.utils._pytree.tree_leaves((y, state)), torch.utils._pytree.tree_leaves((y2, state2)), strict=True):
        torch.testing.assert_close(a, b)
"""


def inductor(folder: Path) -> str:
    """Begins a script: caches of PyTorch's compiler in a folder. It would look what this processor has by compiling for it, for seconds, and compile
    headers of packages to read them once."""
    return f"""
import os
os.environ["TORCHINDUCTOR_CACHE_DIR"] = {str(folder / "inductor")!r}
import torch._inductor.config, torch._inductor.cpu_vec_isa
if hasattr(torch._inductor.config.aot_inductor, 'precompile_headers'):
    torch._inductor.config.aot_inductor.precompile_headers = False
torch._inductor.cpu_vec_isa.VecISA.check_build = lambda *_: False
"""


def in_a_new_process(script: str) -> str:
    done = subprocess.run(
        [*PYTHON, "-Wignore", "-c", script], capture_output=True, text=True, timeout=600, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RNNDSL_BACKEND": "auto"},
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
    sizes, hypers = sizes | {"H": 3}, {"a": -0.0, "b": 0.1 + 1e-17, "c": 1e300, "d": float("inf"), "e": 1 / 3}
    key = Key.of(Key.text_of("triton", (cls, header_text(sizes, hypers), "auto", ""), "h", torch.float64, "newton,lanes=4"))
    assert key.cls is known and key.sizes == sizes and list(map(repr, key.hypers.values())) == list(map(repr, hypers.values()))
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


def ways(*each: tuple[str, str, bool]) -> dict[str, str]:
    """What SAVE and LOAD ask for: modules, a backend of each, and whether they are traced strictly."""
    listed = ", ".join(f'("{module}-{backend}-{strict}", {module}, {backend!r}, {strict})' for module, backend, strict in each)
    return {"modules": ", ".join(dict.fromkeys(module for module, _, _ in each)), "ways": f"[{listed}]"}


def test_exported_programs_run_in_a_new_process(tmp_path):
    """Both tracers, a backend that is asked for, and a cell of `rnndsl.load`."""
    (tmp_path / "cell_leaky.py").write_text(rnndsl.compile(CELL), encoding="utf-8")
    for name in NAMES:
        (tmp_path / f"cell_{name}.py").write_text(rnndsl.compile((ROOT / "examples" / f"{name}.rnn").read_text(encoding="utf-8")), encoding="utf-8")
    loaded = f"import rnndsl, sys; sys.modules['loaded'] = rnndsl.load({CELL.replace('tanh(', 'atan(')!r}); "
    words = ways(
        *((f"cell_{n}", "auto", False) for n in NAMES), ("cell_leaky", "auto", True), ("cell_leaky", "cpu", True), ("cell_leaky", "cpu", False), ("loaded", "auto", False),
    )  # fmt: skip
    in_a_new_process(loaded + SAVE.format(folder=str(tmp_path), **words))
    in_a_new_process(loaded + LOAD.format(folder=str(tmp_path), **words))


def test_packages_of_aotinductor_run_in_a_new_process(tmp_path):
    (tmp_path / "cell_leaky.py").write_text(rnndsl.compile(CELL), encoding="utf-8")
    words = ways(("cell_leaky", "auto", False))
    package = f"{tmp_path}/package.pt2"
    start = inductor(tmp_path)
    compiled = f"    torch._inductor.aoti_compile_and_package(program, package_path={package!r})\n"
    in_a_new_process(start + "import torch; torch.set_grad_enabled(False)\n" + SAVE.format(folder=str(tmp_path), **words) + compiled)
    load = LOAD.format(folder=str(tmp_path), **words)
    exported = f'torch.export.load(f"{tmp_path}/' + '{name}.pt2").module()'
    assert exported in load
    in_a_new_process(start + load.replace(exported, f"torch._inductor.aoti_load_package({package!r})"))


COMPILED = """
import importlib, pathlib, sys, torch
sys.path.insert(0, {folder!r})
import cell_leaky
def hits(rate):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch.manual_seed(0)
    layer = cell_leaky.Leaky(D=3, H=4, rate=rate)
    x = torch.randn(2, 5, 3)
    y, state = torch.compile(layer, fullgraph=True)(x)
    y.sum().backward()
    found = layer.W.grad.clone()
    layer.W.grad = None
    z, _ = layer(x)
    z.sum().backward()
    torch.testing.assert_close(y, z)
    torch.testing.assert_close(found, layer.W.grad)
    return torch._dynamo.utils.counters["inductor"]["fxgraph_cache_hit"]
"""


def test_compiled_graphs_on_disk_hold_no_stale_keys(tmp_path):
    """The second process takes the graph of the first from the cache; other hyperparameters and other equations never do. The graph calls ops and has
    no kernel of its own, which would have to be compiled for seconds."""
    place = tmp_path / "cell_leaky.py"
    text = CELL.replace(" > 0", "").replace("output h, e = h[t]^2", "output h")
    place.write_text(rnndsl.compile(text), encoding="utf-8")
    (tmp_path / "other.py").write_text(rnndsl.compile(text.replace("tanh(", "sin(")), encoding="utf-8")
    start = inductor(tmp_path) + COMPILED.format(folder=str(tmp_path))
    assert in_a_new_process(start + "print(hits(0.1))") == "0\n"
    reload = f"pathlib.Path({str(place)!r}).write_text(pathlib.Path({str(tmp_path / 'other.py')!r}).read_text()); importlib.reload(cell_leaky)"
    again = in_a_new_process(start + f"print(hits(0.1) > 0, hits(0.5) > 0); {reload}; print(hits(0.1) > 0)")
    assert again == "True False\nFalse\n"


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
