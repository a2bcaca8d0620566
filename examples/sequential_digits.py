"""Reads handwritten digits pixel by pixel: trains three layers of ParaGRU on 64 steps of one pixel each.

    python examples/sequential_digits.py

Compiles examples/para_gru.rnn, trains on scikit-learn's bundled digits, prints the progress and saves the learning curve as a
picture. 30 epochs; --quick trains a smaller network for two.
"""

import argparse
import time
from pathlib import Path

import matplotlib
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import rnndsl

matplotlib.use("Agg")  # the picture is drawn without a display
from matplotlib import pyplot as plt

CELL = Path(__file__).resolve().parent / "para_gru.rnn"
SLOWEST = 5.0  # the update gates start between sigmoid(0) and sigmoid(-SLOWEST): from fast to slow channels


class Reader(nn.Module):
    """ParaGRU layers, then a linear map of the last state and the mean state to the ten classes."""

    def __init__(self, cell: type, hidden: int, depth: int):
        super().__init__()
        self.layers = nn.ModuleList(cell(D=hidden if i else 1, H=hidden) for i in range(depth))
        self.head = nn.Linear(2 * hidden, 10)
        with torch.no_grad():
            for layer in self.layers:
                layer.b_z.copy_(-torch.linspace(0, SLOWEST, hidden)[torch.randperm(hidden)])
                layer.b_n.uniform_(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, 64, 1]; returns [B, 10]."""
        for layer in self.layers:
            x, _ = layer(x)
        return self.head(torch.cat([x[:, -1], x.mean(1)], -1))


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training pixels [1437, 64, 1] in [-1, 1] and labels, then 360 of each for testing; always the same split."""
    data = load_digits()
    x = torch.tensor(data.data / 8 - 1, dtype=torch.float32).unsqueeze(-1)
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:1437], order[1437:]
    return x[train], y[train], x[test], y[test]


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of right answers."""
    return (model(x).argmax(-1) == y).float().mean().item()


def train(model: nn.Module, epochs: int, batch: int, rate: float) -> list[tuple[float, float]]:
    """Trains with Adam, the rate rising and falling once; returns (mean loss, test accuracy) of each epoch."""
    x, y, x_test, y_test = digits()
    steps = -(-len(x) // batch)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps * epochs, pct_start=0.2)
    curve = []
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(x)).split(batch):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        curve.append((total / len(x), accuracy(model, x_test, y_test)))
        seconds = time.perf_counter() - start
        print(f"epoch {epoch:3}  loss {curve[-1][0]:.3f}  test accuracy {curve[-1][1]:6.1%}  {seconds:5.0f} s", flush=True)
    return curve


def draw(curve: list[tuple[float, float]], path: Path) -> None:
    """Saves a picture of loss and test accuracy over the epochs."""
    figure, left = plt.subplots(figsize=(6.4, 4), layout="constrained")
    right = left.twinx()
    epochs = range(1, len(curve) + 1)
    left.plot(epochs, [loss for loss, _ in curve], "C0.-")
    right.plot(epochs, [100 * share for _, share in curve], "C1.-")
    left.set(title="Digits read pixel by pixel", xlabel="epoch", ylim=(0, None))
    left.set_ylabel("training loss", color="C0")
    right.set(ylim=(0, 100))
    right.set_ylabel("test accuracy in %", color="C1")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, help="passes over the training digits (default 30; 2 with --quick)")
    parser.add_argument("--quick", action="store_true", help="a small network, to see that everything works")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default 1: the tensors of one step are small)")
    parser.add_argument("--picture", type=Path, default=Path("sequential_digits.png"), help="where to save the learning curve")
    options = parser.parse_args()
    epochs = options.epochs if options.epochs is not None else 2 if options.quick else 30
    if epochs < 1:
        parser.error("--epochs: at least 1")

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    cell = rnndsl.load(CELL).ParaGRU
    model = Reader(cell, hidden=16, depth=1) if options.quick else Reader(cell, hidden=64, depth=3)
    count = sum(p.numel() for p in model.parameters())
    print(f"{len(model.layers)} layers of {cell.__name__}, {count} weights, 64 steps of one pixel")
    curve = train(model, epochs, batch=64, rate=0.01)
    draw(curve, options.picture)
    print(f"test accuracy {curve[-1][1]:.1%}; the learning curve is in {options.picture}")


if __name__ == "__main__":
    main()
