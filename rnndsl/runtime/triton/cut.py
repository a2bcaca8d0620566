"""How kernels of whole steps are cut, by the sizes of a layer. Needs no triton."""

from typing import Any

MOST = 16384  # entries of matrices that the programs of a kernel hold in registers, of all of them together and of one product
BLOCK = 4096  # entries of a product that is computed in blocks
_COLUMNS = 16  # of a matrix state that one program has, or rows
_DOT = 16  # the least size of a product of matrices
NEVER = 1 << 30  # more rows than any program has


def power_of_two(size: int) -> int:
    """The length of a tile that has so many entries."""
    return 1 << max(0, size - 1).bit_length()


def in_registers(entries: int) -> bool:
    """Whether so many entries stay in registers."""
    return entries <= MOST


def fitting(entries: int, resident: bool = True) -> int:
    """How many entries of a product are in registers at a time. resident: whether its matrix stays there."""
    return entries if resident and in_registers(entries) else min(entries, BLOCK)


def holding(entries: int) -> int:
    """How many programs together hold so many entries of matrices in registers."""
    return -(-entries // MOST)


def part_of(size: int, others: int) -> int:
    """How many results of a product are computed at a time, each a sum of `others` entries."""
    return max(1, min(power_of_two(size), BLOCK // others))


def rows_of_dot(rows: int, summed: int, columns: int) -> int:
    """From how many rows of the batch on a product of so many rows for each of them is one of matrices, [rows, summed] and [summed, columns]: tensor cores
    take 16 in each direction."""
    return -(-_DOT // rows) if min(summed, columns) >= _DOT else NEVER


def part_of_dot(size: int, others: int) -> int:
    """How many sums along an axis a product of matrices adds at a time, of so many `others` and columns."""
    return max(part_of(size, others), min(power_of_two(size), _DOT))


def columns(size: int) -> int:
    """How many columns of a matrix state one program has, or how many rows."""
    return min(power_of_two(size), _COLUMNS)


def number(constant: Any) -> int:
    """What a constant of a kernel's file is."""
    return int(getattr(constant, "value", constant))
