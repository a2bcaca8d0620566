"""A language model of blocks: tokens in, logits out, for all steps at once in training and one step a token where it writes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnndsl.nn import ragged
from rnndsl.nn.block import Block, BlockState
from rnndsl.nn.checkpoint import cell_of
from rnndsl.nn.parts import heard, sequences_of
from rnndsl.nn.ragged import EndToEnd
from rnndsl.nn.sampling import sampled
from rnndsl.nn.shapes import cell_class
from rnndsl.runtime.program import program_of
from rnndsl.runtime.sharded import shards_of


class Output(NamedTuple):
    """What a call returns: logits [B, T, vocabulary], the state of each block, None where another rank has it, and the loss where targets were given."""

    logits: Tensor
    state: tuple[BlockState, ...] | None
    loss: Tensor | None


class LanguageModel(nn.Module):
    """Embedding, blocks around any cell, norm, head.

    cell: a generated class with one vector in and one out. vocab_size, dim, num_layers: of tokens, of what goes from block to block, of blocks. sizes,
    taps, has_gate, mlp, dropout: what a `Block` takes. is_tied: whether the head's weights are the embedding's. z_loss: the weight in the loss of
    the mean of log(sum(exp(logits)))², which keeps logits from drifting. Raises what `Block` does.
    """

    def __init__(
        self, cell: Any, vocab_size: int, dim: int, num_layers: int, sizes: Mapping[str, Any] | None = None, *, taps: int = 4, has_gate: bool = True,
        mlp: float = 2.0, dropout: float = 0.0, is_tied: bool = True, z_loss: float = 0.0, device: Any = None, dtype: Any = None, backend: str = "auto",
        schedule: str = "auto",
    ):  # fmt: skip
        super().__init__()
        kind = {"device": device, "dtype": dtype}
        further: dict[str, Any] = {"taps": taps, "has_gate": has_gate, "mlp": mlp, "dropout": dropout}
        self.vocab_size, self.dim, self.num_layers, self.z_loss = int(vocab_size), int(dim), int(num_layers), float(z_loss)
        self.options = {"sizes": dict(sizes or {}), **further, "is_tied": is_tied, "z_loss": z_loss}  # what `config` is made of
        self.embedding = nn.Embedding(vocab_size, dim, **kind)
        self.blocks: Any = nn.ModuleList(Block(cell, dim, sizes, **further, backend=backend, schedule=schedule, **kind) for _ in range(num_layers))
        self.norm = nn.RMSNorm(dim, eps=1e-6, **kind)
        self.head = nn.Linear(dim, vocab_size, bias=False, **kind)
        if is_tied:
            self.head.weight = self.embedding.weight
        self.cell = cell_class(cell)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        block: Any
        for block in self.blocks:  # so that the sum of many branches begins no larger than one
            for last in [block.down, *([block.mlp.down] if block.mlp is not None else [])]:
                with torch.no_grad():
                    last.weight.div_((2 * num_layers) ** 0.5)

    @heard
    def forward(
        self, tokens: Tensor, state: Any = None, targets: Tensor | None = None, lengths: Any = None, reset: Tensor | None = None, ignore: int = -100,
        cu_seqlens: Any = None, *, group: Any = None,
    ) -> Output:  # fmt: skip
        """tokens: whole numbers [B, T]. state: what an earlier call returned. targets: [B, T], the token that follows each, or `ignore`. lengths: whole
        numbers [B], of sequences with padding behind them, whose state is that of their end. reset: bool [B, T], before which tokens another
        document begins. cu_seqlens: [N + 1], where each of N documents begins that stand end to end in a batch of one, and where the last one ends; states
        are those of the documents then. group: ranks over which time is divided, as `Recurrent` takes it; the loss of the whole is the sum of theirs, and the
        state of ranks that do not have it is None."""
        self._check(tokens, 2)
        sequences = sequences_of(self, group, lengths, cu_seqlens, tokens, state)
        if isinstance(sequences, EndToEnd) and state is not None:  # a state cannot be given to a document inside a row
            apart = self(sequences.apart(tokens), state, None, sequences.padded(), None if reset is None else sequences.apart(reset))
            logits = sequences.joined(apart.logits)
            return Output(logits, apart.state, None if targets is None else self.loss(logits, targets, ignore))
        run = sequences.runner(self.embedding, self.norm, self.head)
        x, states = run(self.embedding, tokens), []
        for block, before in zip(self.blocks, self._states(state), strict=True):
            x, after = block(x, before, sequences, reset)
            states.append(after)
        logits = sequences.attached(run(self.head, run(self.norm, x)))
        loss = None if targets is None else self._loss(logits, targets, ignore, sequences.total((targets != ignore).sum()))
        return Output(logits, None if None in states else tuple(states), loss)

    def step(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, tuple[BlockState, ...]]:
        """One step: tokens [B] to logits [B, vocabulary], the numbers of `forward`, and the state."""
        self._check(tokens, 1)
        x, states = self.embedding(tokens), []
        for block, before in zip(self.blocks, self._states(state), strict=True):
            x, after = block.step(x, before)
            states.append(after)
        return self.head(self.norm(x)), tuple(states)

    @property
    def config(self) -> dict[str, Any]:
        """All that a model like this one is made of, as plain data, the text of the cell's program with it. Raises TypeError where that is not known."""
        _, text, cell = program_of(self.cell)
        own = {"vocab_size": self.vocab_size, "dim": self.dim, "num_layers": self.num_layers, "dtype": str(self.head.weight.dtype).removeprefix("torch.")}
        return {"program": text, "cell": cell, **own, **self.options}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **settings: Any) -> "LanguageModel":
        """A model from what `config` says, its params drawn anew. The program is compiled, and nothing else of it is run. settings: device, backend,
        schedule. Raises RnnError for a wrong program."""
        given = dict(config)
        dtype = getattr(torch, given.pop("dtype"))
        return LanguageModel(cell_of(given.pop("program"), given.pop("cell")), dtype=dtype, **given, **settings)

    def initial_state(self, batch_size: int) -> tuple[BlockState, ...]:
        """The state that `forward` starts from."""
        return tuple(block.initial_state(batch_size) for block in self.blocks)

    def loss(self, logits: Tensor, targets: Tensor, ignore: int = -100) -> Tensor:
        """The mean cross entropy of targets that are not `ignore`, and the z-loss of these."""
        return self._loss(logits, targets, ignore, (targets != ignore).sum())

    def _loss(self, logits: Tensor, targets: Tensor, ignore: int, count: Tensor) -> Tensor:
        """A sum over targets, divided by how many there are in all."""
        flat, wanted = logits.flatten(0, -2).float() if logits.dtype in (torch.float16, torch.bfloat16) else logits.flatten(0, -2), targets.flatten()
        loss = F.cross_entropy(flat, wanted, ignore_index=ignore, reduction="sum")
        if self.z_loss:
            loss = loss + self.z_loss * (torch.logsumexp(flat, -1).square() * (wanted != ignore)).sum()
        return loss / count

    @torch.no_grad()
    def generate(
        self, tokens: Tensor, count: int, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, seed: int | None = None,
        lengths: Any = None, stop: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Goes on from tokens [B, T], T at least 1, in evaluation mode: reads them at once, then takes one step a token. Returns new tokens, [B, count]
        or fewer.

        temperature: 0 takes the likeliest token each time. top_k: draw of so many likeliest ones; top_p: of the fewest that have this probability
        together. seed: of the draws; torch's own generator if None. lengths: of prompts with padding behind them. stop: a token behind which
        a sequence is filled up with it; when all have come to it, no more are made. Raises TypeError or ValueError for what does not fit, and within
        `context_parallel`.
        """
        self._check(tokens, 2)
        if shards_of(self, None) is not None:
            raise ValueError("generate: it runs in one process; call it outside of context_parallel")
        if not tokens.shape[1]:
            raise ValueError("tokens: expected at least one to go on from; begin with a token that stands for a beginning")
        given = [tokens.shape[1]] * tokens.shape[0] if lengths is None else lengths
        begun = ragged.padded(given, tokens.shape[0], tokens.shape[1], tokens.device).lengths
        if not bool((begun > 0).all()):
            raise ValueError("lengths: expected at least one token to go on from in each row")
        draw = None if seed is None else torch.Generator(tokens.device).manual_seed(seed)
        was_training = self.training
        self.eval()
        try:
            logits, state, _ = self(tokens, lengths=None if lengths is None else begun)
            last = logits.gather(1, (begun - 1).view(-1, 1, 1).expand(-1, 1, logits.shape[2])).squeeze(1)
            found: list[Tensor] = []
            ended = torch.zeros(tokens.shape[0], dtype=torch.bool, device=tokens.device)
            for i in range(count):
                new = sampled(last, temperature, top_k, top_p, draw)
                if stop is not None:
                    new = torch.where(ended, stop, new)
                    ended = ended | (new == stop)
                found.append(new)
                if i + 1 == count or (stop is not None and bool(ended.all())):
                    break
                last, state = self.step(new, state)
        finally:
            self.train(was_training)
        return torch.stack(found, 1) if found else tokens[:, :0]

    def _states(self, state: Any) -> Any:
        if state is None:
            return [None] * self.num_layers
        if not isinstance(state, tuple | list) or len(state) != self.num_layers:
            raise TypeError(f"state: expected one for each of {self.num_layers} blocks, as a call returns them")
        return state

    @staticmethod
    def _check(tokens: Any, rank: int) -> None:
        if not isinstance(tokens, Tensor) or tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
            raise TypeError(f"tokens: expected whole numbers, got {tokens.dtype if isinstance(tokens, Tensor) else type(tokens).__name__}")
        if tokens.dim() != rank:
            raise ValueError(f"tokens: expected {'[B, T]' if rank == 2 else '[B]'}, got {list(tokens.shape)}")
