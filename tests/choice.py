"""How much of a population of random cases is run: a third, or with `--all` each."""

everything = False  # whether `--all` was given; conftest.py knows


def some(n: int) -> int:
    return n if everything else -(-n // 3)
