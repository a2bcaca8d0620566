"""Recall: what a cell can keep, and find again.

Danieli et al. 2025, ParaRNN, arXiv:2510.21450 (keep the n-th, multi-query recall, hops); Arora et al. 2023, Zoology, arXiv:2312.04927 (MQAR); Gu, Dao 2023,
Mamba, arXiv:2312.00752, and Poli et al. 2024, Mechanistic design, arXiv:2403.17844 (selective copying); Sanford, Hsu, Telgarsky 2024, Transformers, parallel
computation, and logarithmic depth, arXiv:2402.09268 (hops).
"""

import torch
from torch import Tensor

from rnndsl.tasks.task import IGNORE, Batch, Draw, Task

VOCABULARY = 16  # of recall by keys, half of it keys, half values: 8,192 in Zoology
ALPHABET = 16
LETTERS = 4  # of hops, as in the experiments of Sanford, Hsu, Telgarsky
NTH = 5
COPIED = 8


def keep_nth(draw: Draw, count: int, length: int, split: str) -> Batch:
    """Asked from the fifth token on, at each step, is the fifth; of fewer the last. Asked at the end alone, no cell has learned it in a thousand steps."""
    tokens = draw.below(ALPHABET, count, length)
    nth = min(NTH, length) - 1
    return Batch(tokens, torch.where(torch.arange(length) < nth, IGNORE, tokens[:, nth : nth + 1]))


def selective_copying(draw: Draw, count: int, length: int, split: str) -> Batch:
    """Tokens among blanks; behind them, at as many marks as there were tokens, these are asked for in their order. Tokens: the alphabet, then blank and mark."""
    blank, mark = ALPHABET, ALPHABET + 1
    copied = min(COPIED, length // 2)
    before = length - copied
    data = draw.below(ALPHABET, count, copied)
    places = draw.orders(count, before)[:, :copied].sort(1).values
    tokens = torch.cat([torch.full((count, before), blank).scatter(1, places, data), torch.full((count, copied), mark)], 1)
    return Batch(tokens, torch.cat([torch.full((count, before), IGNORE), data], 1))


def multi_query_recall(draw: Draw, count: int, length: int, split: str) -> Batch:
    """Pairs of a key and its value, of each key, or in a short sequence as many as fill a quarter of it; behind them every key once more, in another order,
    among blanks, asked with its value. Tokens: the keys, then the values, then a blank."""
    keys, blank = VOCABULARY // 2, VOCABULARY
    pairs = min(keys, max(length // 8, int(length > 2)))
    rest = length - 2 * pairs
    key, value = draw.orders(count, keys)[:, :pairs], draw.below(keys, count, pairs)
    head = torch.stack([key, keys + value], 2).flatten(1)
    places, order = draw.orders(count, rest)[:, :pairs].sort(1).values, draw.orders(count, pairs)
    queries = torch.full((count, rest), blank).scatter(1, places, key.gather(1, order))
    answers = torch.full((count, rest), IGNORE).scatter(1, places, value.gather(1, order))
    return Batch(torch.cat([head, queries], 1), torch.cat([torch.full((count, length - rest), IGNORE), answers], 1))


def successor_of_earlier(tokens: Tensor) -> Tensor:
    """Of each place, the one behind the last earlier place of the same token; -1 where there is none. tokens: [B, T]."""
    same = (tokens.unsqueeze(2) == tokens.unsqueeze(1)).tril(-1)
    earlier = torch.where(same, torch.arange(tokens.shape[1]), -1).max(2).values
    return torch.where(earlier >= 0, earlier + 1, -1)


def hops(draw: Draw, count: int, length: int, split: str, number: int) -> Batch:
    """At each step: the token behind the last earlier one that is the same; then the same of that place, `number` times in all."""
    tokens = draw.below(LETTERS, count, length)
    behind = successor_of_earlier(tokens)
    place = behind
    for _ in range(number - 1):
        place = torch.where(place >= 0, behind.gather(1, place.clamp(min=0)), -1)
    return Batch(tokens, torch.where(place >= 0, tokens.gather(1, place.clamp(min=0)), IGNORE))


_PARARNN = "arXiv:2510.21450"
_TRAIN, _TEST = (100, 100), (100, 256)
TASKS = (
    Task("keep_nth", "the fifth token, at each step from there on", _PARARNN, keep_nth, ALPHABET, symbols=ALPHABET, train=_TRAIN, test=_TEST),
    Task("selective_copying", "tokens among blanks, in their order", "arXiv:2312.00752, arXiv:2403.17844", selective_copying, ALPHABET, symbols=ALPHABET + 2, train=_TRAIN, test=_TEST),
    Task("mqar", "the values of many keys", "arXiv:2312.04927, arXiv:2510.21450", multi_query_recall, VOCABULARY // 2, symbols=VOCABULARY + 1, train=_TRAIN, test=_TEST),
    Task("hop1", "what followed the last time", "arXiv:2402.09268, arXiv:2510.21450", hops, LETTERS, symbols=LETTERS, options=(1,), train=_TRAIN, test=_TEST),
    Task("hop2", "what followed the last time, twice", "arXiv:2402.09268, arXiv:2510.21450", hops, LETTERS, symbols=LETTERS, options=(2,), train=_TRAIN, test=_TEST),
)
