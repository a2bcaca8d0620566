"""torch.nn's own GRU, LSTM and RNN, where the cell is one of them."""

from rnndsl.tools.bench.candidates import (
    Absent,
    Call,
    Candidate,
    Task,
    forward,
    forward_and_backward,
    leaves,
    require_same,
)
from rnndsl.tools.bench.peers import TORCH, peer_of, torch_modules
from rnndsl.tools.bench.subject import Subject


class TorchNN(Candidate):
    """The layer and the cell of torch.nn with our weights. Raises Absent where the cell is none of torch's."""

    name = "nn"

    def __init__(self, subject: Subject):
        kind, values = peer_of(subject, TORCH, "torch.nn.")
        self._kind, self.subject = kind, subject
        self._layer, self._cell = torch_modules(kind, values)
        require_same(subject, lambda: self._layer(*subject.inputs)[0])

    def recurrence(self, task: Task) -> Call:
        raise Absent(f"torch.nn.{self._kind} cannot be given its input products")

    def layer(self, task: Task) -> Call:
        self.note = f"torch.nn.{self._kind}"
        (x,) = leaves(self.subject.inputs)
        if not task.both:
            return forward(lambda: self._layer(x)[0])
        return forward_and_backward(lambda: self._layer(x)[0], (x, *self._layer.parameters()))

    def step(self, task: Task) -> Call:
        self.note = f"torch.nn.{self._kind}Cell"
        (x,) = self.subject.step_inputs(task.batch)
        h = x.new_zeros(task.batch, self.subject.layer._fields[0][1][-1])
        state = (h, h) if self._kind == "LSTM" else h

        def run():
            new = self._cell(x, state)
            return new[0] if isinstance(new, tuple) else new

        return forward(run)
