"""What a benchmark is asked to do, as the command line writes it. Nothing here imports torch."""

from argparse import Namespace
from dataclasses import dataclass, field, replace
from typing import Any

from rnndsl.backends import NAMES
from rnndsl.tools import Unfit
from rnndsl.tools.arguments import names_of, one_of, parse_count, parse_shape, parse_sizes

AGAINST = ("loop", "compile", "nn", "pararnn")
DIRECTIONS = ("forward", "both")
SCOPES = ("recurrence", "layer", "step")
DTYPES = ("float32", "float64", "bfloat16", "float16")
BATCH, STEPS = 4, 1024
DEFAULT_SIZES = {"D": 64, "H": 256, "N": 4, "L": 2}
OTHER_SIZE = 64
USUAL_SIZES = f"{' '.join(f'{n}={v}' for n, v in DEFAULT_SIZES.items())}, others {OTHER_SIZE}"  # in words


@dataclass(frozen=True)
class Settings:
    """A benchmark. over: what is varied (B, T or a size) and its values; repeats: None for as many as fit; ranks:
    processes that share the time of a call."""

    batch: int = BATCH
    steps: int = STEPS
    sizes: dict[str, int] = field(default_factory=dict)
    dtype: str = "float32"
    against: tuple[str, ...] = AGAINST
    backends: tuple[str, ...] = NAMES
    directions: tuple[str, ...] = DIRECTIONS
    scopes: tuple[str, ...] = SCOPES
    repeats: int | None = None
    threads: int | None = None
    over: tuple[str, tuple[int, ...]] | None = None
    ranks: int | None = None

    def points(self) -> list["Settings"]:
        """One benchmark for each value of what is varied."""
        if self.over is None:
            return [self]
        name, values = self.over
        return [self._at(name, v) for v in values]

    def _at(self, name: str, value: int) -> "Settings":
        changed: dict[str, Any] = {"B": {"batch": value}, "T": {"steps": value}}.get(name, {"sizes": {**self.sizes, name: value}})
        return replace(self, over=None, **changed)


def parse(options: Namespace) -> Settings:
    """The arguments of the command line. Raises Unfit."""
    ranks = _ranks(options)
    batch, steps = parse_shape(options.shape) or (BATCH, STEPS)
    return Settings(
        batch=batch,
        steps=steps,
        sizes=parse_sizes(options.size),
        dtype=one_of("--dtype", options.dtype, DTYPES),
        against=names_of("--against", options.against, AGAINST),
        backends=names_of("--backends", options.backends, NAMES),
        directions=names_of("--direction", options.direction, DIRECTIONS),
        scopes=names_of("--scope", options.scope, SCOPES),
        repeats=parse_count("--repeats", options.repeats),
        threads=parse_count("--threads", options.threads) or (ranks and 1),  # ranks on one machine share its cores
        over=_over(options.over),
        ranks=ranks,
    )


def _ranks(options: Namespace) -> int | None:
    """How many processes share the time of a call; None for what is measured in one."""
    ranks = parse_count("--ranks", options.ranks)
    if ranks is None:
        return None
    if ranks < 2:
        raise Unfit("--ranks 1: one process is measured beside them anyway; give a number from 2 on")
    for option in ("against", "scope", "over", "picture"):
        if getattr(options, option) is not None:
            raise Unfit(f"--{option} does not go with --ranks, which measures a layer over ranks against one process")
    if options.backends is not None and len(names_of("--backends", options.backends, NAMES)) != 1:
        raise Unfit(f"--backends {options.backends}: ranks run one backend; name one, or leave it to the layer")
    return ranks


def _over(text: str | None) -> tuple[str, tuple[int, ...]] | None:
    """`T=64,256` as a name and numbers in rising order."""
    if text is None:
        return None
    name, _, values = text.partition("=")
    numbers = [v.strip() for v in values.split(",")]
    if not name.isidentifier() or not all(v.isascii() and v.isdigit() and int(v) >= 1 for v in numbers):
        raise Unfit(f"--over {text}: give B, T or a size, and its values, as in --over T=64,256,1024")
    return name, tuple(sorted({int(v) for v in numbers}))
