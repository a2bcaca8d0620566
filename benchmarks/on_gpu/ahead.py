"""Every kernel that a later group launches, compiled before: a pool of processes fills Triton's cache on disk.

A process of the pool (python -m on_gpu.ahead FOLDER --device D --scale S --target T --model M --groups G) calls the layers as the groups do, on tensors
without memory, and where a kernel would be launched it is compiled instead, in the order of the groups. It needs no GPU, only to know for which one. All
walk through the same calls; who comes to a kernel first claims it by making a file. So one that crashes or hangs costs the kernel that it was at.
"""

import argparse
import base64
import hashlib
import itertools
import json
import os
import pickle
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from on_gpu.record import Record, Row
from on_gpu.watch import end_with_parent, kill, started

MOST = 16  # processes


def compiled(record: Record, device: str, scale: str, target: tuple[str, Any, int], model: str, groups: list[str], share: float) -> None:
    """Runs the pool, until all is compiled or the share of the time is used; a row a kernel, errors for those that were claimed and not compiled."""
    record.begin("compile", share)
    folder = Path(os.environ["TRITON_CACHE_DIR"]).parent / "claims"
    folder.mkdir(exist_ok=True)
    told = ("--device", device, "--scale", scale, "--target", json.dumps(target), "--model", model, "--groups", ",".join(groups))
    count = min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    ends = min(record.data["began"]["compile"] + share, record.ends)
    pool = [started("on_gpu.ahead", str(folder), *told, CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1") for _ in range(count)]
    try:
        while any(p.poll() is None for p in pool) and time.monotonic() < ends:
            time.sleep(0.1)
        late = [p for p in pool if p.poll() is None]
        for p in pool:
            if p.poll():
                record.error("compile", "a process of the pool", f"it ended with status {p.returncode}")
    finally:
        for p in pool:
            kill(p)
    record.groups["compile"] += _rows(folder)
    for row in record.groups["compile"]:
        if row["seconds"] is None:
            record.error("compile", f"{row['kernel']} of {row['cell']}", row["error"] or "its process ended, or was killed, while it compiled it")
    if late:
        record.leave_out("compile", "the rest", "its share of the time was up")
    record.data["pool"] = {"processes": count, "seconds": round(time.monotonic() - record.data["began"]["compile"], 1)}
    record.end("compile")


def _rows(folder: Path) -> list[Row]:
    """What was claimed, in order of its time."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime):
        text = path.read_text()
        found.append(json.loads(text) if text else {"group": "?", "cell": "?", "kernel": path.name, "seconds": None, "error": ""})
    return found


# A process of the pool


@dataclass(frozen=True)
class Placed:
    """What Triton looks at of a tensor: its dtype, and whether its address is a multiple of 16."""

    dtype: torch.dtype
    address: int

    def data_ptr(self) -> int:
        return self.address


class _Driver:
    """What Triton asks of a device to compile for it."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def get_current_target(self) -> Any:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


class _Kernels(TorchDispatchMode):
    """The ops of recurrences run their kernels, where tensors without memory would only be given shapes."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        from rnndsl.runtime import recurrence
        from rnndsl.runtime.call import Call

        if func is recurrence.OP:
            key, *given = args
            return recurrence.known(key).forward(Call(*given))
        if func is recurrence.BACK:
            key, *given, sequences, grads, wanted = args
            return list(itertools.compress(recurrence.known(key).backward(Call(*given), sequences, grads, wanted), wanted))
        return func(*args, **(kwargs or {}))


class Pool:
    """What a process of the pool compiles, and what it says of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.group, self.cell = folder, "", ""

    def fails(self, e: Exception) -> None:
        """Notes, once, a call that did not come to its launches."""
        said = f"{type(e).__name__}: {str(e)[:200]}"
        name = f"call-{hashlib.sha256(f'{self.group} {self.cell} {said}'.encode()).hexdigest()[:16]}"
        row = {"group": self.group, "cell": self.cell, "kernel": "a call", "seconds": None, "error": said}
        (self.folder / name).write_text(json.dumps(row))

    def launch(self, kernel: Any, programs: int, given: list[Any], like: Tensor, **settings: Any) -> None:
        """In place of a launch. Raises nothing of what the compiler raises: it is a row."""
        placed = [Placed(t.dtype, t.storage_offset() * t.element_size()) if isinstance(t, Tensor) else t for t in given]
        about = [(str(p.dtype), p.address % 16) if isinstance(p, Placed) else _kind(p) for p in placed]
        key = hashlib.sha256(str((kernel.cache_key, about, [(n, _kind(v)) if callable(v) else (n, v) for n, v in settings.items()])).encode()).hexdigest()[:16]
        path = self.folder / f"{kernel.__name__}-{key}"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        row: Row = {"group": self.group, "cell": self.cell, "kernel": kernel.__name__, "seconds": None, "error": ""}
        path.write_text(json.dumps(row))  # what stays if this process is ended meanwhile
        began = time.perf_counter()
        try:
            made = kernel.warmup(*placed, grid=(programs,), enable_fp_fusion=True, **settings)
            row["launcher"] = _launcher(made)
            row["seconds"] = round(time.perf_counter() - began, 2)
        except Exception as e:
            row["error"] = f"{type(e).__name__}: {str(e)[:200]}"
        path.write_text(json.dumps(row))


def _kind(value: Any) -> Any:
    """What a kernel is specialised for: of an integer, whether it is 1, divisible by 16, and how wide."""
    if isinstance(value, int) and not isinstance(value, bool):
        return ("int", value == 1, value % 16 == 0, -(2**31) <= value < 2**31)
    return getattr(value, "__name__", None) or str(type(value))


def _launcher(made: Any) -> str | None:
    """Triton to 3.6 builds a launcher in C for each signature, and keeps it on disk too. Returns why it could not be built, if so."""
    from triton.backends.nvidia import driver

    if made is None or made.metadata.target.backend != "cuda" or not hasattr(driver, "make_launcher"):
        return None
    try:
        driver.CudaLauncher(made.src, made.metadata)
    except Exception as e:
        return f"{type(e).__name__}: {str(e)[:200]}"
    return None


@contextmanager
def without_memory(pool: Pool, device: str, target: tuple[str, Any, int], model: Any) -> Iterator[Any]:
    """Layers on a CPU can be called on tensors without memory; their kernels are cut by the model of a device, and compiled for a target by the
    pool."""
    from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
    from triton.backends.compiler import GPUTarget
    from triton.runtime.driver import driver

    from on_gpu import cells
    from on_gpu.device import Processor, opened
    from rnndsl.runtime import gpu
    from rnndsl.runtime.triton import backend, launch, step
    from rnndsl.tools.tune import run

    launch.launch = step.launch = pool.launch
    with opened("emulated" if device == "emulated" else "cpu"):
        cells.make_layer = unset_fake_temporarily()(cells.make_layer)  # weights are looked at as they are made
        gpu.interpreted = lambda: True  # so that kernels may be asked for on a CPU
        backend.device_of = run.device_of = cache(lambda device: model)
        if device != "emulated":
            driver.set_active(_Driver(GPUTarget(*target)))
        with FakeTensorMode(allow_non_fake_inputs=True), _Kernels():
            yield Processor()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name in ("device", "scale", "target", "groups", "model"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    from on_gpu import scale, walk

    end_with_parent()
    pool = Pool(options.folder)
    with without_memory(pool, options.device, tuple(json.loads(options.target)), pickle.loads(base64.b64decode(options.model))) as machine:
        for group, cell, call in walk.calls(getattr(scale, options.scale.upper()), machine, options.groups.split(",")):
            pool.group, pool.cell = group, cell
            try:
                call()
            except Exception as e:
                pool.fails(e)
    return 0


if __name__ == "__main__":
    sys.exit(main())
