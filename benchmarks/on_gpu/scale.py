"""How much is measured."""

from dataclasses import dataclass, replace
from itertools import product

MOST = 1 << 27  # channels * steps of a call


@dataclass(frozen=True)
class Scale:
    """hidden: H of the diagonal cells. points: channels of all sequences together, and steps. steps, doublings: where changes of the model's choice
    are looked for: numbers of steps, and channels from `hidden` on. loop: most steps at which a loop in Python is timed. compiled: points at which its
    compiled step is. check, zoo: B, T, H of the comparison with the reference, of the benchmark's cells, of which one in `apart` is
    measured, and of others, of which one in `every` is looked at; dtypes: of its streams. newton: B, T, H, and chunks of the count of rounds. step: the two lengths whose difference gives the time of a step, ahead: how many
    steps are on their way then. dense: B, T, H."""

    hidden: int
    points: tuple[tuple[int, int], ...]
    steps: tuple[int, ...]
    doublings: int
    loop: int
    compiled: tuple[tuple[int, int], ...]
    check: tuple[int, int, int]
    zoo: tuple[int, int, int]
    every: int
    apart: int
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
    hidden=256, points=_POINTS, steps=_STEPS, doublings=11, loop=256, compiled=((1024, 256),),
    check=(3, 300, 65), zoo=(3, 70, 17), every=1, apart=1, dtypes=("float32", "bfloat16", "float64"), newton=(2, 4096, 256), chunks=(128, 512), weights=(0.25, 0.5, 1.0, 2.0, 4.0),
    step=(4096, 8192), ahead=(2, 4, 8), dense=((1, 256, 256), (16, 256, 256), (64, 256, 256), (16, 256, 512), (16, 1024, 256)),
    model=((256, 16384), (1024, 4096), (16384, 1024)), candidates=16, samples=11, values=1 << 20,
    copies=tuple(1 << n for n in (16, 20, 24, 28, 30)), chain=(132 * 16, 4096),
)  # fmt: skip
QUICK = Scale(
    hidden=256, points=((256, 256), (256, 16384), (4096, 256), (4096, 4096), (65536, 256)), steps=(256, 16384), doublings=9, loop=256, compiled=(),
    check=(3, 300, 65), zoo=(3, 70, 17), every=4, apart=1, dtypes=("float32", "bfloat16"), newton=(2, 4096, 256), chunks=(128, 512), weights=(0.5, 2.0),
    step=(4096, 8192), ahead=(2, 4, 8), dense=((16, 256, 256),), model=((1024, 4096),), candidates=12, samples=7, values=1 << 18,
    copies=(1 << 24, 1 << 28), chain=(132 * 16, 4096),
)  # fmt: skip
TINY = Scale(  # for a CPU: every group, next to nothing of it
    hidden=4, points=((4, 5),), steps=(5,), doublings=1, loop=5, compiled=((4, 5),), check=(2, 19, 5),
    zoo=(2, 9, 4), every=1, apart=1, dtypes=("float32", "bfloat16"), newton=(1, 8, 2), chunks=(4, 8),
    weights=(0.5,), step=(2, 4), ahead=(2,), dense=((1, 3, 4),), model=((4, 5),), candidates=1, samples=1, values=24, copies=(1 << 12,), chain=(2, 3),
)  # fmt: skip
PART = replace(TINY, check=(2, 5, 3), zoo=(2, 5, 4), every=60, apart=3)  # and some of the cells
