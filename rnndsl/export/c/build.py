"""Headers compiled by the C compilers that are here: what they compute on this machine, and how large they become."""

import ctypes
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rnndsl.export.c.header import Header
from rnndsl.runtime.compilers import run

_SECONDS = 120
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")


@dataclass(frozen=True)
class Measured:
    """What one compiler makes of a header at -Os: bytes of code, and the most that a step and what it calls here take of the stack, both without
    what <math.h> has; None where it does not say."""

    compiler: str
    target: str
    code: int | None
    stack: int | None


def host_compiler() -> tuple[str, ...] | None:
    """A C compiler for this machine: $CC, cc, gcc or clang."""
    for candidate in (shlex.split(os.environ.get("CC", "")), ["cc"], ["gcc"], ["clang"]):
        if candidate and shutil.which(candidate[0]):
            return tuple(candidate)
    return None


def outputs_in_c(h: Header, inputs: Sequence[Tensor]) -> list[Tensor] | None:
    """What a header makes of inputs, [T, reals] each, on this machine: outputs, [T, reals] each. None where there is no compiler, or it fails."""
    compiler = host_compiler()
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory(prefix="rnndsl-c-") as folder:
        library = built_library(h, Path(folder), compiler)
        return None if library is None else called(library, h, inputs)


def built_library(h: Header, folder: Path, compiler: Sequence[str]) -> Path | None:
    """A header as a library with functions `init` and `step`."""
    p, real = h.prefix, h.real
    (folder / f"{p}.h").write_text(h.text, encoding="utf-8")
    values = [*(f"const {real} *" for _ in h.face.inputs), *(f"{real} *" for _ in h.face.outputs)]
    parameters = "".join(f", {t}a{k}" for k, t in enumerate(values))
    arguments = "".join(f", a{k}" for k in range(len(values)))
    source = folder / "library.c"
    source.write_text(
        f'#include "{p}.h"\n'
        f"unsigned long size(void);\nvoid init(void *s);\nvoid step(void *s{parameters});\n"
        f"unsigned long size(void) {{ return sizeof({p}_state); }}\n"
        f"void init(void *s) {{ {p}_init(({p}_state *)s); }}\n"
        f"void step(void *s{parameters}) {{ {p}_step(({p}_state *)s{arguments}); }}\n",
        encoding="utf-8",
    )
    library = folder / "library.so"
    try:
        done = run([*compiler, "-std=c99", "-O2", "-fPIC", "-shared", "-o", str(library), str(source), "-lm"], _SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return library if done.returncode == 0 else None


def called(library: Path, h: Header, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Steps of a library that was built of a header."""
    code = ctypes.CDLL(str(library))
    code.size.restype = ctypes.c_ulong
    code.size.argtypes = []
    state = ctypes.create_string_buffer(int(code.size()) + 16)
    dtype = torch.float32 if h.real == "float" else torch.float64
    code.init(state)
    given = [x.to(dtype).contiguous() for x in inputs]
    steps = len(given[0]) if given else 1
    made = [torch.empty(steps, v.count, dtype=dtype) for v in h.face.outputs]
    for t in range(steps):
        code.step(state, *(ctypes.c_void_p(x[t].data_ptr()) for x in (*given, *made)))
    return [y.double() for y in made]


def measured(h: Header) -> tuple[Measured, ...]:
    """What the compilers that are here make of a header: the host's, and for a Cortex-M4 that of GNU."""
    found = []
    host = host_compiler()
    if host is not None:
        found.append(_measured(h, host, "this machine"))
    if shutil.which("arm-none-eabi-gcc"):
        found.append(_measured(h, ("arm-none-eabi-gcc", *CORTEX_M4), "a Cortex-M4"))
    return tuple(m for m in found if m is not None)


def _measured(h: Header, compiler: Sequence[str], target: str) -> Measured | None:
    p = h.prefix
    parameters = "".join([f", const {h.real} *{v.c}" for v in h.face.inputs] + [f", {h.real} *{v.c}" for v in h.face.outputs])
    arguments = "".join(f", {v.c}" for v in (*h.face.inputs, *h.face.outputs))
    with tempfile.TemporaryDirectory(prefix="rnndsl-c-") as folder:
        path = Path(folder)
        (path / f"{p}.h").write_text(h.text, encoding="utf-8")
        (path / "size.c").write_text(
            f'#include "{p}.h"\nvoid init({p}_state *s);\nvoid step({p}_state *s{parameters});\n'
            f"void init({p}_state *s) {{ {p}_init(s); }}\nvoid step({p}_state *s{parameters}) {{ {p}_step(s{arguments}); }}\n",
            encoding="utf-8",
        )
        try:
            done = run([*compiler, "-std=c99", "-Os", "-fstack-usage", "-c", "-o", str(path / "size.o"), str(path / "size.c")], _SECONDS, cwd=path)
            if done.returncode != 0:
                return None
            tool = re.sub(r"(gcc|clang|cc)$", "size", compiler[0]) if compiler[0].startswith("arm") else "size"
            sizes = run([tool, "-A", str(path / "size.o")], _SECONDS).stdout if shutil.which(tool) else ""
        except (OSError, subprocess.TimeoutExpired):
            return None
        code = sum(int(m[2]) for m in re.finditer(r"^(\.text\S*)\s+(\d+)", sizes, re.M)) or None
        usage = path / "size.su"
        frames = dict(re.findall(r":(\w+)\t(\d+)\t", usage.read_text())) if usage.exists() else {}
    return Measured(Path(compiler[0]).name, target, code, sum(int(size) for name, size in frames.items() if name != "init") if "step" in frames else None)
