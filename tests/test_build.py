"""Building kernels and keeping them: one build for all processes, none that is half, and clear words where it cannot be done."""

import ctypes
import errno
import hashlib
import importlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from rnndsl import cli
from rnndsl.cache_folder import cache_folder
from rnndsl.runtime import build as building
from rnndsl.runtime.build import BuildFailed, NoCompiler, build, compiler, load

ROOT = Path(__file__).resolve().parent.parent
GXX, GCC = shutil.which("g++"), shutil.which("gcc")
EXPORT = 'extern "C" __attribute__((visibility("default"))) '
ANSWER = EXPORT + "int answer() { return 42; }\n"
KERNEL = (
    """
#include <atomic>
#include <thread>
#include <vector>
#include "vector.h"
using namespace rnndsl;
"""
    + EXPORT
    + """
void axpy(const float* x, float* y, long n, float a) {
  std::atomic<long> next{0};
  auto work = [&] {
    for (long i; (i = next.fetch_add(WIDTH<float>)) + WIDTH<float> <= n;) {
      Vec<float> v, w;
      std::memcpy(&v, x + i, sizeof v), std::memcpy(&w, y + i, sizeof w);
      w = v * a + w;
      std::memcpy(y + i, &w, sizeof w);
    }
  };
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) others.emplace_back(work);
  work();
  for (auto& t : others) t.join();
}
"""
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own, and a process that has opened nothing yet."""
    for name in ("RNNDSL_CXX", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNDSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(building, "_open", {})
    monkeypatch.setattr(building, "_own", [])
    return tmp_path / "cache"


class Wrapper:
    """A compiler that writes its calls down, does something of a test's own before it builds, and is g++ otherwise."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.path, self.log, self.monkeypatch = folder / "cxx", folder / "calls", monkeypatch
        self.does("")
        monkeypatch.setenv("RNNDSL_CXX", str(self.path))

    def does(self, script: str) -> None:
        self.path.write_text(f'#!/bin/sh\necho "$*" >> "{self.log}"\ncase "$*" in *-shared*)\n:\n{script}\n;; esac\nexec "{GXX}" "$@"\n')
        self.path.chmod(0o755)

    def builds(self) -> int:
        return self.log.read_text().count("-shared") if self.log.exists() else 0


@pytest.fixture
def wrapper(tmp_path, monkeypatch) -> Wrapper:
    return Wrapper(tmp_path, monkeypatch)


def entries(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir() if not p.name.startswith(".lock"))


def forked(work, count: int = 1) -> list[int]:
    """The exit codes of processes that start at once."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(count)

    def run() -> None:
        barrier.wait()
        work()

    processes = [context.Process(target=run) for _ in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        for p in processes:
            p.start()
    for p in processes:
        p.join()
    return [p.exitcode for p in processes]


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


# building


def test_a_kernel_with_threads_and_vectors_runs(cache):
    n = 1024
    x, y = (ctypes.c_float * n)(*range(n)), (ctypes.c_float * n)(*[1.0] * n)
    load(KERNEL, "axpy").axpy(x, y, ctypes.c_long(n), ctypes.c_float(2))
    assert list(y) == [2.0 * i + 1 for i in range(n)]
    (entry,) = entries(cache)
    assert re.fullmatch("axpy-[0-9a-f]{16}", entry)
    assert sorted(p.name for p in (cache / entry).iterdir()) == ["axpy.cpp", "axpy.so", "build.json"]
    assert (cache / entry / "axpy.cpp").read_text() == KERNEL
    assert cache.stat().st_mode & 0o777 == 0o700
    record = json.loads((cache / entry / "build.json").read_text())
    assert record["name"] == "axpy" and "-O3" in record["flags"] and record["seconds"] > 0 and record["date"].startswith("20")
    assert record["compiler"] == compiler().version and "\n" not in record["compiler"]


def test_numbers_are_those_of_ieee(cache):
    """The flags keep infinities, nan, signed zeros and the order of sums."""
    source = f"""#include <cmath>
{EXPORT} double root(double x) {{ return std::sqrt(x); }}
{EXPORT} int is_nan(double x) {{ return x != x; }}
{EXPORT} double ordered(double a, double b) {{ return (a + b) - a; }}
{EXPORT} double zero(double x) {{ return 1 / (x * 0.0); }}
"""
    library = load(source, "numbers")
    for name in ("root", "ordered", "zero"):
        getattr(library, name).restype = ctypes.c_double
    d = ctypes.c_double
    assert library.is_nan(d(library.root(d(-1.0)))) == 1 and library.is_nan(d(1.0)) == 0
    assert library.ordered(d(1e20), d(1.0)) == 0.0
    assert library.zero(d(-1.0)) == float("-inf")


def test_it_is_built_once(cache, wrapper, monkeypatch):
    path = build(ANSWER, "answer")
    assert wrapper.builds() == 1
    assert build(ANSWER, "answer") == path and load(ANSWER, "answer").answer() == 42
    assert load(ANSWER, "answer") is load(ANSWER, "answer")
    shutil.rmtree(cache)
    assert load(ANSWER, "answer").answer() == 42  # it is open
    assert wrapper.builds() == 1


def test_everything_that_matters_is_in_the_hash(cache, monkeypatch, tmp_path):
    first = build(ANSWER, "answer")
    headers = tmp_path / "cpp"
    shutil.copytree(building.HEADERS, headers)
    assert build(ANSWER.replace("42", "43"), "answer") != first
    with monkeypatch.context() as m:
        m.setenv("RNNDSL_CXX", "g++ -DSPARE")
        assert build(ANSWER, "answer") != first
    with monkeypatch.context() as m:
        m.setattr(building, "HEADERS", headers)
        assert build(ANSWER, "answer") == first  # their text counts, not their place
        (headers / "vector.h").write_text("// other\n")
        assert build(ANSWER, "answer") != first
    with monkeypatch.context() as m:
        m.setattr(building, "_machine", lambda: ["another CPU"])
        assert build(ANSWER, "answer") != first
    assert len(entries(cache)) == 5
    assert build(ANSWER, "answer") == first


def test_processes_that_start_at_once_build_once(cache, wrapper):
    def work() -> None:
        assert load(ANSWER, "answer").answer() == 42

    assert forked(work, 8) == [0] * 8
    assert len(entries(cache)) == 1
    assert wrapper.builds() == 1


def test_threads_build_once_and_share_a_library(wrapper):
    found = []
    threads = [threading.Thread(target=lambda: found.append(load(ANSWER, "answer"))) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 6 and len({id(library) for library in found}) == 1
    assert wrapper.builds() == 1


def test_without_locks_the_last_one_wins(cache, monkeypatch):
    monkeypatch.setattr(building, "fcntl", None)

    def work() -> None:
        assert load(ANSWER, "answer").answer() == 42

    assert forked(work, 4) == [0] * 4
    assert len(entries(cache)) == 1


def test_a_process_that_dies_leaves_no_half_entry(cache, wrapper):
    wrapper.does("kill -9 $PPID")
    assert forked(lambda: load(ANSWER, "answer")) == [-signal.SIGKILL]
    assert all(name.startswith(".") for name in entries(cache))
    wrapper.does("")
    assert load(ANSWER, "answer").answer() == 42


# entries that are not what they should be


def test_a_damaged_library_is_built_again(cache, wrapper):
    path = build(ANSWER, "answer")
    os.truncate(path, path.stat().st_size // 2)
    assert load(ANSWER, "answer").answer() == 42
    assert wrapper.builds() == 2 and len(entries(cache)) == 1


def test_a_library_that_cannot_be_opened_is_built_again(wrapper):
    path = build(ANSWER, "answer")
    path.write_bytes(b"of another system")
    record = json.loads(path.with_name("build.json").read_text())
    record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name("build.json").write_text(json.dumps(record))
    assert load(ANSWER, "answer").answer() == 42
    assert wrapper.builds() == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_an_entry_without_its_record_is_built_again(wrapper, text):
    build(ANSWER, "answer").with_name("build.json").write_text(text)
    assert load(ANSWER, "answer").answer() == 42
    assert wrapper.builds() == 2


def test_an_entry_of_another_user_is_not_loaded(cache, wrapper, monkeypatch):
    build(ANSWER, "answer")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    build(ANSWER, "answer")
    assert wrapper.builds() == 2 and len(entries(cache)) == 1


def planted(cache: Path, path: Path) -> None:
    """Puts a library that answers 666 in the place of a built one, with a record that fits."""
    record = json.loads((path.parent / "build.json").read_text())
    subprocess.run([GXX, "-shared", "-fPIC", "-x", "c++", "-", "-o", str(path)], input=ANSWER.replace("42", "666"), text=True, check=True)
    record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (path.parent / "build.json").write_text(json.dumps(record))


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o707, 0o1777])
def test_a_cache_that_others_may_write_to_is_refused(cache, mode):
    path = build(ANSWER, "answer")
    planted(cache, path)
    cache.chmod(mode)
    with pytest.warns(RuntimeWarning, match="cannot be used: .*cache: other users may write to it"):
        assert load(ANSWER, "answer").answer() == 42


def test_a_folder_above_that_all_may_write_to_is_refused(tmp_path, monkeypatch):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("RNNDSL_CACHE", str(tmp_path / "open" / "cache"))
    with pytest.warns(RuntimeWarning, match="cannot be used: .*open: other users may write to it"):
        assert load(ANSWER, "answer").answer() == 42
    (tmp_path / "open").chmod(0o1777)  # as /tmp: nobody may take another's folder away
    monkeypatch.setattr(building, "_open", {})
    assert load(ANSWER, "answer").answer() == 42


def test_parts_of_an_entry_that_others_may_write_to_are_built_again(cache, wrapper):
    path = build(ANSWER, "answer")
    for n, part in enumerate((path.parent, path, path.parent / "build.json"), 2):
        part.chmod(0o777)
        assert build(ANSWER, "answer") == path and wrapper.builds() == n and not part.stat().st_mode & 0o022


def test_a_library_that_was_exchanged_during_the_build_is_not_loaded(cache, wrapper):
    wrapper.does(f'chmod 777 "{cache}"')
    with pytest.warns(RuntimeWarning, match="other users may write to it"):
        assert cache not in build(ANSWER, "answer").parents


@pytest.mark.parametrize("there", ["file", "link", "dangling", "empty folder"])
def test_what_lies_in_an_entrys_place_is_replaced(cache, tmp_path, there):
    place = build(ANSWER, "answer").parent
    elsewhere = tmp_path / "elsewhere"
    place.rename(elsewhere)
    match there:
        case "file":
            place.write_text("no folder")
        case "link":
            place.symlink_to(elsewhere)
        case "dangling":
            place.symlink_to("nowhere")
        case "empty folder":
            place.mkdir()
    assert load(ANSWER, "answer").answer() == 42
    assert place.is_dir() and not place.is_symlink() and (elsewhere / "answer.so").is_file()


def test_any_umask_does(cache, wrapper):
    old = os.umask(0)
    try:
        build(ANSWER, "answer")
        build(ANSWER, "answer")
    finally:
        os.umask(old)
    assert wrapper.builds() == 1 and cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("exit 0", "made no answer.so"), ("printf 'f\\374\\377 error'; exit 1", "failed on the kernel"), ("exit 3", "status 3"),
        ('while [ "$1" != -o ]; do shift; done; echo no library > "$2"; exit 0', "is no library"), ("kill -9 $$", "status -9"),
    ],
)  # fmt: skip
def test_a_compiler_that_makes_nothing_of_use_is_told(wrapper, script, word):
    wrapper.does(script)
    with pytest.raises(BuildFailed, match=word):
        load(ANSWER, "answer")


def test_triton_files_are_trusted_as_libraries_are(cache):
    from rnndsl.runtime.triton.files import module_of

    text = "ANSWER = 42\n"
    path = Path(module_of(text, "answer").__file__)
    assert cache in path.parents
    for plant in ("file", "root"):
        del sys.modules[next(n for n in sys.modules if n.startswith("rnndsl_kernels_answer"))]
        if plant == "file":
            shutil.rmtree(path.parent)
            path.parent.write_text("no folder")
            assert module_of(text, "answer").ANSWER == 42 and path.is_file()
        else:
            cache.chmod(0o777)
            assert cache not in Path(module_of(text, "answer").__file__).parents


def test_measurements_that_others_may_write_are_not_read(cache):
    from rnndsl.runtime.triton import tuned
    from rnndsl.tiles import Tiles

    fields = Tiles.__dataclass_fields__
    tiles = Tiles(**dict.fromkeys(fields, 1))
    tuned.store("a GPU", {tuned.entry("h", 4, 8, False): tiles})
    assert tuned.find("a GPU", "h", 4, 8, False) == tiles
    cache.chmod(0o777)
    tuned._table.cache_clear()
    assert tuned.find("a GPU", "h", 4, 8, False) is None
    with pytest.raises(OSError, match="other users"):
        tuned.store("a GPU", {})


def test_a_cache_that_cannot_be_written_is_replaced_for_the_process(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RNNDSL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="cannot be used: .*file/cache: not a directory; RNNDSL_CACHE") as said:
        assert load(ANSWER, "answer").answer() == 42
        path = build(ANSWER.replace("42", "43"), "answer")
    assert len(said) == 1
    assert tmp_path not in path.parents and path.parent.parent.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(path.parent.parent)


def test_a_disk_without_room_for_any_kernel_is_told(cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a write has it, without a name

    monkeypatch.setattr(building, "_own", [cache])
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(BuildFailed, match="no place for the kernel `answer`: no space left on device; RNNDSL_CACHE or TMPDIR"):
        build(ANSWER, "answer")


@pytest.mark.parametrize("name", ["../../up", "/etc/passwd", "a b; exit", "$(x)", "", "-o", "n\0ul", "名", "x" * 500, "a.b\n"])
def test_a_name_stays_inside_the_cache(cache, name):
    path = build(ANSWER, name)
    assert path.parent.parent == cache
    assert re.fullmatch("[A-Za-z0-9_]{1,64}", path.stem) and ctypes.CDLL(str(path)).answer() == 42


# what goes wrong


def test_an_error_in_the_source_shows_it(cache):
    with pytest.raises(BuildFailed) as e:
        build("int f() { return nowhere; }\n" + "int g() { return nowhere; }\n" * 50, "wrong")
    said = str(e.value)
    (entry,) = entries(cache)
    assert entry.endswith(".failed")
    assert str(cache / entry / "wrong.cpp") in said and (cache / entry / "wrong.cpp").exists()
    assert "'nowhere' was not declared" in said and "-O3" in said and len(said.splitlines()) < 30
    command = next(line for line in said.splitlines() if line.strip().startswith("cd "))
    assert subprocess.run(command, shell=True, capture_output=True).returncode == 1  # it can be pasted
    assert load(ANSWER, "wrong").answer() == 42


def test_a_compiler_that_hangs_is_ended(tmp_path, wrapper, monkeypatch):
    wrapper.does(f'sleep 60 & echo $! > "{tmp_path}/sleeper"; wait')
    monkeypatch.setattr(building, "TIMEOUT", 0.5)
    start = time.monotonic()
    with pytest.raises(BuildFailed, match=r"longer than 0\.5 seconds"):
        build(ANSWER, "answer")
    assert time.monotonic() - start < 5
    sleeper = int((tmp_path / "sleeper").read_text())
    while running(sleeper):  # what it had started was ended too
        assert time.monotonic() - start < 20
        time.sleep(0.05)


def test_no_compiler_is_said_with_what_to_install(tmp_path, monkeypatch):
    with monkeypatch.context() as m:
        m.setenv("PATH", str(tmp_path))
        m.setitem(sys.modules, "ziglang", None)
        assert compiler() is None
        for function in (build, load):
            with pytest.raises(NoCompiler) as e:
                function(ANSWER, "answer")
            assert str(e.value) == "no C++ compiler was found: install g++ or clang++, or `pip install rnndsl[cpu]`"
            assert isinstance(e.value, RuntimeError)
    assert compiler() is not None


def test_a_compiler_is_looked_for_once(wrapper):
    assert compiler() is compiler()
    assert len(wrapper.log.read_text().splitlines()) == 2  # --version, and the header


def test_any_of_the_usual_names_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ziglang", None)
    folders: list[str] = []
    for name in ("c++", "clang++", "g++"):  # the better one last
        (tmp_path / name).mkdir()
        (tmp_path / name / name).symlink_to(GXX)
        folders.append(str(tmp_path / name))
        monkeypatch.setenv("PATH", os.pathsep.join(folders))
        assert compiler().command == (str(tmp_path / name / name),)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("no-such-compiler -O1", "there is no program `no-such-compiler`"),
        ("true", r"it does not compile C\+\+"),
        ("g++ -no-such-flag", r"it does not compile C\+\+: .*no-such-flag"),
        ("'g++", "No closing quotation"),
        (" ", "it is empty"),
    ],
)
def test_a_wrong_choice_of_compiler_is_an_error(monkeypatch, value, problem):
    monkeypatch.setenv("RNNDSL_CXX", value)
    for function in (compiler, lambda: build(ANSWER, "answer")):
        with pytest.raises(NoCompiler, match=f"RNNDSL_CXX is `{re.escape(value)}`.*{problem}"):
            function()


@pytest.mark.parametrize("value", ["cl", "clang-cl", "/opt/vc/CL.exe /O2"])
def test_compilers_that_take_other_arguments_are_refused(monkeypatch, value):
    monkeypatch.setenv("RNNDSL_CXX", value)
    with pytest.raises(NoCompiler, match="takes the arguments of Microsoft's compiler; kernels are built with g"):
        compiler()


def test_a_wrong_cxx_is_passed_over(monkeypatch):
    for value in ("no-such-compiler", "'g++", ""):
        monkeypatch.setenv("CXX", value)
        assert compiler().command == (GXX,)
    monkeypatch.setenv("CXX", "g++ -DSPARE")
    assert compiler().command == (GXX, "-DSPARE")


# flags and kinds


def pretend(tmp_path: Path, monkeypatch, macros: str, refuses: str = "-never") -> None:
    """Makes the compiler one that has these macros and refuses a flag."""
    program = tmp_path / "pretended"
    cases = f'*{refuses}*) echo "unknown flag"; exit 1;; *--version*) echo pretended 1.0;; *) echo "{macros}";;'
    program.write_text(f'#!/bin/sh\ncase "$*" in {cases} esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("RNNDSL_CXX", str(program))


@pytest.mark.parametrize(
    ("macros", "kind", "wide"),
    [
        ("#define __cplusplus 201703L", "gcc", False),
        ("#define __cplusplus 201703L\n#define __AVX512F__ 1", "gcc", True),
        ("#define __cplusplus 201703L\n#define __clang__ 1", "clang", False),
        ("#define __cplusplus 201703L\n#define __clang__ 1\n#define __AVX512F__ 1", "clang", True),
    ],
)
def test_flags_follow_the_machine(tmp_path, monkeypatch, macros, kind, wide):
    pretend(tmp_path, monkeypatch, macros)
    found = compiler()
    assert found.kind == kind and found.version == "pretended 1.0"
    assert ("-mprefer-vector-width=512" in found.flags) == wide
    assert "-march=native" in found.flags and not any("fast-math" in flag for flag in found.flags)


def test_a_compiler_without_march_takes_mcpu(tmp_path, monkeypatch):
    pretend(tmp_path, monkeypatch, "#define __cplusplus 201703L", refuses="-march=native")
    assert "-mcpu=native" in compiler().flags
    pretend(tmp_path, monkeypatch, "#define __cplusplus 201703L", refuses="=native")
    monkeypatch.setenv("RNNDSL_CXX", f"{tmp_path / 'pretended'} -DSPARE")
    assert not any("native" in flag for flag in compiler().flags)


def test_a_named_cpu_is_kept(monkeypatch):
    monkeypatch.setenv("RNNDSL_CXX", "g++ -mtune=generic")
    assert "-march=native" in compiler().flags
    machine = subprocess.run([GXX, "-dumpmachine"], capture_output=True, text=True).stdout
    cpu = "-march=x86-64" if machine.startswith("x86_64") else "-march=armv8-a"
    monkeypatch.setenv("RNNDSL_CXX", f"g++ {cpu}")
    assert not any("native" in flag for flag in compiler().flags)


def test_a_named_optimisation_is_kept(monkeypatch):
    monkeypatch.setenv("RNNDSL_CXX", "g++")
    assert "-O3" in compiler().flags
    monkeypatch.setenv("RNNDSL_CXX", "g++ -O1")
    assert not any(flag.startswith("-O") for flag in compiler().flags)


@pytest.fixture
def ziglang(tmp_path, monkeypatch) -> Path:
    """The only compiler is one of PyPI's ziglang, which is g++ in truth; returns what it writes its calls to."""
    package, log = tmp_path / "site" / "ziglang", tmp_path / "zig-calls"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(
        "import os, sys\n"
        f"open({str(log)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"os.environ['PATH'] = {os.environ['PATH']!r}\n"
        f"program = {{'c++': {GXX!r}, 'cc': {GCC!r}}}[sys.argv[1]]\n"
        "os.execv(program, [program, *sys.argv[2:]])\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.delitem(sys.modules, "ziglang", raising=False)
    monkeypatch.setenv("PATH", str(package))
    importlib.invalidate_caches()
    return log


def test_zig_is_the_last_resort(ziglang, monkeypatch):
    found = compiler()
    assert found.kind == "zig" and found.command == (sys.executable, "-P", "-m", "ziglang", "c++")
    monkeypatch.setenv("PATH", str(Path(GXX).parent))
    assert compiler().command == (GXX,)


def test_zig_makes_its_library_only_for_kernels_that_need_it(ziglang):
    def calls(source: str) -> list[str]:
        compiler()
        ziglang.write_text("")
        assert load(source, "answer").answer() == 42
        return [f"{line.split()[0]} {'compiles' if ' -c ' in line else 'links'}" for line in ziglang.read_text().splitlines()]

    assert calls(ANSWER) == ["c++ compiles", "cc links"]
    needs = f"#include <vector>\n{EXPORT} int answer() {{ return int(std::vector<int>(42, 1).size()); }}\n{EXPORT} int* more() {{ return new int; }}"
    assert calls(needs) == ["c++ compiles", "cc links", "c++ links"]


# the folder


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNDSL_CACHE", "~/kernels")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "kernels"
    monkeypatch.delenv("RNNDSL_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "rnndsl"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says its specification
    assert cache_folder() == tmp_path / ".cache" / "rnndsl"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "rnndsl"


# the command


def test_cache_lists_what_is_there(cache, capsys):
    build(ANSWER, "answer")
    build(ANSWER, "another")
    with pytest.raises(BuildFailed):
        build("wrong", "broken")
    assert cli.main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["kernel", "another", "answer", "broken"]
    assert compiler().version in lines[1] and lines[3].endswith("did not compile")
    assert re.fullmatch(rf"3 kernels, \d+\.\d kB in {re.escape(str(cache))}", lines[-1])


def test_cache_as_json(cache, capsys):
    path = build(ANSWER, "answer")
    assert cli.main(["cache", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    size = sum(p.stat().st_size for p in path.parent.iterdir())
    (kernel,) = data.pop("kernels")
    assert data == {"version": 1, "cleared": False, "folder": str(cache), "size": size}
    assert kernel.pop("date") == json.loads((path.parent / "build.json").read_text())["date"]
    assert kernel == {"name": "answer", "folder": str(path.parent), "size": size, "compiler": compiler().version}


def test_cache_clear_removes_kernels_and_nothing_else(cache, capsys):
    path = build(ANSWER, "answer")
    with pytest.raises(BuildFailed):
        build("wrong", "broken")
    for name in ("precious", ".answer-0123456789abcdef.old", ".answer-0123456789abcdef.new"):
        (cache / name).mkdir()
        (cache / name / "file").write_text("")
    os.utime(cache / ".answer-0123456789abcdef.old", (0, 0))  # left by a process that died; the other is being built
    assert cli.main(["cache", "--clear"]) == 0
    assert re.fullmatch(rf"removed 2 kernels, \d+\.\d kB from {re.escape(str(cache))}\n", capsys.readouterr().out)
    assert entries(cache) == [".answer-0123456789abcdef.new", "precious"]
    assert load(ANSWER, "answer").answer() == 42 and path.exists()
    assert cli.main(["cache", "--clear", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["cleared"] and [k["name"] for k in data["kernels"]] == ["answer"] and not path.exists()


def test_cache_of_nothing(cache, capsys):
    assert cli.main(["cache"]) == 0
    assert cli.main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"no kernels in {cache}\nremoved 0 kernels, 0.0 kB from {cache}\n"
    assert not cache.exists()


def test_a_cache_that_is_a_file_is_misuse(cache, capsys):
    cache.write_text("")
    for arguments in (["cache"], ["cache", "--clear"]):
        assert cli.main(arguments) == 2
        assert capsys.readouterr().err == f"rnndsl: {cache}: not a directory\n"


def test_cache_needs_no_torch(cache):
    program = "import sys; from rnndsl import cli; assert cli.main(['cache']) == 0; assert 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
