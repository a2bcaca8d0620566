"""Options that all tests share."""

import gc
import os
import shlex
import shutil
import sys

# Processes that share the tests (`-n`) share the cores too: each gets one thread. This must stand before anything imports torch.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections import defaultdict
from zlib import crc32

import pytest
import torch
from hypothesis import settings

from tests import choice
from tests.ptx import plugin as ptx

# Most tests are of the compiler and the reference; those of the kernels ask for them. What `auto` takes has a test of its own.
os.environ["RNNDSL_BACKEND"] = "reference"

# Where Python is told to keep no modules compiled, every process that a test starts would compile the project's anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What is compared is what kernels compute, and most of the time is the compiler's: it optimises little. With `optimised` it does as for users.
CXX = os.environ.get("RNNDSL_CXX") or shlex.join(list(filter(None, map(shutil.which, ("g++", "clang++", "c++"))))[:1])
if CXX and " -O" not in CXX:
    os.environ["RNNDSL_CXX"] = f"{CXX} -O1"

# Random programs are the same in every run of CI; elsewhere each run tries new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_configure(config):
    """Without a GPU, Triton kernels run in Triton's interpreter, or, of `-m ptx`, in the emulator. This must be said before anything imports
    triton; it holds for a whole process."""
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "0" if ptx.chosen(config) else "1"
    config.pluginmanager.register(ptx.Record(config), "ptx record")
    choice.everything = config.getoption("--all")


def pytest_addoption(parser):
    ptx.add_options(parser)
    parser.addoption("--accept", action="store_true", help="write the golden files anew from what the tests get")
    parser.addoption("--all", action="store_true", help="run every case of tests over whole populations of cells, not one in a few")


def pytest_collection_modifyitems(config, items):
    """Of the cases of a test that is marked `one_in(n)`, one in n is run, always the same ones; with `--all`, each. So is one that is named.
    What is marked ptx is run by `-m ptx` alone, all of it."""
    ptx.leave(config, items)
    if choice.everything or ptx.chosen(config) or any("[" in argument for argument in config.args):
        return
    cases = defaultdict(list)
    for item in items:
        if mark := item.get_closest_marker("one_in"):
            cases[(item.path, item.originalname)].append((crc32(item.name.encode()), item, mark.args[0]))
    left = {id(item) for found in cases.values() for _, item, n in sorted(found, key=lambda case: case[0])[-(-len(found) // found[0][2]) :]}
    if left:
        config.hook.pytest_deselected(items=[item for item in items if id(item) in left])
        items[:] = [item for item in items if id(item) not in left]


def pytest_collection_finish(session):
    """What stands when the tests begin (torch, the tests themselves) is looked through by no later collection, and collections are rarer: programs
    are trees of many small objects, and at Python's own thresholds a good part of the time went into walking them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)


def pytest_sessionfinish():
    """What extensions count as leaked at exit is collected as ever."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_compiled():
    """What torch.compile has compiled counts towards a limit of it: no test begins with what others of its process have compiled."""
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()


@pytest.fixture
def optimised(monkeypatch):
    """Kernels in C++ are built as users have them, not as for other tests; none built otherwise in this process is taken."""
    from rnndsl.runtime import recurrence
    from rnndsl.runtime.cpu import loaded

    monkeypatch.setenv("RNNDSL_CXX", CXX)
    monkeypatch.setattr(recurrence, "_KNOWN", recurrence._Known())
    monkeypatch.setattr(loaded, "_steps", {})


@pytest.fixture
def accept(request) -> bool:
    """Whether golden files are to be written anew."""
    return request.config.getoption("--accept")
