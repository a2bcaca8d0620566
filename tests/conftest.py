"""Options that all tests share."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--accept", action="store_true", help="write the golden files anew from what the tests get")


@pytest.fixture
def accept(request) -> bool:
    """Whether golden files are to be written anew."""
    return request.config.getoption("--accept")
