"""What tuning is asked to do, as the command line writes it. Nothing here imports torch."""

from argparse import Namespace
from dataclasses import dataclass, field

from rnndsl.tools.arguments import names_of, one_of, parse_shape, parse_sizes
from rnndsl.tools.bench.settings import DIRECTIONS

DTYPES = ("float32", "bfloat16", "float64")


@dataclass(frozen=True)
class Settings:
    """A shape and sizes to tune for. dtype: of the streams; bfloat16 ones come of a float32 layer under autocast, as in training."""

    batch: int
    steps: int
    sizes: dict[str, int] = field(default_factory=dict)
    dtype: str = "float32"
    is_backward: bool = True  # whether backward kernels are tuned too


def parse(options: Namespace) -> Settings:
    """The arguments of the command line. Raises Unfit."""
    shape = parse_shape(options.shape)
    assert shape is not None
    directions = names_of("--direction", options.direction, DIRECTIONS)
    return Settings(*shape, parse_sizes(options.size), one_of("--dtype", options.dtype, DTYPES), "both" in directions)
