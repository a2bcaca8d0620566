"""Finds the folders of resources in a wheel, an editable install and a bare checkout."""

from pathlib import Path


def resource_folder(name: str) -> Path:
    """The folder `name` (`grammar`, `templates` or `examples/zoo`): inside the package when installed, else its sibling."""
    package = Path(__file__).resolve().parent
    return package / name if (package / name).is_dir() else package.parent / name
