"""Which C++ compiler builds the kernels, and with which flags."""

import contextlib
import hashlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FLAGS = (
    "-std=c++17",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",  # a kernel exports what it marks, and two kernels never share a symbol
    "-ffp-contract=fast",  # a * b + c as one instruction: rounded once instead of twice
    # These two give up errno and trap handlers, which nobody reads here, and change no result.
    # Nothing of -ffast-math: it would break infinities, nan and the order of sums.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-exceptions",  # none could leave a kernel; without them it needs no C++ library
)
_OPTIMISED = "-O3"
_NATIVE = (("-march=native",), ("-mcpu=native",), ())  # the second for compilers that lack the first on their CPU
_HELP = "no C++ compiler was found: install g++ or clang++, or `pip install rnndsl[cpu]`"
_OF_WINDOWS = ("cl", "clang-cl", "icl", "icx-cl")
_PROBE_SECONDS = 60


class NoCompiler(RuntimeError):
    """There is no C++ compiler, or RNNDSL_CXX names none."""

    def __init__(self, problem: str = _HELP) -> None:
        super().__init__(problem)


@dataclass(frozen=True)
class Compiler:
    command: tuple[str, ...]
    kind: str  # "gcc", "clang" or "zig"
    version: str  # the first line that it prints of itself; below may stand the working directory
    flags: tuple[str, ...]
    target: str  # hash of the macros that it defines here: features of the CPU, versions of its libraries


_found: dict[tuple[str | None, ...], Compiler | None] = {}


def compiler() -> Compiler | None:
    """The C++ compiler, or None where there is none. Raises NoCompiler where RNNDSL_CXX is set and wrong.

    It is looked for once in a process, and again where these variables or PATH have changed.
    """
    surroundings = tuple(os.environ.get(name) for name in ("RNNDSL_CXX", "CXX", "PATH"))
    if surroundings not in _found:
        _found[surroundings] = _find()
    return _found[surroundings]


def _find() -> Compiler | None:
    if named := os.environ.get("RNNDSL_CXX"):
        try:
            return _probe(shlex.split(named))
        except (NoCompiler, ValueError) as e:
            raise NoCompiler(f"RNNDSL_CXX is `{named}`, which cannot be used: {e}") from None
    candidates = [["g++"], ["clang++"], ["c++"]]
    with contextlib.suppress(ValueError):  # CXX may be meant for another program; it is a hint
        candidates.insert(0, shlex.split(os.environ.get("CXX", "")))
    if sys.executable and importlib.util.find_spec("ziglang"):
        candidates.append([sys.executable, "-P", "-m", "ziglang", "c++"])  # -P: not a ziglang of the working directory
    for candidate in candidates:
        with contextlib.suppress(NoCompiler):
            return _probe(candidate)
    return None


def _probe(command: Sequence[str]) -> Compiler:
    """Tries a compiler on a header of the C++ library. Raises NoCompiler where that fails, and for one that takes other arguments."""
    if command and (Path(command[0]).stem.lower() in _OF_WINDOWS):
        raise NoCompiler("it takes the arguments of Microsoft's compiler; kernels are built with g++, clang++ or zig (`pip install rnndsl[cpu]`)")
    program = shutil.which(command[0]) if command else None
    if program is None:
        raise NoCompiler(f"there is no program `{command[0]}`" if command else "it is empty")
    command = (str(Path(program).absolute()), *command[1:])
    try:
        version = run([*command, "--version"], _PROBE_SECONDS)
        chosen = any(word.startswith(("-march=", "-mcpu=")) for word in command)
        for native in ((),) if chosen else _NATIVE:
            macros = run([*command, *native, *FLAGS[:1], "-dM", "-E", "-x", "c++", "-"], _PROBE_SECONDS, "#include <thread>\n")
            if macros.returncode == 0 and "__cplusplus" in macros.stdout:
                return _described(command, version.stdout, native, macros.stdout)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise NoCompiler(str(e)) from None
    said = next((line.strip() for line in macros.stdout.splitlines() if line.strip()), f"status {macros.returncode}")
    raise NoCompiler(f"it does not compile C++: {said}")


def _described(command: tuple[str, ...], version: str, native: tuple[str, ...], macros: str) -> Compiler:
    kind = "clang" if "__clang__" in macros else "gcc"
    if "ziglang" in version or {"zig", "ziglang"} & {Path(word).name for word in command}:
        kind = "zig"
    flags = FLAGS + native
    if not any(word.startswith("-O") for word in command):
        flags = (_OPTIMISED, *flags)
    if "__AVX512F__" in macros:
        flags += ("-mprefer-vector-width=512",)  # gcc 12 takes new CPUs for older ones, and would use half of their width
    if kind == "zig":
        flags += ("-s",)  # zig links its C++ library into each kernel: 0.2 MB, and with symbols ten times that
    return Compiler(command, kind, version.strip().partition("\n")[0], flags, hashlib.sha256(macros.encode()).hexdigest())


def run(command: Sequence[str], seconds: float, text: str = "", cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Runs a compiler, its errors put among its output. Raises OSError, and subprocess.TimeoutExpired with all of its processes ended."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C"},
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # g++ is several processes; a group can be ended as one
    )
    with process:
        try:
            output, _ = process.communicate(text, timeout=seconds)
        except BaseException:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output)
