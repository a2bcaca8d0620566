"""A tagger that reads sequences of different lengths in both directions, with torch.nn.GRU and with a cell in its place.

Each token is to be tagged by whether the sequence reads the same from the other end at that place, which takes both directions and the end
of each sequence. After the swap the numbers are the same; from there on the cell is yours to change.

    python examples/ragged_tagger.py
    python examples/ragged_tagger.py --quick
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnndsl.nn import from_torch


class Tagger(nn.Module):
    """Tokens [B, T] and lengths [B] to logits [B, T]."""

    def __init__(self, tokens: int, hidden: int):
        super().__init__()
        self.embedding = nn.Embedding(tokens, 16)
        self.rnn = nn.GRU(16, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, 1)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        x = self.embedding(tokens)
        if isinstance(self.rnn, nn.GRU):
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            y, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=tokens.shape[1])
        else:
            y, _ = self.rnn(x, lengths=lengths)
        return self.head(y).squeeze(-1)


def batch(size: int, longest: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, lengths, tags, and which tokens are there."""
    lengths = torch.randint(2, longest + 1, (size,))
    tokens = torch.randint(2, (size, longest))
    there = torch.arange(longest) < lengths.unsqueeze(1)
    mirrored = tokens.gather(1, (lengths.unsqueeze(1) - 1 - torch.arange(longest)) % longest)
    return tokens, lengths, (tokens == mirrored).float(), there


def train(model: Tagger, steps: int, longest: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(1, steps + 1):
        tokens, lengths, tags, there = batch(32, longest)
        logits = model(tokens, lengths)
        loss = F.binary_cross_entropy_with_logits(logits[there], tags[there])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, steps // 5) == 0:
            right = ((logits > 0) == (tags > 0))[there].float().mean()
            print(f"  step {step:4}  loss {loss.item():.3f}  right {right.item():6.1%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that everything works")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    steps, longest = (10, 6) if options.quick else (300, 10)
    model = Tagger(2, 8 if options.quick else 48)
    print("torch.nn.GRU")
    train(model, steps, longest)
    tokens, lengths, _, there = batch(64, longest)
    before = model(tokens, lengths)[there]
    model.rnn = from_torch(model.rnn)
    gap = (model(tokens, lengths)[there] - before).abs().max().item()
    print(f"{type(model.rnn.cells[0]).__name__} of {type(model.rnn).__module__}: logits {gap:.1e} off at most")
    train(model, steps, longest)


if __name__ == "__main__":
    main()
