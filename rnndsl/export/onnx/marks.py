"""Where sequences of a batch restart and end, as inputs of a model, and their time turned around."""

from dataclasses import dataclass

import numpy as np

from rnndsl.export.onnx.boundary import Outside
from rnndsl.export.onnx.values import Tensor
from rnndsl.export.onnx.writer import BOOL, INT64, Writer

EVERY = np.iinfo(np.int64).max  # steps, where no length is given


@dataclass(frozen=True)
class Marks:
    """resets: before which steps a state restarts; real: which steps a sequence has; both [time, batch], and None where all are as they are.
    lengths: [batch], where `real` is given."""

    outside: Outside
    resets: str | None = None
    real: str | None = None
    lengths: str | None = None

    def turned(self, x: Tensor) -> Tensor:
        """A value [time, batch, ...] with the time of each sequence turned around. Twice is nothing."""
        return Tensor(self._turned(x.name), x.lead, x.dims)

    def _turned(self, name: str) -> str:
        w = self.outside.main
        if self.lengths is not None:
            lengths = w.op("Max", self.lengths, w.constant(1, np.int64))  # nothing and one step are the same turned around, but not in every runtime
        else:
            lengths = w.op("Expand", w.op("Gather", self.outside.sizes(2, []), w.constant(0, np.int64), axis=0), self.outside.sizes(1, []))
        return w.op("ReverseSequence", name, lengths, batch_axis=1, time_axis=0)

    def ends(self) -> str:
        """Of each sequence the place [time + 1, batch] behind its last step, where one stands before the first."""
        assert self.lengths is not None
        w = self.outside.main
        count = w.op("Gather", self.outside.sizes(1, []), w.constant(0, np.int64), axis=0)
        rows = w.op("Range", w.constant(0, np.int64), count, w.constant(1, np.int64))
        return w.op("Concat", *(w.op("Unsqueeze", v, w.ints(1)) for v in (self.lengths, rows)), axis=1)

    def backward(self) -> "Marks":
        """Those of the time turned around: what lies before step t + 1 lies, against time, before step t."""
        if self.resets is None:
            return self
        w, axis = self.outside.main, self.outside.main.ints(0)
        resets = self.resets if self.real is None else w.op("And", self.resets, self.real)
        first = w.op("Slice", resets, w.ints(0), w.ints(1), axis)
        later = w.op("Slice", resets, w.ints(1), w.ints(EVERY), axis)
        moved = w.op("Concat", later, w.op("And", first, w.op("Not", first)), axis=0)
        return Marks(self.outside, self._turned(moved), self.real, self.lengths)


def marks(outside: Outside, reset: str | None, lengths: str | None) -> Marks:
    """Inputs of these names, which need not be given."""
    w, resets, real, counts = outside.main, None, None, None
    if reset is not None:
        outside.takes(reset, BOOL, (f"{reset}_batch", f"{reset}_time"), np.zeros((1, 1), bool))
        resets = w.op("Expand", w.op("Transpose", reset, perm=[1, 0]), outside.sizes(2, []))
    if lengths is not None:
        outside.takes(lengths, INT64, (f"{lengths}_batch",), np.array([EVERY]))
        steps = w.op("Gather", outside.sizes(2, []), w.constant(0, np.int64), axis=0)
        counts = w.op("Expand", w.op("Min", lengths, steps), outside.sizes(1, []))
        time = w.op("Range", w.constant(0, np.int64), steps, w.constant(1, np.int64))
        real = w.op("Less", w.op("Unsqueeze", time, w.ints(1)), counts)
    return Marks(outside, resets, real, counts)


def spread(w: Writer, condition: str, lead: int, t: Tensor) -> str:
    """A condition with axes behind it for those of a value."""
    return w.op("Unsqueeze", condition, w.ints(*range(lead, lead + len(t.dims)))) if t.dims else condition
