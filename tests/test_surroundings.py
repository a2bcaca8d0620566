"""Hostile surroundings: full disks, closed streams, files without an end, Ctrl-C, and outputs that would hit something else."""

import contextlib
import errno
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rnndsl import api, cli
from rnndsl.diagnostics import RnnError
from rnndsl.files import write_whole
from tests.test_cli import GOOD, program_env

FIRST = "# Made by rnndsl 0.2.0 from good.rnn. Change the equations there, not here.\n"
ONLY_LINUX = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "good.rnn").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """rnndsl in another process; one that needs much memory fails."""
    limit = 1 << 30
    env = {**program_env(), **options.pop("env", {})}
    before = options.pop("preexec_fn", lambda: None)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        before()

    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
    command = [sys.executable, "-m", "rnndsl", *arguments]
    return subprocess.run(command, cwd=folder, env=env, text=True, timeout=120, check=False, preexec_fn=limited, **streams)


def told(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """It ended with a status and one line that says why."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert all(w in done.stderr for w in words), done.stderr


# Reading


@ONLY_LINUX
@pytest.mark.parametrize("arguments", [("check",), ("fmt",), ("fmt", "--check"), ("compile", "-o", "a.py"), ("explain",), ("verify",), ("bench",)])
def test_a_file_without_an_end_is_read_up_to_the_limit(folder, arguments):
    told(run(folder, *arguments, "/dev/zero"), 1, "too-large", f"{api.MAX_BYTES} bytes")
    with open("/dev/zero", "rb") as zeros:
        told(run(folder, *arguments, "-", stdin=zeros), 1, "too-large", f"{api.MAX_BYTES} bytes")


@ONLY_LINUX
def test_functions_read_up_to_the_limit():
    for function in (api.check, api.compile, api.format, api.load, api.explain, api.verify):
        if function is api.check:
            assert [d.code for d in function(Path("/dev/zero"))] == ["too-large"]
            continue
        with pytest.raises(RnnError, match="too-large"):
            function(Path("/dev/zero"))


@pytest.mark.parametrize("function", [api.compile, api.format, api.load, api.explain])
def test_text_is_limited_as_a_file_is(function):
    with pytest.raises(RnnError, match="too-large"):
        function("#" * (api.MAX_BYTES + 1))


def test_what_is_no_file_is_told(folder):
    (folder / "a.rnn").symlink_to("b.rnn")
    (folder / "b.rnn").symlink_to("a.rnn")
    (folder / "c.rnn").symlink_to("nowhere.rnn")
    (folder / "folder.rnn").mkdir()
    for name, word in (("a.rnn", "symbolic links"), ("c.rnn", "no such file"), ("folder.rnn", "is a directory"), (".", "is a directory")):
        for command in ("check", "fmt", "compile", "explain"):
            told(run(folder, command, name), 2, "rnndsl: ", name, word)


def test_a_pipe_with_a_name_is_read(folder):
    os.mkfifo(folder / "pipe.rnn")
    writer = subprocess.Popen(["sh", "-c", "cat good.rnn > pipe.rnn"], cwd=folder)
    assert run(folder, "check", "pipe.rnn").returncode == 0
    assert writer.wait(timeout=60) == 0


def test_closed_standard_input_is_told(folder):
    told(run(folder, "check", "-", stdin=None, preexec_fn=lambda: os.close(0)), 2, "standard input is closed")


# Writing

PRINTING = [
    ("compile", "good.rnn", "-o", "-"), ("compile", "good.rnn", "--dump", "plan"), ("explain", "good.rnn"), ("explain", "--json", "good.rnn"),
    ("explain", "--latex", "good.rnn"), ("check", "--json", "good.rnn"), ("fmt", "--diff", "ugly.rnn"), ("new", "cell"), ("cache",),
    ("compile", "good.rnn"), ("--help",), ("bench", "--help"), ("--version",),
]  # fmt: skip


@pytest.mark.one_in(3)
@ONLY_LINUX
@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_output_that_cannot_be_written_is_told(folder, arguments):
    (folder / "ugly.rnn").write_text(GOOD.replace(" = ", "="))
    cache = {"RNNDSL_CACHE": str(folder / "cache")}
    with open("/dev/full", "w") as full:
        told(run(folder, *arguments, stdout=full, env=cache), 2, "standard output: no space left on device")
    (folder / "cell.rnn").unlink(missing_ok=True)
    told(run(folder, *arguments, stdout=None, preexec_fn=lambda: os.close(1), env=cache), 2, "standard output: it is closed")


@ONLY_LINUX
def test_messages_that_cannot_be_written_keep_the_status(folder):
    with open("/dev/full", "w") as full:
        assert run(folder, "check", "good.rnn", stderr=full).returncode == 0
        assert run(folder, "check", "missing.rnn", stderr=full).returncode == 2


def test_output_that_nobody_reads_is_no_error(folder):
    for arguments in (("explain", "good.rnn"), ("compile", "good.rnn", "-o", "-")):
        reader, writer = os.pipe()
        os.close(reader)
        done = run(folder, *arguments, stdout=writer)
        os.close(writer)
        assert (done.returncode, done.stderr) == (1, "")


FOREIGN = [
    "# Made by rnndsl fans, with love\nx = 1\n", "# Made by rnndsl\n", "# Made by rnndsl 0.2.0 from good.rnn. And changed by me.\nx = 1\n",
    " " + FIRST, "x = 1\n" + FIRST, "# Made by rnndsl 0.2.0 from a.rnn, cell A. Change it\n", "\n" + FIRST,
]  # fmt: skip


@pytest.mark.parametrize("text", FOREIGN)
def test_compile_keeps_what_it_did_not_make(folder, capsys, text):
    (folder / "good.py").write_text(text)
    assert cli.main(["compile", "good.rnn"]) == 2
    assert "not made by rnndsl" in capsys.readouterr().err and (folder / "good.py").read_text() == text


def test_compile_overwrites_what_any_version_made(folder):
    (folder / "good.py").write_text(FIRST + "what was there\n")
    assert cli.main(["compile", "good.rnn"]) == 0
    assert "what was there" not in (folder / "good.py").read_text()


@pytest.mark.parametrize("link", [None, os.link, os.symlink], ids=["itself", "hard link", "symbolic link"])
def test_compile_never_overwrites_its_input(folder, capsys, link):
    program = folder / "made.rnn"
    program.write_text(FIRST + GOOD)
    out = "made.rnn" if link is None else "out.py"
    if link is not None:
        link(program, folder / out)
    for arguments in (["compile", "made.rnn", "-o", out], ["compile", "./made.rnn", "-o", str(folder / out)]):
        assert cli.main(arguments) == 2
        assert "the program itself" in capsys.readouterr().err
    assert program.read_text() == FIRST + GOOD


def test_compile_overwrites_no_other_program_of_the_same_call(folder, capsys):
    (folder / "other.rnn").write_text(FIRST + GOOD)
    (folder / "good.py").symlink_to("other.rnn")
    assert cli.main(["compile", "good.rnn", "other.rnn"]) == 2
    assert (folder / "other.rnn").read_text() == FIRST + GOOD


def test_two_programs_never_share_a_module_through_a_link(folder, capsys):
    (folder / "other.rnn").write_text(GOOD)
    (folder / "good.py").write_text(FIRST)
    (folder / "other.py").symlink_to("good.py")
    assert cli.main(["compile", "good.rnn", "other.rnn"]) == 2
    assert "would overwrite that of good.rnn" in capsys.readouterr().err


def test_a_picture_never_overwrites_the_program(folder, capsys):
    pytest.importorskip("matplotlib")
    (folder / "picture.svg").symlink_to("good.rnn")
    assert cli.main(["explain", "good.rnn", "--picture", "picture.svg"]) == 2
    assert "the program itself" in capsys.readouterr().err and (folder / "good.rnn").read_text() == GOOD


def small_disk() -> None:
    """Files of this process can have no more than 100 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.parametrize("old", [None, FIRST + "old\n"])
def test_a_full_disk_leaves_the_old_module_and_nothing_else(folder, old):
    if old is not None:
        (folder / "good.py").write_text(old)
    before = sorted(p.name for p in folder.iterdir())
    told(run(folder, "compile", "good.rnn", preexec_fn=small_disk), 2, "rnndsl: good.py: ")
    assert sorted(p.name for p in folder.iterdir()) == before
    assert old is None or (folder / "good.py").read_text() == old


def test_a_full_disk_leaves_programs_and_pictures_whole(folder):
    ugly = GOOD.replace(" = ", "=")
    (folder / "ugly.rnn").write_text(ugly)
    told(run(folder, "fmt", "ugly.rnn", preexec_fn=small_disk), 2, "rnndsl: ugly.rnn: ")
    told(run(folder, "new", "cell", preexec_fn=small_disk), 2, "rnndsl: cell.rnn: ")
    assert (folder / "ugly.rnn").read_text() == ugly and sorted(p.name for p in folder.iterdir()) == ["good.rnn", "ugly.rnn"]


def test_a_written_file_keeps_its_mode_and_links_and_new_ones_get_the_umask(folder):
    made, link = folder / "made.py", folder / "link.py"
    made.write_text(FIRST)
    made.chmod(0o640)
    link.symlink_to("made.py")
    assert cli.main(["compile", "good.rnn", "-o", "link.py"]) == 0
    assert link.is_symlink() and stat.S_IMODE(made.stat().st_mode) == 0o640 and len(made.read_text()) > len(FIRST)
    old = os.umask(0o027)
    try:
        assert cli.main(["compile", "good.rnn", "-o", "new.py"]) == 0
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / "new.py").stat().st_mode) == 0o640


