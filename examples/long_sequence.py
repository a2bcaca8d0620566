"""Trains a cell on one sequence of a million steps, divided over ranks.

    torchrun --nproc-per-node 2 examples/long_sequence.py
    python examples/long_sequence.py                          # the same in one process

The task: some steps are marked, and the layer says at each step what was read at the last mark. Prints the loss, and the most memory that each rank held.
"""

import argparse
import os
import resource
import sys
import time

import torch
import torch.distributed as dist

import rnndsl

SEEDS = 1, 2


def sequence(steps: int, marks: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Input [1, T, 2], noise and where it is marked, and what is wanted, [1, T, 1]; the same in every process."""
    draws = torch.Generator().manual_seed(SEEDS[0])
    noise = torch.randn(steps, generator=draws)
    at = torch.randperm(steps, generator=draws)[:marks].sort().values
    is_marked = torch.zeros(steps).index_fill_(0, at, 1.0)
    last = torch.where(is_marked > 0, torch.arange(steps), 0).cummax(0).values
    return torch.stack([noise, is_marked], -1).unsqueeze(0), noise[last].reshape(1, -1, 1)


def held() -> float:
    """The most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2**20)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--way", default="auto", choices=("auto", "pipeline", "rounds", "repeats"))
    given = parser.parse_args()
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if ranks > 1 else 0
    group = {"group": rnndsl.Shards(dist.group.WORLD, way=given.way)} if ranks > 1 else {}

    x, wanted = sequence(given.steps, given.steps // 256)
    low, high = rank * given.steps // ranks, (rank + 1) * given.steps // ranks
    x, wanted = x[:, low:high].clone(), wanted[:, low:high].clone()  # a rank keeps its own part
    torch.manual_seed(SEEDS[1])
    layer, readout = rnndsl.zoo.MinGRU(D=2, H=given.hidden), torch.nn.Linear(given.hidden, 1)
    params = [*layer.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(params, lr=0.03)
    before = held()
    for epoch in range(given.epochs):
        begin = time.perf_counter()
        y, _ = layer(x, **group)
        loss = (readout(y) - wanted).square().sum() / given.steps
        optimizer.zero_grad()
        loss.backward()
        if ranks > 1:
            for p in readout.parameters():  # the layer has summed its own
                dist.all_reduce(p.grad)
            dist.all_reduce(loss.detach())
        optimizer.step()
        if rank == 0:
            print(f"epoch {epoch}: loss {loss.item():.4f}, {time.perf_counter() - begin:.1f} s", flush=True)
    print(f"rank {rank} of {ranks}: {high - low:,} steps, at most {held():,.0f} MB, of them {before:,.0f} before training", flush=True)
    for report in layer.solve_report():
        print(f"  {report}", flush=True)
    if ranks > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
