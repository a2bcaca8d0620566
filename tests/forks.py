"""Processes of Python that begin with PyTorch and SymPy imported, which takes seconds: a server imports them once, and forks.

`[*PYTHON, "-c", ...]` is called as `[sys.executable, "-c", ...]` is, with `-m` or a script as well. What a test starts so is a process of its own,
which hands its streams, folder, environment and arguments to the server, and ends as the forked one does; where it is killed, so is that one.
A process whose environment has another look for what libraries read when they are imported, and one with other options, is a real one. So should be
those in tests of what is imported, of signals and limits, and of anything that is drawn when Python starts.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress

SAID = ("CUDA", "LANG", "LC_", "LD_", "MKL_", "OMP_", "OPENBLAS_", "PYTHON", "TORCHDYNAMO_", "TORCHINDUCTOR_", "TORCH_LOGS", "TRITON_INTERPRET")
LATER = ("PYTHONPATH", "PYTHONWARNINGS", "TORCHINDUCTOR_CACHE_DIR")  # are not read by an import, or are seen to by `_become`


def _said() -> dict[str, str]:
    """What libraries read when they are imported."""
    return {name: value for name, value in os.environ.items() if name.startswith(SAID) and name not in LATER}


def _command() -> list[str]:
    """A folder of this process holds the sockets of its servers, which end when it does, and the environment that they are for."""
    if not hasattr(os, "pidfd_open"):
        return [sys.executable]
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="forks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with open(f"{folder}/environment.json", "w") as file:
        json.dump(_said(), file)
    return [sys.executable, "-I", "-S", __file__, folder, str(os.getpid())]


# The process that a test starts


def _ask(folder: str, owner: str, arguments: list[str]) -> None:
    """Ends as a forked process with these arguments does."""
    said = _said()
    with open(f"{folder}/environment.json") as file:
        usual = json.load(file)
    options = arguments[: next((i for i, a in enumerate(arguments) if a in ("-c", "-m") or not a.startswith("-")), 0)]
    interpreted = said.pop("TRITON_INTERPRET", "0")
    usual.pop("TRITON_INTERPRET", None)
    if said != usual or interpreted not in ("0", "1") or [o for o in options if o != "-Wignore"] or not arguments:
        os.execv(sys.executable, [sys.executable, *arguments])
    server = _connected(f"{folder}/{interpreted}", owner)
    asked = json.dumps({"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}).encode()
    socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(asked)
    status = int.from_bytes(server.recv(4) or signal.SIGKILL.to_bytes(4, "big"), "big")
    if status & 0x7F:
        with suppress(OSError):  # nobody has a say in SIGKILL
            signal.signal(status & 0x7F, signal.SIG_DFL)
        os.kill(os.getpid(), status & 0x7F)
    os._exit(status >> 8)


def _connected(place: str, owner: str) -> socket.socket:
    """A connection to the server at a place, which is started where there is none."""
    import fcntl

    server = socket.socket(socket.AF_UNIX)
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            server.connect(place)
            return server
        except OSError:
            pass
        import subprocess

        environment = {k: v for k, v in os.environ.items() if k not in LATER}
        command = [sys.executable, "-P", __file__, place, owner, "--serve"]
        started = subprocess.Popen(command, cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        assert started.stdout.read(1) == b".", "the server of tests/forks.py did not start"
        server.connect(place)
    return server


# The server


def _asked(place: str, owner: int) -> dict:
    """Serves until the owner ends. Comes back in each forked process, with what was asked for."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen()
    listening.settimeout(1)
    os.write(1, b".")
    os.dup2(0, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while os.path.exists(f"/proc/{owner}"):
        with suppress(TimeoutError):
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return _kept(connection)
            connection.close()
    os._exit(0)


def _kept(connection: socket.socket) -> dict:
    """Forks once more: one process comes back, the other waits for it and says how it ended, or kills it where nobody wants to know any longer."""
    import select

    size, files, _, _ = socket.recv_fds(connection, 4, 3)
    asked = b""
    while len(asked) < int.from_bytes(size, "big"):
        asked += connection.recv(1 << 20)
    pid = os.fork()
    if pid == 0:
        connection.close()
        for i, file in enumerate(files):
            os.dup2(file, i)
            os.close(file)
        return json.loads(asked)
    for file in (*files, 0, 1, 2):
        os.close(file)
    if connection in select.select([os.pidfd_open(pid), connection], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        connection.sendall(status.to_bytes(4, "big"))
    os._exit(0)


def _become(asked: dict) -> None:
    """Does what a new Python does with its arguments and its environment."""
    import runpy
    import types
    import warnings

    import numpy

    numpy.random.seed()
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    arguments = asked["arguments"]
    if arguments[0] == "-Wignore" or os.environ.get("PYTHONWARNINGS") == "ignore":
        warnings.simplefilter("ignore")
    arguments = [a for i, a in enumerate(arguments) if i or a != "-Wignore"]
    sys.path[:0] = [os.path.abspath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    if arguments[0] == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv[:] = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.path.insert(0, "")
        sys.argv[:] = ["-c", *arguments[2:]]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(arguments[1], main.__dict__)
    else:
        sys.path.insert(0, os.path.dirname(os.path.realpath(arguments[0])))
        sys.argv[:] = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def _live(asked: dict) -> None:
    """What was asked for, to its end; but modules are not taken apart then, for a second."""
    import atexit
    import threading

    status = 0
    try:
        _become(asked)
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else e.code is not None
        if status is True:
            print(e.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status & 0xFF)


if __name__ != "__main__":
    PYTHON = _command()
elif sys.argv[3:] == ["--serve"]:
    import gc

    import jinja2  # noqa: F401
    import lark  # noqa: F401
    import sympy  # noqa: F401
    import torch._dynamo  # noqa: F401

    gc.freeze()
    _live(_asked(sys.argv[1], int(sys.argv[2])))
else:
    _ask(sys.argv[1], sys.argv[2], sys.argv[3:])