@ONLY_LINUX
def test_a_device_is_written_and_stays_one(folder):
    done = run(folder, "compile", "good.rnn", "-o", "/dev/stdout")
    assert done.stdout.startswith("# Made by rnndsl") and done.returncode == 0
    told(run(folder, "compile", "good.rnn", "-o", "/dev/full"), 2, "/dev/full: no space left on device")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_what_cannot_be_written_is_told(folder):
    (folder / "a.py").symlink_to("b.py")
    (folder / "b.py").symlink_to("a.py")
    (folder / "c.py").mkdir()
    for out, word in (("a.py", "symlink"), ("c.py", "is a directory"), ("nowhere/d.py", "no such file")):
        told(run(folder, "compile", "good.rnn", "-o", out), 2, out, word)


def test_write_whole_names_the_file_in_its_errors(tmp_path):
    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / "nowhere" / "a", b"")
    assert caught.value.errno == errno.ENOENT and caught.value.filename == str(tmp_path / "nowhere" / "a")


def test_new_follows_no_link(folder, capsys):
    (folder / "cell.rnn").symlink_to("elsewhere")
    assert cli.main(["new", "cell"]) == 2
    assert "exists already" in capsys.readouterr().err and not (folder / "elsewhere").exists()


# Ctrl-C, and folders that are not there

