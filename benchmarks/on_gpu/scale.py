"""How much is measured."""

from dataclasses import dataclass
from itertools import product

MOST = 1 << 27  # channels * steps of a call


@dataclass(frozen=True)
class Scale:
    """hidden: H of the diagonal cells. points: channels of all sequences together, and steps. loops: the points at which a loop in Python is
    timed, compiled: at which its compiled step is. check: B, T, H of the comparison with the reference; dtypes: of its streams. newton: B, T,
    H, and chunks of the count of rounds. step: the two lengths whose difference gives the time of a step, ahead: how many
    steps are on their way then. dense: B, T, H."""

    hidden: int
    points: tuple[tuple[int, int], ...]
    loops: tuple[tuple[int, int], ...]
    compiled: tuple[tuple[int, int], ...]
    check: tuple[int, int, int]
    dtypes: tuple[str, ...]
    newton: tuple[int, int, int]
    chunks: tuple[int, ...]
    weights: tuple[float, ...]
    step: tuple[int, int]
    ahead: tuple[int, ...]
    dense: tuple[tuple[int, int, int], ...]
    model: tuple[tuple[int, int], ...]
    candidates: int  # of the comparison with the model
    samples: int
    values: int  # at which elementwise functions are compared
    copies: tuple[int, ...]  # bytes moved
    chain: tuple[int, int]  # programs, and functions one after the other in each


_CHANNELS, _STEPS = (256, 1024, 4096, 16384, 65536), (256, 2048, 16384, 131072)
_POINTS = tuple((c, t) for c, t in product(_CHANNELS, _STEPS) if c * t <= MOST)
FULL = Scale(
    hidden=256, points=_POINTS, loops=(*((c, 256) for c in _CHANNELS), (1024, 2048)), compiled=((1024, 256),),
    check=(3, 300, 65), dtypes=("float32", "float64", "bfloat16"), newton=(2, 4096, 256), chunks=(128, 512), weights=(0.25, 0.5, 1.0, 2.0, 4.0),
    step=(4096, 8192), ahead=(2, 4, 8), dense=((1, 256, 256), (16, 256, 256), (64, 256, 256), (16, 256, 512), (16, 1024, 256)),
    model=((256, 16384), (1024, 4096), (16384, 1024)), candidates=1000, samples=11, values=1 << 20,
    copies=tuple(1 << n for n in (16, 20, 24, 28, 30)), chain=(132 * 16, 4096),
)  # fmt: skip
QUICK = Scale(
    hidden=256, points=((256, 256), (256, 16384), (4096, 256), (4096, 4096), (65536, 256)), loops=((4096, 256),), compiled=(),
    check=(3, 300, 65), dtypes=("float32",), newton=(2, 4096, 256), chunks=(128, 512), weights=(0.5, 2.0),
    step=(4096, 8192), ahead=(2, 4, 8), dense=((16, 256, 256),), model=((1024, 4096),), candidates=12, samples=7, values=1 << 18,
    copies=(1 << 24, 1 << 28), chain=(132 * 16, 4096),
)  # fmt: skip
TINY = Scale(
    hidden=4, points=((4, 5),), loops=((4, 5),), compiled=((4, 5),), check=(2, 5, 3), dtypes=("float32",), newton=(1, 8, 2), chunks=(4, 8),
    weights=(0.5,), step=(2, 4), ahead=(2,), dense=((1, 3, 4),), model=((4, 5),), candidates=1, samples=1, values=24, copies=(1 << 12,), chain=(2, 3),
)  # fmt: skip
