"""One token out of the logits of many."""

import torch
from torch import Tensor


def sampled(logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, draw: torch.Generator | None = None) -> Tensor:
    """Tokens [B] drawn by logits [B, vocabulary].

    temperature: what logits are divided by; 0 takes the likeliest. top_k: of so many likeliest ones; top_p: of the fewest likeliest ones that have
    this probability together, at least one. Raises ValueError for numbers that are none of these.
    """
    if not temperature >= 0:
        raise ValueError(f"temperature: expected a number that is not negative, got {temperature!r}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: expected a whole number from 1 on, got {top_k!r}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p: expected a probability above 0, got {top_p!r}")
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        likeliest, where = logits.topk(top_k, -1)
        logits = torch.full_like(logits, float("-inf")).scatter(-1, where, likeliest)
    if top_p is not None:
        ordered, order = logits.sort(-1, descending=True)
        shares = ordered.softmax(-1)
        too_many = shares.cumsum(-1) - shares >= top_p  # those before it have it already
        logits = logits.masked_fill(too_many.scatter(-1, order, too_many), float("-inf"))
    return torch.multinomial(logits.softmax(-1), 1, generator=draw).squeeze(-1)