INTERRUPTS = """
import _thread, sys, time
class Finder:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
sys.argv = ["rnndsl", *{arguments!r}]
from rnndsl.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("rnndsl.cli.parser", ["check", "good.rnn"]), ("lark", ["check", "good.rnn"]), ("rnndsl.checks.shapes", ["compile", "good.rnn"]),
        ("jinja2", ["compile", "good.rnn"]), ("sympy", ["explain", "good.rnn"]), ("torch", ["verify", "good.rnn"]),
    ],
)  # fmt: skip
def test_ctrl_c_during_imports_is_no_traceback(folder, module, arguments):
    code = INTERRUPTS.format(module=module, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=program_env(), capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (cli.INTERRUPTED, "rnndsl: interrupted\n")


def test_a_removed_working_directory_is_told_or_does_not_matter(folder):
    command = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m rnndsl"
    good = folder / "good.rnn"
    for arguments, status in (("check good.rnn", 2), (f"check {good}", 0), (f"explain {good}", 0), (f"compile {good}", 0), (f"compile {good} -o a.py", 2)):
        done = subprocess.run(["sh", "-c", f"{command} {arguments}"], cwd=folder, env=program_env(), capture_output=True, text=True, check=False)
        told(done, status, *([": no such file or directory"] if status else []))


def test_memory_that_runs_out_is_told(folder, monkeypatch, capsys):
    from rnndsl.cli import check

    def run_out(*_) -> int:
        raise MemoryError

    monkeypatch.setattr(check, "run", run_out)
    with contextlib.redirect_stderr(sys.stderr):
        assert cli.main(["check", "good.rnn"]) == cli.MISUSE


def test_a_program_that_is_too_large_for_a_late_stage_hides_no_other(folder, monkeypatch, capsys):
    from rnndsl.emit import module

    text = module.module_text

    def too_deep(*stages):
        if any(getattr(s, "name", None) == "good.rnn" for s in stages):
            raise RecursionError
        return text(*stages)

    (folder / "other.rnn").write_text((folder / "good.rnn").read_text())
    monkeypatch.setattr(module, "module_text", too_deep)
    assert cli.main(["compile", "good.rnn", "other.rnn"]) == 1
    said = capsys.readouterr()
    assert "error[too-large]" in said.err and "Traceback" not in said.err and said.out == "wrote other.py\n"
    assert (folder / "other.py").exists() and not (folder / "good.py").exists()
