"""The machine and the functions of instructions as native code, made by a C++ compiler and kept in a folder of the user's own.

Each instruction is a function of its shape (opcode and kinds of operands), compiled once, so that most kernels need no compiler."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "machine"
FLAGS = ["-std=c++17", "-O2", "-ftree-vectorize", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-fwrapv", "-fPIC", "-shared", "-w", f"-I{SOURCES}"]


def compiler() -> str | None:
    """The C++ compiler: CXX, else g++; none where there is none."""
    return shutil.which(os.environ.get("CXX", "g++"))


def folder() -> Path:
    """Where native code is kept: RNNDSL_PTX_CACHE, else one of the user's own. Raises RuntimeError where others may write there."""
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    wanted = Path(os.environ.get("RNNDSL_PTX_CACHE", base / "rnndsl-ptx"))
    wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = wanted.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RuntimeError(f"{wanted} is not a folder that only you can write to; set RNNDSL_PTX_CACHE")
    return wanted


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        return "".join(line for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if line.startswith(("model name", "flags", "Features")))
    except OSError:
        return platform.processor() or platform.machine()


class Native:
    """The machine, and the addresses of the functions that are known."""

    def __init__(self) -> None:
        cxx = compiler()
        if cxx is None:
            raise RuntimeError("the emulator needs a C++ compiler: g++, or the one that CXX names")
        self.cxx = cxx
        texts = [path.read_text() for path in sorted(SOURCES.iterdir())]
        self.folder = folder() / hashlib.sha256("\0".join([*texts, *FLAGS, cxx, _processor()]).encode()).hexdigest()[:16]
        self.folder.mkdir(exist_ok=True)
        machine = self.folder / "machine.so"
        if not machine.exists():
            self._build(sorted(SOURCES.glob("*.cpp")), machine)
        self.library = ctypes.CDLL(str(machine), mode=ctypes.RTLD_GLOBAL)
        self.known: dict[str, int] = {}
        for names in sorted(self.folder.glob("functions_*.txt")):
            self._load(names)

    def functions(self, bodies: list[str]) -> list[int]:
        """The addresses of functions with these bodies; those that are new are compiled, together."""
        names = ["f_" + hashlib.sha256(body.encode()).hexdigest()[:16] for body in bodies]
        new = {name: body for name, body in zip(names, bodies, strict=True) if name not in self.known}
        if new:
            source = self.folder / f"functions_{hashlib.sha256(' '.join(sorted(new)).encode()).hexdigest()[:16]}.cpp"
            text = "".join(f'extern "C" void {name}(Warp& w, Program& c, u32 mask, const u64* q) {{ {body} }}\n' for name, body in new.items())
            with tempfile.NamedTemporaryFile("w", dir=self.folder, suffix=".cpp", delete=False) as file:
                file.write('#include "machine.h"\n' + text)
            try:
                self._build([Path(file.name)], source.with_suffix(".so"))
            finally:
                Path(file.name).unlink()
            listed = source.with_suffix(".txt")
            self._place(listed, "\n".join(new))
            self._load(listed)
        return [self.known[name] for name in names]

    def _build(self, sources: list[Path], library: Path) -> None:
        """Written aside and put in place, so that processes that share the folder see whole files only."""
        made = library.with_name(f"{os.getpid()}_{library.name}")
        done = subprocess.run([self.cxx, *FLAGS, "-o", str(made), *map(str, sources)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the emulator's C++ does not compile:\n{done.stderr[:4000]}")
        made.rename(library)

    def _place(self, path: Path, text: str) -> None:
        made = path.with_name(f"{os.getpid()}_{path.name}")
        made.write_text(text)
        made.rename(path)

    def _load(self, names: Path) -> None:
        library = ctypes.CDLL(str(names.with_suffix(".so")))
        for name in names.read_text().split():
            self.known[name] = ctypes.cast(getattr(library, name), ctypes.c_void_p).value


@functools.cache
def native() -> Native:
    """One a process."""
    return Native()
