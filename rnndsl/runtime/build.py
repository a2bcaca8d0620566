"""Builds generated C++ kernels into shared libraries, once: they are kept in a folder, each under the hash of what it was made from.

An entry of the cache is a folder with the source, the library and a record of the build. It is made beside its place and moved
there whole; a library that does not fit its record is built again.
"""

import atexit
import contextlib
import ctypes
import errno
import functools
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rnndsl.cache_folder import RECORD, cache_folder, is_own, make_private, remove
from rnndsl.runtime.compilers import Compiler, NoCompiler, compiler, run
from rnndsl.runtime.notice import notice

try:
    import fcntl
except ImportError:  # pragma: no cover
    fcntl = None  # type: ignore[assignment]

__all__ = ["BuildFailed", "Compiler", "NoCompiler", "build", "compiler", "load"]

HEADERS = Path(__file__).parent / "cpp"
TIMEOUT = 120.0  # seconds of a compiler, and of waiting for another process
_ZIG_TIMEOUT = 900.0  # for what `_Job.steps` says of zig
_SHOWN = 20  # lines of the compiler's output in an error


class BuildFailed(RuntimeError):
    """The compiler rejected a kernel, or took too long, or there is no room for what it makes."""


@dataclass(frozen=True)
class _Job:
    """One library to build."""

    name: str
    source: str
    compiler: Compiler
    key: str

    @property
    def label(self) -> str:
        return f"{self.name}-{self.key[:16]}"

    @property
    def library(self) -> str:
        return f"{self.name}.so"

    @property
    def steps(self) -> list[list[list[str]]]:
        """The commands to run: each step is done by the first of its commands that succeeds."""
        command, text, part = self.compiler.command, f"{self.name}.cpp", f"{self.name}.o"
        cxx = [*command, *self.compiler.flags, "-I", str(HEADERS)]
        if self.compiler.kind != "zig":
            return [[[*cxx, text, "-o", self.library]]]
        # zig makes its C++ library from source before it first links with it, for minutes; a kernel may do without
        cc = ["cc" if word == "c++" else word for word in command]
        without = [*cc, "-shared", "-s", "-Wl,-z,defs", part, "-o", self.library]
        return [[[*cxx, "-c", text, "-o", part]], [without, [*cxx, part, "-o", self.library]]]

    @property
    def timeout(self) -> float:
        return _ZIG_TIMEOUT if self.compiler.kind == "zig" else TIMEOUT


def build(source: str, name: str) -> Path:
    """Compiles C++17 source to a shared library, or finds it built, and returns its path. `name` is for people.

    Raises NoCompiler where there is none, BuildFailed where the compiler fails, takes too long, or nothing can be written.
    """
    return _build(_job(source, name))


_open: dict[str, ctypes.CDLL] = {}
_opening = threading.RLock()


def load(source: str, name: str) -> ctypes.CDLL:
    """The library of `build`, opened once in a process. Raises what `build` does, also where it cannot be opened."""
    job = _job(source, name)
    if job.label not in _open:
        path = _build(job)
        with _opening:
            if job.label not in _open:
                try:
                    library = ctypes.CDLL(str(path))
                except OSError:  # whole, but not for this system, or just removed
                    remove(path.parent)
                    path = _build(job)
                    try:
                        library = ctypes.CDLL(str(path))
                    except OSError as e:
                        raise BuildFailed(f"what the C++ compiler made of the kernel `{job.name}` is no library: {e}") from None
                _open[job.label] = library
    return _open[job.label]


def _job(source: str, name: str) -> _Job:
    found = compiler()
    if found is None:
        raise NoCompiler
    headers = [(p.name, p.read_text(encoding="utf-8")) for p in sorted(HEADERS.glob("*.h"))]
    made_of = [source, headers, found.command, found.version, found.flags, found.target, _machine()]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    return _Job(re.sub(r"[^A-Za-z0-9_]", "_", name)[:64] or "kernel", source, found, key)


@functools.cache
def _machine() -> list[str]:
    """System and CPU: a home folder may be shared by machines, and a library for one CPU does not run on every other."""
    fields = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU implementer", "CPU part", "Features")
    cpu: set[str] = set()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        cpu = {line for line in lines if line.split(":")[0].strip() in fields}
    return [platform.system(), platform.machine(), *platform.libc_ver(), platform.processor(), *sorted(cpu)]


def _build(job: _Job) -> Path:
    try:
        try:
            return _build_in(cache_folder(), job)
        except OSError as e:
            return _build_in(_own_folder(e), job)
    except OSError as e:
        where = f" at {e.filename}" if e.filename else ""
        raise BuildFailed(
            f"there is no place for the kernel `{job.name}`: {(e.strerror or str(e)).lower()}{where}; RNNDSL_CACHE or TMPDIR may name another folder, and "
            "backend='reference' needs none"
        ) from None


