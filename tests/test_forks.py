"""What tests start as a process of Python is one, though it was forked: it reads, prints, and ends as a new one does."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.forks import PYTHON

pytestmark = pytest.mark.skipif(PYTHON[1:] == [], reason="processes are forked on Linux alone")
SHOW = "import os, sys; print(sys.orig_argv[-1], sys.argv, os.getcwd(), os.environ['WORD'], sys.stdin.read(), sys.modules['__main__'].__dict__ is globals()); sys.exit(3)"


def test_it_has_what_it_is_given(tmp_path):
    words = {"cwd": tmp_path, "env": {**os.environ, "WORD": "said"}, "input": "read", "capture_output": True, "text": True}
    done = subprocess.run([*PYTHON, "-c", SHOW, "-v"], **words)
    assert (done.returncode, done.stdout, done.stderr) == (3, f"--serve ['-c', '-v'] {tmp_path} said read True\n", "")
    (tmp_path / "shown.py").write_text(SHOW)
    for command, name in ((["shown.py"], "shown.py"), (["-m", "shown"], str(tmp_path / "shown.py"))):
        done = subprocess.run([*PYTHON, *command, "a"], **words)
        assert (done.returncode, done.stdout) == (3, f"--serve {[name, 'a']} {tmp_path} said read True\n"), done.stderr


def test_another_environment_takes_a_new_process():
    done = subprocess.run([*PYTHON, "-c", SHOW, "a"], env={**os.environ, "WORD": "", "OMP_NUM_THREADS": "3"}, input="", capture_output=True, text=True)
    assert done.returncode == 3 and done.stdout.startswith("a "), done.stderr


def test_it_ends_by_signals_and_errors_and_with_whom_has_asked(tmp_path):
    done = subprocess.run([*PYTHON, "-c", "import os; os.kill(os.getpid(), 11)"], capture_output=True)
    assert done.returncode == -signal.SIGSEGV
    done = subprocess.run([*PYTHON, "-c", "import sys, atexit; atexit.register(print, 'last'); sys.exit('why')"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "last\n", "why\n")
    done = subprocess.run([*PYTHON, "-c", "1 / 0"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith("ZeroDivisionError: division by zero\n")
    process = subprocess.Popen([*PYTHON, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(100)"], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    for _ in range(1000):
        if not os.path.exists(f"/proc/{pid}"):
            break
        time.sleep(0.01)
    else:
        pytest.fail("it lives")
    assert sys.executable == PYTHON[0]
