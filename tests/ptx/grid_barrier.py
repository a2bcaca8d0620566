"""A Triton kernel whose programs meet at every step: it shows that the emulator sees what a release and an acquire are for."""

import triton
import triton.language as tl


@triton.jit
def meet(at, target):
    """All programs come here before any goes on."""
    tl.debug_barrier()
    tl.atomic_add(at, 1, sem="release", scope="gpu")
    while tl.atomic_add(at, 0, sem="acquire", scope="gpu") < target:
        pass
    tl.debug_barrier()


@triton.jit
def averaged(h, flag, T, P: tl.constexpr, BLOCK: tl.constexpr):
    """h [2, P * BLOCK]: each program halves what its neighbour wrote, and adds one."""
    own = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    neighbour = (own + BLOCK) % (P * BLOCK)
    for t in range(0, T):
        value = tl.load(h + (t % 2) * P * BLOCK + neighbour, cache_modifier=".cg")
        tl.store(h + ((t + 1) % 2) * P * BLOCK + own, value * 0.5 + 1.0)
        meet(flag, (t + 1) * P)
