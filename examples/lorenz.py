"""Learns the Lorenz system from its trajectories by generalised teacher forcing, and is judged by what the system is, not by where it is at some time.

    python examples/lorenz.py                     # a shallow PLRNN, forced by 0.15
    python examples/lorenz.py --adaptive          # forced as much as its Jacobians ask for
    python examples/lorenz.py --alpha 0           # without forcing: gradients explode, and little is learned
    python examples/lorenz.py --quick             # to see that everything works

Two trajectories of a chaotic system part soon, however good a model of it is. What can be compared is where they go (D_stsp), at which frequencies they
move (D_H), and how fast they part (the largest Lyapunov exponent). After Hess et al. 2023, arXiv:2306.04406, at a smaller size.
"""

import argparse
import time

import torch
from torch import Tensor

import rnndsl
from rnndsl.nn.forcing import Forecaster
from rnndsl.nn.invariants import spectral_distance, state_space_divergence
from rnndsl.tasks import task
from rnndsl.tasks.values import STEP

LENGTH, BATCH, RATE = 100, 16, 2e-3
EVERY = 5  # steps from one look at the Jacobians to the next


def model_of(units: int, alpha: float) -> Forecaster:
    """A shallow PLRNN whose three states are what is observed. It begins as almost the identity: a step of time changes little."""
    model = Forecaster(rnndsl.zoo.ShallowPLRNN, 3, {"H": 3, "M": units}, alpha=alpha)
    with torch.no_grad():
        model.cell.A.fill_(1)
        model.cell.W1.mul_(0.1)
        model.cell.h1.zero_()
        model.cell.h2.uniform_(-2, 2)  # so that units bend at different places
    return model


def train(model: Forecaster, data: Tensor, steps: int, is_adaptive: bool) -> None:
    """On pieces of data [trajectories, T, 3], with a rate that falls to nothing."""
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, steps)
    begun = time.perf_counter()
    for step in range(1, steps + 1):
        rows, begins = torch.randint(len(data), (BATCH, 1)), torch.randint(data.shape[1] - LENGTH, (BATCH, 1))
        piece = data[rows, begins + torch.arange(LENGTH + 1)]
        if is_adaptive and step % EVERY == 0:
            model.adapt(piece[:, :-1])
        loss = (model(piece[:, :-1]) - piece[:, 1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 5) == 0:
            print(f"step {step:5}  loss {loss.item():.1e}  alpha {model.alpha:.3f}  {time.perf_counter() - begun:4.0f} s", flush=True)


def judged(name: str, data: Tensor, generated: Tensor, exponent: float) -> None:
    """Prints the measures of a trajectory [T, 3]."""
    print(f"{name:22} D_stsp {state_space_divergence(data, generated):6.3f}   D_H {spectral_distance(data, generated):.3f}   Lyapunov exponent {exponent:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", type=float, default=0.15, help="how strongly the state is drawn to the data [%(default)s]")
    parser.add_argument("--adaptive", action="store_true", help="begin with 1 and let the Jacobians say it")
    parser.add_argument("--units", type=int, default=50, help="of the hidden layer [%(default)s]")
    parser.add_argument("--steps", type=int, help="of training [4000; 15 with --quick]")
    parser.add_argument("--quick", action="store_true", help="a few steps")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    steps, length, count = (15, 400, 8) if options.quick else (4000, 30_000, 64)
    steps = options.steps or steps

    torch.set_num_threads(1)  # the tensors of one step are small
    torch.manual_seed(options.seed)
    lorenz = task("lorenz")
    data = lorenz.batch(count, options.seed, length=min(length, 2000)).inputs
    test = lorenz.batch(2, options.seed, split="test", length=length).inputs
    model = model_of(options.units, 1.0 if options.adaptive else options.alpha)
    train(model, data, steps, options.adaptive)
    generated = model.generate(test[:1, :1], length)[0]
    exponent = float(model.lyapunov_exponents(data[:8, :1], length // 10, 1, STEP)[0])
    judged("the system, once more", test[0], test[1], 0.906)
    judged("the model", test[0], generated, exponent)


if __name__ == "__main__":
    main()
