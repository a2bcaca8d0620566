"""Triton kernels compiled ahead of time, without a GPU: that they compile, without spills, and what they need of a processor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks import PYTHON

triton = pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "golden" / "ahead.json"
CHOSEN = {"sm_90": ["para_gru", "min_gru"], "sm_80": ["lif"], "gfx942": ["lru"]}


def compiled(target: str, names: list[str], folder: Path) -> list[dict]:
    """What the script finds; in a process of its own, since this one may have Triton's interpreter switched on."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(folder)}
    out = folder / "table.json"
    command = [*PYTHON, str(ROOT / "benchmarks" / "ahead.py"), "--target", target, "--json", str(out), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="triton brings its compilers for Linux")
def test_kernels_compile_and_need_what_they_needed(tmp_path, accept):
    """No spills with the usual tiles; registers and barriers as in a table, where it was made with this version of triton."""
    found = {}
    for target, names in CHOSEN.items():
        for row in compiled(target, names, tmp_path):
            found[f"{row['recurrence']} {row['kernel']} {target}"] = {k: row[k] for k in ("registers", "spills", "barriers")}
    assert len(found) == 4 * sum(map(len, CHOSEN.values()))
    assert [name for name, row in found.items() if row["spills"]] == []
    if accept:
        TABLE.write_text(json.dumps({"triton": triton.__version__, "kernels": found}, indent=1, sort_keys=True) + "\n")
    table = json.loads(TABLE.read_text())
    assert found.keys() == table["kernels"].keys()
    if table["triton"] == triton.__version__:
        for name, row in found.items():
            known = table["kernels"][name]
            assert row["barriers"] == known["barriers"], name
            assert row["registers"] <= 1.1 * known["registers"] + 2, name


TILES = json.loads((ROOT / "benchmarks" / "counts" / "tiles.json").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="triton brings its compilers for Linux")
def test_whole_steps_compile_and_need_what_the_docs_say(tmp_path):
    """Of one cell here; `benchmarks/ahead.py --zoo --tiles` counts all."""
    rows = compiled("sm_90", ["elman"], tmp_path)
    assert [row["spills"] for row in rows] == [0, 0]
    known = {k["kernel"]: dict(zip(TILES["columns"], k["needs"], strict=True)) for k in TILES["kernels"] if (k["file"], k["target"]) == ("examples/elman", "sm_90")}
    for row, kernel in zip(rows, ("forward", "backward"), strict=True):
        if TILES["triton"] == triton.__version__:
            assert row["registers"] <= 1.1 * known[kernel]["registers"] + 2 and row["barriers"] == known[kernel]["barriers"], kernel


PACKED = """
import re, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from ahead import channels_of, kernels_of
from rnndsl.runtime.triton.ahead import compiled
from rnndsl.tiles import SEQUENTIAL, candidates
for _, kernels in channels_of(Path(sys.argv[2])):
    for packed in (False, True):
        tiles = next(t for t in candidates(kernels.costs, 64 * 64, 100, itemsize=2) if t.schedule == SEQUENTIAL and (t.channels > 32 * t.warps) == packed)
        for kernel in ("forward", "backward"):
            ptx = compiled(kernels_of(kernels)[kernel][0], tiles, "sm_90", torch.bfloat16).asm["ptx"]
            print(packed, kernel, len(re.findall(r"(?:ld|st)\\.global[.\\w:]*\\.b16 ", ptx)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="triton brings its compilers for Linux")
def test_two_channels_a_thread_move_their_halves_together(tmp_path):
    """Of bf16 streams, 4 bytes at a time; of one channel a thread they are 2."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(tmp_path)}
    command = [*PYTHON, "-c", PACKED, str(ROOT / "benchmarks"), str(ROOT / "examples" / "para_gru.rnn")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = {tuple(line.split()[:2]): int(line.split()[2]) for line in done.stdout.splitlines()}
    assert len(found) == 4
    assert found["False", "forward"] and found["False", "backward"]
    assert not found["True", "forward"] and not found["True", "backward"]


KEYS = """
import sys
from rnndsl.runtime.triton.ahead import key_of
from rnndsl.runtime.triton.files import module_of
text = '''import triton
import triton.language as tl
SIZE = tl.constexpr(4)

@triton.jit
def twice(x):
    return x * 2.0

@triton.jit
def kernel(out):
    tl.store(out + tl.arange(0, SIZE), twice(1.0))
'''
others = {
    "the same": text,
    "further down": text.replace("SIZE = ", "\\n\\n# of a tile\\nSIZE = ").replace("    tl.store", "    # there\\n    tl.store"),
    "another constant": text.replace("(4)", "(8)"),
    "what it calls": text.replace("2.0", "3.0"),
    "itself": text.replace("twice(1.0)", "twice(1.5)"),
}
for what, other in others.items():
    print(key_of(module_of(other, "k").kernel) == key_of(module_of(text, "k").kernel), what)
"""


def test_keys_of_kernels():
    """They do not know where a kernel stands, and know all that it is made of."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*PYTHON, "-c", KEYS], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["True the same", "True further down", "False another constant", "False what it calls", "False itself"], done.stderr
