"""Handwritten digits, a pixel a step. They come with scikit-learn: 8 × 8 pixels of Alpaydin, Kaynak 1998, from the UCI repository."""

from functools import cache

import torch
from torch import Tensor

from rnndsl.tasks.task import Batch, Draw, Task, at_end

PIXELS, TEST = 64, 360  # and how many of the 1,797 are for testing


@cache
def images() -> tuple[Tensor, Tensor]:
    """Pixels in [0, 1], [1797, 64], and digits, in an order that mixes writers. Raises ImportError where scikit-learn is missing."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the task digits needs scikit-learn: pip install scikit-learn") from None
    found = load_digits()
    (order,) = Draw("digits", "order").orders(1, len(found.target))
    return torch.tensor(found.data, dtype=torch.float32)[order] / 16, torch.tensor(found.target).long()[order]


def digits(draw: Draw, count: int, length: int, split: str) -> Batch:
    """[B, 64, 1], of a split's images, drawn with repetition; asked at the end is the digit. Other lengths are cut, or filled with zeros in front."""
    pixels, answers = images()
    pixels, answers = (pixels[TEST:], answers[TEST:]) if split == "train" else (pixels[:TEST], answers[:TEST])
    chosen = draw.below(len(answers), count)
    values = torch.cat([torch.zeros(count, max(0, length - PIXELS)), pixels[chosen]], 1)[:, -length:]
    return Batch(values.unsqueeze(2), at_end(answers[chosen], length))


TASKS = (Task("digits", "handwritten digits, a pixel a step", "Alpaydin, Kaynak 1998", digits, 10, (PIXELS, PIXELS), (PIXELS, PIXELS), width=1, solved=0.95),)
