"""What a call of a layer gives to the kernels of its recurrences, and launches of these kernels, cut in a given way."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rnndsl.runtime import recurrence
from rnndsl.runtime.call import Call
from rnndsl.runtime.triton import launch
from rnndsl.runtime.triton.channel_runnable import Launched
from rnndsl.tiles import Tiles
from rnndsl.tools.bench.candidates import forward_and_backward, gap, leaves

WRONG = 1e-2  # how far a candidate's numbers may lie from those of the step by step kernel; more than rounding makes of them


@dataclass(frozen=True)
class KernelCall:
    """A call of a recurrence's kernels, forwards or backwards, as a layer made it, and what came out."""

    launched: Launched
    is_backward: bool
    call: Call
    rest: tuple[Any, ...]  # what only those backwards are given
    expected: list[Tensor]

    @property
    def channels(self) -> int:
        """Of all rows together."""
        return self.call.first[0].shape[0] * self.launched.kernels.count

    @property
    def steps(self) -> int:
        return self.call.steps

    @property
    def itemsize(self) -> int:
        """Bytes of an entry of a stream."""
        return self.launched.streams_of(self.call).itemsize

    @property
    def label(self) -> str:
        """What it is called in a table of measurements."""
        return self.launched.named(self.launched.streams_of(self.call))

    @torch.no_grad()
    def run(self, tiles: Tiles) -> list[Tensor]:
        """What the kernels make of the same arguments, cut so."""
        k = self.launched
        if self.is_backward:
            sequences, grads, wanted = self.rest
            return list(itertools.compress(launch.backward(k.kernels, tiles, self.call, sequences, grads), wanted))
        return launch.forward(k.kernels, tiles, k.boxes, self.call)[0]

    def wrong(self, found: Sequence[Tensor]) -> str | None:
        """What is to be said against what a candidate made; None where it is right."""
        far = gap(tuple(found), tuple(self.expected))
        return None if far <= WRONG else f"its numbers differ from those of the step by step kernel by {far:.0e}"


class _Recorder(TorchDispatchMode):
    """Keeps what the ops of recurrences are given and return while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.forward: dict[str, KernelCall] = {}
        self.backward: dict[str, KernelCall] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in (recurrence.OP, recurrence.BACK):
            key, *arguments = args
            launched, is_backward = recurrence.known(key), func is recurrence.BACK
            if isinstance(launched, Launched):
                call, rest = Call(*arguments[:6]), tuple(arguments[6:])
                (self.backward if is_backward else self.forward)[key] = KernelCall(launched, is_backward, call, rest, [t.detach() for t in found])
        return found


def calls_of(layer: Any, inputs: tuple[Tensor, ...], is_half: bool, is_backward: bool) -> list[KernelCall]:
    """The calls of Triton kernels that one call of a layer makes, each recurrence's forwards, then backwards.

    Kernels run step by step meanwhile, which always works. is_half: under autocast to bfloat16, so that products of inputs are bfloat16.
    """
    inputs = leaves(inputs)
    layer.schedule, layer.tiles = "sequential", None

    def run() -> Any:
        with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=is_half):
            return layer(*inputs)[0]

    with torch.autograd.set_multithreading_enabled(False), _Recorder() as recorder:  # backwards in this thread, where it is seen
        forward_and_backward(run, (*inputs, *layer.parameters()))()
    calls: list[KernelCall] = []
    for key, call in recorder.forward.items():
        calls.append(call)
        if is_backward and key in recorder.backward:
            calls.append(recorder.backward[key])
    return calls
