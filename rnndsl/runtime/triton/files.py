"""Generated Triton kernels as files: Triton reads the source of a kernel, and so can people and profilers.

A file stands for given sizes, hyperparameters and dtype. It lies in the cache folder under the hash of its text.
"""

import hashlib
import importlib.util
import json
import os
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import torch

from rnndsl.cache_folder import RECORD, cache_folder, is_own, make_private, remove
from rnndsl.runtime.triton.kernels import TritonKernels

REAL = {torch.float32: "tl.float32", torch.float64: "tl.float64"}  # what kernels compute in

GENERATED = "rnndsl_kernels_"  # what the names of generated modules begin with


def text_of(kernels: TritonKernels, sizes: dict[str, int], hypers: dict[str, float], dtype: torch.dtype, rows: bool = False) -> str:
    """The Python text of a cell's kernels, with values in the place of those that stand in the compiler's text. rows: that of rounds."""
    values = {"REAL": REAL[dtype]} | {kernels.sizes[n]: repr(v) for n, v in sizes.items()}
    values |= {kernels.hypers[n]: f'float("{v!r}")' for n, v in hypers.items()}

    def line(found: re.Match[str]) -> str:
        name = found[1]
        return f"{name} = tl.constexpr({values[name]})" if name in values else found[0]

    return re.sub(r"(?m)^(\w+) = tl\.constexpr\(.*\)$", line, kernels.rows if rows else kernels.source)


def module_of(text: str, name: str) -> ModuleType:
    """The module of a text, imported from a file. Raises ImportError where triton is not installed."""
    key = hashlib.sha256(text.encode()).hexdigest()
    label = f"{re.sub(r'[^A-Za-z0-9_]', '_', name)[:64] or 'kernel'}-{key[:16]}"
    module_name = f"{GENERATED}{label.replace('-', '_')}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    path = _written(label, key, text)
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _written(label: str, key: str, text: str) -> Path:
    """The file of a text: in the cache, or in a folder of this process where that cannot be written."""
    try:
        return _write(cache_folder(), label, key, text)
    except OSError:
        return _write(Path(tempfile.mkdtemp(prefix="rnndsl-")), label, key, text)


def _write(root: Path, label: str, key: str, text: str) -> Path:
    place = root / label
    path = place / f"{label.split('-')[0]}.py"
    make_private(root)
    try:
        if is_own(place) and is_own(path) and path.read_text(encoding="utf-8") == text:
            return path
    except (OSError, ValueError):
        pass
    if (place.is_symlink() or place.exists()) and not (place.is_dir() and is_own(place)):
        remove(place)
    place.mkdir(mode=0o700, exist_ok=True)
    record = {
        "name": label.split("-")[0], "key": key, "sha256": key, "compiler": "triton", "flags": [], "seconds": 0.0,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    _replace(place / RECORD, json.dumps(record, indent=2) + "\n")
    _replace(path, text)
    return path


def _replace(path: Path, text: str) -> None:
    """Writes a file at once, whoever else does so too."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as f:
        f.write(text)
    os.replace(name, path)
