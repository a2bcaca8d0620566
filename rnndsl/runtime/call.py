"""One call of a recurrence, as the equations see it."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Call(NamedTuple):
    """What a recurrence is run on.

    streams: of every step, [B, T, ...] each; statics: params and what is made of them, [...]; first: what the first step sees, [B, ...];
    initial: what a step with a reset sees, [...]; reset: bool [B, T]; guess: what the states of all steps may be, [B, T, ...] each, None where
    nobody says, for backends that solve for them; all_states: whether anything reads the states of all steps, beside what follows the recurrence;
    further: streams and statics that only what follows the recurrence reads, None where nothing follows it.
    """

    streams: Sequence[Tensor]
    statics: Sequence[Tensor]
    first: Sequence[Tensor]
    initial: Sequence[Tensor]
    reset: Tensor | None
    steps: int
    guess: Sequence[Tensor | None] = ()
    all_states: bool = True
    further: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None
