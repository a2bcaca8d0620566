"""Formal languages and groups: what state a cell can track, and for how long.

Deletang et al. 2023, Neural networks and the Chomsky hierarchy, arXiv:2207.02098; Beck et al. 2024, xLSTM, arXiv:2405.04517, which trains on lengths
3 to 40 and tests on 40 to 256; these ask at the end alone, of which a cell learns little in thousands of steps, so that parity, pairs and cycles ask at each step
here, as the word problems do. Merrill, Petty, Sabharwal 2024, The illusion of state in state-space models, arXiv:2404.08819, for groups.
"""

from functools import cache
from itertools import permutations

import torch
from torch import Tensor

from rnndsl.tasks.task import Batch, Draw, Task, at_end

_CHOMSKY, _GROUPS = "arXiv:2207.02098, arXiv:2405.04517", "arXiv:2404.08819"
_TRAIN, _TEST = (3, 40), (40, 256)
MODULUS = 5


def parity(draw: Draw, count: int, length: int, split: str) -> Batch:
    bits = draw.below(2, count, length)
    return Batch(bits, bits.cumsum(1) % 2)


def even_pairs(draw: Draw, count: int, length: int, split: str) -> Batch:
    """Neighbours that differ are even in number where the first letter is the present one."""
    letters = draw.below(2, count, length)
    return Batch(letters, (letters[:, :1] == letters).long())


def cycle_navigation(draw: Draw, count: int, length: int, split: str) -> Batch:
    """Tokens 0, 1, 2: a step back, none, a step on."""
    moves = draw.below(3, count, length)
    return Batch(moves, (moves - 1).cumsum(1) % MODULUS)


def modular_arithmetic(draw: Draw, count: int, length: int, split: str) -> Batch:
    """Numbers and operators by turns, ended by `=`; products come before sums. Tokens: the numbers, then + - * =, then a blank before an even length."""
    plus, minus, times, equals, blank = range(MODULUS, MODULUS + 5)
    terms = max(1, length // 2)
    numbers, operators = draw.below(MODULUS, count, terms), plus + draw.below(3, count, terms)
    operators[:, -1] = equals
    tokens = torch.stack([numbers, operators], 2).flatten(1)
    tokens = torch.cat([torch.full((count, max(0, length - 2 * terms)), blank), tokens], 1)[:, -length:]
    total, product, sign = torch.zeros(count).long(), numbers[:, 0], torch.ones(count).long()
    for k in range(1, terms):
        before, n = operators[:, k - 1], numbers[:, k]
        total = torch.where(before == times, total, total + sign * product)
        sign = torch.where(before == times, sign, torch.where(before == minus, -1, 1))
        product = torch.where(before == times, product * n % MODULUS, n)
    return Batch(tokens, at_end((total + sign * product) % MODULUS, length))


def dyck(draw: Draw, count: int, length: int, split: str, kinds: int, depth: int = 8) -> Batch:
    """Brackets of several kinds, at most `depth` open at once; asked at each step is the kind of the innermost that is open, 0 for none. Tokens: the
    opening ones, then the closing ones."""
    stack, height = torch.zeros(count, depth + 1).long(), torch.zeros(count).long()
    rows = torch.arange(count)
    opens, chosen = draw.uniform(count, length) < 0.5, draw.below(kinds, count, length)
    tokens, inner = [], []
    for t in range(length):
        is_open = (height == 0) | (opens[:, t] & (height < depth))
        top = stack[rows, height]
        tokens.append(torch.where(is_open, chosen[:, t], kinds + top - 1))
        height = height + torch.where(is_open, 1, -1)
        stack[rows, height] = torch.where(is_open, chosen[:, t] + 1, stack[rows, height])
        inner.append(torch.where(height > 0, stack[rows, height], 0))
    return Batch(torch.stack(tokens, 1), torch.stack(inner, 1))


@cache
def group(degree: int, is_alternating: bool) -> Tensor:
    """The table of a group of permutations: entry [a, b] is a, then b."""

    def is_even(p: tuple[int, ...]) -> bool:
        return sum(p[i] > p[j] for j in range(degree) for i in range(j)) % 2 == 0

    elements = [p for p in permutations(range(degree)) if not is_alternating or is_even(p)]
    number = {p: i for i, p in enumerate(elements)}
    return torch.tensor([[number[tuple(b[a[i]] for i in range(degree))] for b in elements] for a in elements])


def word_problem(draw: Draw, count: int, length: int, split: str, degree: int, is_alternating: bool) -> Batch:
    """Elements of a group of permutations; asked at each step is the product of all so far."""
    table = group(degree, is_alternating)
    words = draw.below(len(table), count, length)
    products = [words[:, 0]]
    for t in range(1, length):
        products.append(table[products[-1], words[:, t]])
    return Batch(words, torch.stack(products, 1))


def _word_problem(name: str, degree: int, is_alternating: bool) -> Task:
    size = len(group(degree, is_alternating))
    about = f"products of elements of {name.upper()}, at each step"
    return Task(name, about, _GROUPS, word_problem, size, symbols=size, options=(degree, is_alternating), train=_TRAIN, test=_TEST)


TASKS = (
    Task("parity", "whether the number of ones so far is odd", _CHOMSKY, parity, 2, symbols=2, train=_TRAIN, test=_TEST),
    Task("even_pairs", "whether neighbours that differ are even in number so far", _CHOMSKY, even_pairs, 2, symbols=2, train=_TRAIN, test=_TEST),
    Task("cycle_navigation", "where on a cycle of five one is after steps back and forth", _CHOMSKY, cycle_navigation, MODULUS, symbols=3, train=_TRAIN, test=_TEST),
    Task("modular_arithmetic", "sums and products modulo five", _CHOMSKY, modular_arithmetic, MODULUS, symbols=MODULUS + 5, train=_TRAIN, test=_TEST),
    Task("dyck2", "the kind of the innermost open bracket, of two", _CHOMSKY, dyck, 3, symbols=4, options=(2,), train=_TRAIN, test=_TEST),
    Task("dyck8", "the kind of the innermost open bracket, of eight", _CHOMSKY, dyck, 9, symbols=16, options=(8,), train=_TRAIN, test=_TEST),
    _word_problem("s3", 3, False),
    _word_problem("s5", 5, False),
    _word_problem("a5", 5, True),
)