def _build_in(root: Path, job: _Job) -> Path:
    """The library in a cache folder. Raises OSError where the folder cannot be used."""
    place = root / job.label
    make_private(root)
    if not _whole(place, job):
        owner = None
        with _alone(root, job):
            if not _whole(place, job):  # no other process has built it meanwhile
                owner = _make(place, job)
        make_private(root)
        if not _whole(place, job, owner):
            raise OSError(errno.EIO, "what was built there is not what lies there", str(place))
    return place / job.library


_own: list[Path] = []


def _own_folder(problem: OSError) -> Path:
    """A folder of this process, for one whose cache cannot be written."""
    with _opening:
        if not _own:
            folder = Path(tempfile.mkdtemp(prefix="rnndsl-"))
            atexit.register(_remove_as, os.getpid(), folder)
            _own.append(folder)
            why = f"{problem.filename}: {(problem.strerror or str(problem)).lower()}" if problem.filename else str(problem)
            say = f"the cache of kernels cannot be used: {why}; RNNDSL_CACHE may name another folder. This process builds its own"
            warnings.warn(say, RuntimeWarning, stacklevel=2)
        return _own[0]


def _remove_as(process: int, folder: Path) -> None:
    if os.getpid() == process:  # and not a fork of it
        remove(folder)


def _whole(place: Path, job: _Job, owner: int | None = None) -> bool:
    """Whether an entry is there, complete, unchanged, and this user's own, or of the one whom the file system makes the owner of new files."""
    try:
        record = json.loads((place / RECORD).read_bytes())
        digest = hashlib.sha256((place / job.library).read_bytes()).hexdigest()
        own = all(is_own(p, owner) for p in (place, place / RECORD, place / job.library))
        return own and record["key"] == job.key and record["sha256"] == digest
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def _alone(root: Path, job: _Job) -> Iterator[None]:
    """Keeps processes from building the same at once. It saves work; without it, the last one to finish wins."""
    if fcntl is None:  # pragma: no cover
        yield
        return
    with open(root / f".lock-{job.key[0]}", "ab") as lock:  # sixteen locks, so that none is ever removed
        end = time.monotonic() + job.timeout
        with contextlib.suppress(OSError):  # some network file systems have none
            while time.monotonic() < end:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.05)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)  # a fork made meanwhile would hold it on


def _make(place: Path, job: _Job) -> int:
    """Compiles beside the place, and moves the finished entry there. Returns its owner."""
    work = Path(tempfile.mkdtemp(prefix=f".{job.label}.", dir=place.parent))
    owner = work.lstat().st_uid
    try:
        (work / f"{job.name}.cpp").write_text(job.source, encoding="utf-8")
        with notice(f"rnndsl: building the kernels of {job.name}, which are kept for the next time"):
            seconds, problem = _compile(work, job)
        if problem:
            kept = place.with_name(f"{job.label}.failed")
            remove(kept)
            work.rename(kept)
            source, folder = kept / f"{job.name}.cpp", shlex.quote(str(kept))
            raise BuildFailed(f"the C++ compiler failed on the kernel `{job.name}`, {source}\n  cd {folder} && {problem}")
        (work / job.library).chmod(0o700)  # whatever the umask
        record = {
            "name": job.name,
            "key": job.key,
            "sha256": hashlib.sha256((work / job.library).read_bytes()).hexdigest(),
            "compiler": job.compiler.version,
            "flags": job.compiler.flags,
            "seconds": round(seconds, 3),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        (work / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        (work / RECORD).chmod(0o600)
        try:
            work.rename(place)
        except OSError:
            if not _whole(place, job):  # broken; else another process was faster
                remove(place)
                work.rename(place)
        return owner
    finally:
        remove(work)


def _compile(work: Path, job: _Job) -> tuple[float, str]:
    """Runs the compiler in a folder. Returns the seconds that it took, and what went wrong: a command and what it said."""
    start = time.perf_counter()
    for ways in job.steps:
        for command in ways:
            if not (problem := _run(command, work, job.timeout)):
                break
        else:
            return 0.0, f"{shlex.join(command)}\n{problem}"
    if not (work / job.library).is_file():
        return 0.0, f"{shlex.join(command)}\nit ended well, but made no {job.library}"
    return time.perf_counter() - start, ""


def _run(command: list[str], work: Path, seconds: float) -> str:
    """Runs a command. Returns what went wrong."""
    try:
        done = run(command, seconds, cwd=work)
    except subprocess.TimeoutExpired:
        return f"it took longer than {seconds:g} seconds"
    except OSError as e:
        return str(e)
    if done.returncode == 0:
        return ""
    lines = done.stdout.splitlines()
    first = next((i for i, line in enumerate(lines) if "error" in line), 0)
    return "\n".join(lines[first : first + _SHOWN]) or f"it ended with status {done.returncode} and said nothing"
