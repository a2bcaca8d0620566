"""Standalone modules, in a virtual environment that has torch and what torch needs, and nothing else."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl.emit.standalone import FILES, _making_way
from tests.agreement import sizes_of
from tests.zoo_cells import ZOO

CELLS = ["LSTM", "ParaGRU", "GatedDeltaNet", "LRU", "LIF"]

_RUN = """
import importlib.util, json, sys, torch
assert importlib.util.find_spec("rnndsl") is None and importlib.util.find_spec("lark") is None
found = {}
for name, sizes in json.loads(sys.argv[1]).items():
    cls = getattr(__import__(f"{name}_standalone"), name)
    torch.manual_seed(0)
    layer = cls(**sizes, dtype=torch.float64)
    x = torch.randn(2, 6, sizes["D"], dtype=torch.float64)
    for call in (lambda: layer(x, group=object()), lambda: layer.plan_for(x, ranks=2)):
        try:
            call()
        except TypeError as e:
            assert "over ranks it needs rnndsl itself" in str(e), e
        else:
            raise AssertionError("a standalone module knows ranks")
    y, state = layer(x)
    y.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in layer.parameters())
    before = [p.detach().clone() for p in layer.parameters()]
    torch.optim.SGD(layer.parameters(), 0.01).step()
    assert any(not torch.equal(p, b) for p, b in zip(layer.parameters(), before))
    found[name] = [y.abs().sum().item(), *(s.abs().sum().item() for s in state)]
print(json.dumps(found))
"""


def needed(name: str, found: set[str]) -> set[str]:
    """A distribution and what it requires here, all the way."""
    if name not in found:
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            return found
        found.add(name)
        for requirement in requirements:
            if "extra ==" not in requirement:
                needed(re.match(r"[\w.-]+", requirement)[0], found)
    return found


@pytest.fixture(scope="module")
def torch_alone(tmp_path_factory) -> Path:
    """The Python of such an environment; packages are links to those of this one."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    for name in needed("torch", set()):
        for file in importlib.metadata.files(name) or ():
            top = file.parts[0]
            if top != ".." and not (site / top).exists():
                (site / top).symlink_to(Path(importlib.metadata.distribution(name).locate_file(top)).resolve())
    return folder / "bin" / "python"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_standalone_modules_need_torch_alone(torch_alone, tmp_path):
    """They train a step, and give the numbers of the modules that use rnndsl."""
    sizes = {name: sizes_of(ZOO[name].text, name) for name in CELLS}
    for name in CELLS:
        (tmp_path / f"{name}_standalone.py").write_text(rnndsl.compile(ZOO[name].text, standalone=True), encoding="utf-8")
    done = subprocess.run([torch_alone, "-c", _RUN, json.dumps(sizes)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name in CELLS:
        torch.manual_seed(0)
        layer = getattr(rnndsl.load(ZOO[name].text), name)(**sizes[name], dtype=torch.float64)
        y, state = layer(torch.randn(2, 6, sizes[name]["D"], dtype=torch.float64))
        assert found[name] == pytest.approx([y.abs().sum().item(), *(s.abs().sum().item() for s in state)]), name


def test_the_files_of_the_runtime_are_whole_and_in_order():
    """Each stands after those that it imports at its top, so that their names are there."""
    package = Path(rnndsl.__file__).parent
    before: set[str] = set()
    for file in FILES:
        for node in ast.parse((package / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module.startswith("rnndsl."):
                assert node.module in before, f"{file} imports {node.module}"
                assert all(name.asname is None for name in node.names), f"{file} gives a name of {node.module} another"
            assert not isinstance(node, ast.Import) or not any(name.name.startswith("rnndsl") for name in node.names)
        before.add("rnndsl." + file.removesuffix(".py").replace("/", "."))


@pytest.mark.parametrize("name", ["_RAW", "_scan"])
def test_a_private_name_of_the_runtime_makes_way(name):
    """Everywhere, and for a name that neither the text nor a class has."""
    text = f"def {name}(x):\n    return f'{{{name}_}}' or {name}(x)\n"
    assert _making_way(text, {name}, {name, f"{name}__"}) == text.replace(f"{name}(", f"{name}___(")
