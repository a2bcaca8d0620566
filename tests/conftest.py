"""Options that all tests share."""

import os

# Processes that share the tests (`-n`) share the cores too: each gets one thread. This must stand before anything imports torch.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

# Most tests are of the compiler and the reference; those of the kernels ask for them. What `auto` takes has a test of its own.
os.environ["RNNDSL_BACKEND"] = "reference"

# Without a GPU, Triton kernels run in Triton's interpreter. This must stand before anything imports triton.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Random programs are the same in every run of CI; elsewhere each run tries new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_addoption(parser):
    parser.addoption("--accept", action="store_true", help="write the golden files anew from what the tests get")


@pytest.fixture
def accept(request) -> bool:
    """Whether golden files are to be written anew."""
    return request.config.getoption("--accept")
