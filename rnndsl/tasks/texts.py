"""The bytes of a text, each to be foretold from those before it."""

import hashlib
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from rnndsl.tasks.task import Batch, Draw, Task

TEST = 0.1  # the part of a text behind all else, which is never trained on


@cache
def contents(path: str | None) -> Tensor:
    """The bytes of a file, uint8; without one, of the topics of help that come with Python, in the order of their names. Raises OSError where the file
    cannot be read, ValueError where it is shorter than a thousand bytes."""
    if path is None:
        from pydoc_data.topics import topics

        data = "\n\n".join(topics[name] for name in sorted(topics)).encode()
    else:
        data = Path(path).read_bytes()
    if len(data) < 1000:
        raise ValueError(f"{path}: a text of {len(data)} bytes is too short to be learned from")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def digest(path: str | None = None) -> str:
    """By which a result says what it was measured on: Python's topics differ from version to version."""
    return hashlib.sha256(contents(path).numpy().tobytes()).hexdigest()[:16]


def passages(draw: Draw, count: int, length: int, split: str, path: str | None, known: str) -> Batch:
    """Passages from anywhere in the part of the split. known: the text's digest, by which a task of another text is another task."""
    data = contents(path)
    border = int(len(data) * (1 - TEST))
    part = data[:border] if split == "train" else data[border:]
    length = min(length, len(part) - 1)
    begins = draw.below(len(part) - length, count)
    found = part[begins.unsqueeze(1) + torch.arange(length + 1)].long()
    return Batch(found[:, :-1], found[:, 1:])


def text(path: str | Path | None = None, length: int = 256) -> Task:
    """Language modelling on the bytes of a file; a tenth at its end is for testing. Raises what `contents` does."""
    file = None if path is None else str(path)
    size, known = len(contents(file)), digest(file)
    name = "text" if file is None else f"text:{file}"
    about = f"the next byte of a text of {size:,}, whose SHA-256 begins with {known}"
    return Task(name, about, "", passages, 256, (length, length), (length, 4 * length), symbols=256, metric="nats", solved=None, options=(file, known))
