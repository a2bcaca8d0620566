"""Triton kernels compiled ahead of time, without a GPU: that they compile, without spills, and what they need of a processor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "golden" / "ahead.json"
CHOSEN = {"sm_90": ["para_gru", "para_lstm", "min_gru"], "sm_80": ["lif"], "gfx942": ["lru"]}


def compiled(target: str, names: list[str], folder: Path) -> list[dict]:
    """What the script finds; in a process of its own, since this one may have Triton's interpreter switched on."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(folder)}
    out = folder / "table.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "ahead.py"), "--target", target, "--json", str(out), *names]
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
