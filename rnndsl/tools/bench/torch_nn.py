"""torch.nn's own GRU, LSTM and RNN, where the cell is one of them."""

from rnndsl.tools.bench.candidates import Absent, Call, Candidate, Task, forward, forward_and_backward, leaves, require_same_output
from rnndsl.tools.bench.peers import TORCH, recognised, torch_modules
from rnndsl.tools.bench.subject import Subject


class TorchNN(Candidate):
    """The layer and the cell of torch.nn with our weights. Raises Absent where the cell is none of torch's."""

    name = "nn"

    def __init__(self, subject: Subject):
        found = recognised(subject.cell, subject.layer, TORCH)
        if found is None:
            raise Absent("not the same cell: its equations are those of neither torch.nn.GRU, LSTM nor RNN")
        kind, values = found
        self.note, self.subject = f"torch.nn.{kind}", subject
        self._layer, self._cell = torch_modules(kind, values)
        require_same_output(subject, lambda: self._layer(*subject.inputs)[0])

    def recurrence(self, task: Task) -> Call:
        raise Absent(f"{self.note} cannot be given its input products")

    def layer(self, task: Task) -> Call:
        (x,) = leaves(self.subject.inputs)
        if not task.both:
            return forward(lambda: self._layer(x)[0])
        return forward_and_backward(lambda: self._layer(x)[0], (x, *self._layer.parameters()))

    def step(self, task: Task) -> Call:
        (x,) = self.subject.step_inputs(task.batch)
        zeros = tuple(x.new_zeros(task.batch, self._cell.hidden_size) for _ in self.subject.layer._fields)
        state = zeros if len(zeros) > 1 else zeros[0]

        def run():
            new = self._cell(x, state)
            return new[0] if isinstance(new, tuple) else new

        return forward(run)
