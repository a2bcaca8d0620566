"""Trains a language model around any recurrent cell on the bytes of a text.

    python examples/language_model.py                                  # ParaGRU, on the topics of help that come with Python
    python examples/language_model.py book.txt --cell GatedDeltaNet --size N=4 K=32 V=32
    python examples/language_model.py book.txt --cell my_cell.rnn --dim 256 --layers 4 --bf16 --plot curve.png
    torchrun --nproc-per-node 4 examples/language_model.py book.txt    # the same run, shared by four processes; --fsdp splits the model too

A tenth at the end of the text is for validation. A run writes FOLDER/checkpoint.pt, and goes on from there by the same command with --resume,
exactly as if it had never stopped: all that is random is a function of the seed, the step and the process.
"""

import argparse
import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.nn import functional as F

import rnndsl
from rnndsl.nn import LanguageModel
from rnndsl.nn.shapes import cell_class, header_of
from rnndsl.tasks import Draw
from rnndsl.tasks.texts import TEST, contents, digest

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)  # so that checkpoints are the same for any number of processes
UNASKED = -100  # the target of padding


class World(NamedTuple):
    """The processes that share the run, and the device of this one."""

    rank: int
    count: int
    device: torch.device

    def summed(self, x: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.count > 1:
            dist.all_reduce(x)
        return x

    def say(self, text: str, end: str = "\n") -> None:
        if self.rank == 0:
            print(text, end=end, flush=True)


class Text:
    """The bytes of a text as batches, of each of which a process takes its rows. Which passages a batch holds depends on seed and step alone."""

    def __init__(self, options: argparse.Namespace, world: World):
        data = contents(options.text)
        border = int(len(data) * (1 - TEST))
        self.train, self.held_out = data[:border], data[border:][: options.validation]
        self.length, self.batch, self.seed, self.world = options.length, options.batch, options.seed, world
        self.passages = len(self.train) // self.length - 1  # one less than there are, so that each pass may begin elsewhere
        if self.passages < 1:
            raise ValueError(f"--length: {self.length} is too long for a text of {len(data)} bytes")
        self.rows = range(world.rank * self.batch // world.count, (world.rank + 1) * self.batch // world.count)
        self.order = lru_cache(4)(self._order)

    def _order(self, epoch: int) -> Tensor:
        """Where the passages of one pass over the text begin."""
        draw = Draw("passages", self.seed, epoch)
        return draw.below(self.length) + self.length * draw.orders(1, self.passages)[0]

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step, [rows of this process, length] each."""
        places = [divmod(step * self.batch + row, self.passages) for row in self.rows]
        begins = torch.stack([self.order(epoch)[i] for epoch, i in places])
        found = self._there(self.train[begins.unsqueeze(1) + torch.arange(self.length + 1)])
        return found[:, :-1], found[:, 1:]

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The held-out part, passage by passage, padded to whole batches."""
        inputs, targets = self.held_out[:-1].long(), self.held_out[1:].long()
        lacking = -len(inputs) % (self.length * self.batch)
        inputs, targets = F.pad(inputs, (0, lacking)), F.pad(targets, (0, lacking), value=UNASKED)
        shape = (-1, self.batch, self.length)
        for x, y in zip(inputs.view(shape), targets.view(shape), strict=True):
            yield self._there(x[self.rows]), self._there(y[self.rows])

    def _there(self, x: Tensor) -> Tensor:
        return x.long().to(self.world.device)


# The model and its optimiser


def built(options: argparse.Namespace, device: torch.device) -> LanguageModel:
    """The model. Raises RnnError, AttributeError, TypeError or ValueError for a cell or sizes that do not fit."""
    file, is_file, name = options.cell.partition(".rnn")
    program = rnndsl.load(Path(f"{file}.rnn")) if is_file else rnndsl.zoo
    chosen = name.removeprefix(":") if is_file else file
    if is_file and chosen and not hasattr(program, chosen):
        raise ValueError(f"--cell: there is no cell {chosen} in {file}.rnn")
    cell = cell_class(getattr(program, chosen) if chosen else program)
    sizes = {"H": options.dim, **dict(options.size)} if header_of(cell).get("H") else dict(options.size)
    torch.manual_seed(options.seed)
    return LanguageModel(cell, 256, options.dim, options.layers, sizes, mlp=options.mlp, dropout=options.dropout).to(device)


def optimizer_of(model: nn.Module, options: argparse.Namespace) -> torch.optim.Optimizer:
    """AdamW, whose weight decay leaves vectors alone: biases, gains of norms, recurrent weights of single channels."""
    params = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in params if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], options.lr, betas=(0.9, 0.95))


def shared(model: LanguageModel, options: argparse.Namespace, world: World) -> nn.Module:
    """The model as all processes train it together: whole in each (DDP), or split among them (FSDP2)."""
    if options.fsdp:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(world.device.type, (world.count,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        return fully_shard(model, mesh=mesh)
    return nn.parallel.DistributedDataParallel(model) if world.count > 1 else model


def rate(step: int, options: argparse.Namespace) -> float:
    """The learning rate: it rises over --warmup steps, then falls along a cosine to a tenth."""
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    done = (step - options.warmup) / max(1, options.steps - options.warmup)
    return options.lr * (0.55 + 0.45 * math.cos(math.pi * done))


# A run


class Run:
    """What trains, and what is saved of it."""

    def __init__(self, options: argparse.Namespace, world: World):
        self.options, self.world, self.path = options, world, options.out / "checkpoint.pt"
        self.text = Text(options, world)
        self.plain = built(options, world.device)  # whole, as samples need it
        self.model = shared(built(options, world.device) if options.fsdp else self.plain, options, world)
        self.optimizer = optimizer_of(self.model, options)
        self.step, self.losses, self.validations = 0, [], []  # losses: one a step; validations: (steps done, nats a byte)
        own = ("steps", "batch", "length", "validation", "lr", "weight_decay", "warmup", "clip", "bf16", "seed")
        self.settings = {"text": digest(options.text), **self.plain.config, **{name: getattr(options, name) for name in own}}
        if options.resume:
            self._load()
        elif self.path.exists():
            raise ValueError(f"{self.path} is there already: go on from it with --resume, or choose another --out")

    def train(self) -> Tensor:
        """One step. Returns the loss of this process."""
        torch.manual_seed(hash((self.options.seed, self.step, self.world.rank)))  # of dropout and noise; hashes of whole numbers are always the same
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.step, self.options)
        inputs, targets = self.text.at(self.step)
        with self._autocast():
            loss = self.model(inputs, targets=targets).loss
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    @torch.no_grad()
    def validate(self) -> float:
        """Nats a byte of the held-out part."""
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.world.device)
        for inputs, targets in self.text.validation():
            with self._autocast():
                logits = self.model(inputs).logits
            nats = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=UNASKED, reduction="sum")
            total += torch.stack([nats, (targets != UNASKED).sum()])
        nats, count = self.world.summed(total).tolist()
        return nats / count

    def save(self) -> None:
        """Writes the checkpoint, so that there is always a whole one, the earlier or the new."""
        model, optimizer = get_state_dict(self.model, self.optimizer, options=WHOLE)
        if self.world.rank == 0:
            self.plain.load_state_dict(model)
            everything = {"step": self.step, "losses": self.losses, "validations": self.validations, "settings": self.settings}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path.with_suffix(".new"), "wb") as file:
                torch.save({**everything, "config": self.plain.config, "model": model, "optimizer": optimizer}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self.path)

    def _load(self) -> None:
        if not self.path.exists():
            raise ValueError(f"--resume: there is no {self.path}")
        found = torch.load(self.path, map_location="cpu", weights_only=True)
        other = [n for n, value in self.settings.items() if found["settings"].get(n) != value]
        if other:
            raise ValueError(f"--resume: {self.path} was made with another {', '.join(other)}")
        set_state_dict(self.model, self.optimizer, model_state_dict=found["model"], optim_state_dict=found["optimizer"], options=WHOLE)
        self.step, self.losses, self.validations = found["step"], found["losses"], found["validations"]

    def sample(self, count: int) -> str:
        """What the model of the last checkpoint writes."""
        prompt = torch.tensor([list(self.options.prompt.encode())], device=self.world.device)
        written = self.plain.generate(prompt, count, temperature=0.8, top_p=0.95, seed=self.options.seed)
        return bytes([*prompt[0].tolist(), *written[0].tolist()]).decode(errors="replace")

    def _autocast(self) -> Any:
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.options.bf16)


def trained(run: Run) -> bool:
    """Trains to the end, or until someone asks to stop. Returns whether it came to the end."""
    options, world = run.options, run.world
    recent: list[Tensor] = []  # the losses of steps that were not told yet
    with asked_to_stop() as asked:
        begun = time.perf_counter()
        while run.step < options.steps:
            recent.append(run.train())
            is_due = run.step % options.every == 0 or run.step == options.steps
            is_stopped = agreed(asked, world)
            if not (is_due or is_stopped or run.step % options.progress == 0):
                continue
            told = (world.summed(torch.stack(recent)) / world.count).tolist()
            run.losses += told
            seconds = time.perf_counter() - begun
            if not all(map(math.isfinite, told)):
                raise SystemExit(f"the loss is not finite at step {run.step}; a smaller --lr or --clip may help, and what was saved is left as it is")
            speed = len(told) * options.batch * options.length / seconds
            left = (options.steps - run.step) * seconds / len(told)
            mean, now = sum(told) / len(told), rate(run.step - 1, options)
            world.say(f"step {run.step:6}/{options.steps}  loss {mean:.4f}  rate {now:.1e}  {speed:8,.0f} bytes a second  {duration(left)} left")
            if is_due:
                nats = run.validate()
                run.validations.append((run.step, nats))
                world.say(f"  validation: perplexity {math.exp(nats):.3f}, {nats / math.log(2):.4f} bits a byte")
            if is_due or is_stopped:
                run.save()
            if is_stopped:
                break
            if is_due and options.sample and world.rank == 0:
                world.say(f"  {run.sample(options.sample)!r}")
            recent, begun = [], time.perf_counter()
    return run.step == options.steps


@contextlib.contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that gets the number of a signal when one comes: ctrl-C, or what torchrun and Slurm send. A second ctrl-C ends at once."""
    asked: list[int] = []

    def hear(number: int, frame: Any) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def agreed(asked: list[int], world: World) -> bool:
    """Whether any process was asked to stop: all must know it after the same step."""
    return bool(world.summed(torch.tensor(len(asked))))


def duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if seconds >= 60 else f"{seconds:.0f} s"


def draw(run: Run) -> None:
    """Saves a picture of losses, those of training as means over a fiftieth of the run."""
    from matplotlib.figure import Figure

    size = max(1, len(run.losses) // 50)
    means = [(i + size, sum(run.losses[i : i + size]) / size) for i in range(0, len(run.losses) - size + 1, size)]
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in (("training", means), ("validation", run.validations)):
        axes.plot([step for step, _ in points], [nats / math.log(2) for _, nats in points], ".-", label=name)
    axes.set(xlabel="steps", ylabel="bits a byte", title=f"{run.plain.config['cell']}, {sum(p.numel() for p in run.plain.parameters()):,} weights")
    axes.legend()
    figure.savefig(run.options.plot, dpi=150)


# The command


def parsed() -> tuple[argparse.Namespace, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("text", nargs="?", help="a file; without one, Python's topics of help")
    add("--cell", default="ParaGRU", help="the name of a published cell (`rnndsl zoo` lists them), a .rnn file, or FILE.rnn:NAME [%(default)s]")
    add("--size", nargs="+", default=[], type=sized, metavar="H=128", help="sizes of the cell's header [H: that of --dim]")
    add("--dim", type=positive, default=128, help="the width of what goes from block to block [%(default)s]")
    add("--layers", type=positive, default=2, help="blocks [%(default)s]")
    add("--mlp", type=float, default=2.0, help="how many times as wide as --dim an MLP is inside, 0 for none [%(default)s]")
    add("--dropout", type=float, default=0.0, help="[%(default)s]")
    add("--steps", type=positive, default=1000, help="of training [%(default)s]")
    add("--batch", type=positive, default=32, help="passages a step, of all processes together [%(default)s]")
    add("--length", type=positive, default=256, help="bytes of a passage [%(default)s]")
    add("--lr", type=float, default=4e-3, help="the highest learning rate [%(default)s]")
    add("--warmup", type=int, default=100, help="steps until it is reached [%(default)s]")
    add("--weight-decay", type=float, default=0.1, help="of matrices [%(default)s]")
    add("--clip", type=float, default=1.0, help="the largest norm of all gradients [%(default)s]")
    add("--bf16", action="store_true", help="products in bfloat16 (autocast)")
    add("--fsdp", action="store_true", help="split the model among the processes of torchrun")
    add("--device", help="[a GPU where there is one]")
    add("--seed", type=int, default=0, help="[%(default)s]")
    add("--progress", type=positive, default=20, help="steps from one line of progress to the next [%(default)s]")
    add("--every", type=positive, default=200, help="steps from one validation, checkpoint and sample to the next [%(default)s]")
    add("--validation", type=positive, default=2**20, help="bytes of the held-out part to look at, at most [%(default)s]")
    add("--prompt", default="The ", help="what samples begin with [%(default)r]")
    add("--sample", type=int, default=80, help="bytes of a sample [%(default)s]")
    add("--out", type=Path, default=Path("language_model"), metavar="FOLDER", help="where the checkpoint is kept [%(default)s]")
    add("--resume", action="store_true", help="go on from the checkpoint")
    add("--plot", type=Path, metavar="PICTURE", help="draw the curve of losses; needs matplotlib")
    return parser.parse_args(), parser


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def sized(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    return name, int(number)


def joined(options: argparse.Namespace) -> World:
    """Joins the other processes, where torchrun started this one. Raises ValueError for what cannot be shared."""
    is_gpu = torch.cuda.is_available() if options.device is None else torch.device(options.device).type == "cuda"
    count = int(os.environ.get("WORLD_SIZE", 1))
    if options.fsdp and "WORLD_SIZE" not in os.environ:
        raise ValueError("--fsdp: it splits the model among processes, which torchrun starts")
    if not options.prompt:
        raise ValueError("--prompt: it is empty, and a sample begins with it")
    if options.batch % count:
        raise ValueError(f"--batch: {options.batch} passages cannot be shared by {count} processes")
    if "WORLD_SIZE" not in os.environ:
        return World(0, 1, torch.device(options.device or ("cuda" if is_gpu else "cpu")))
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if is_gpu else torch.device("cpu")
    if is_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if is_gpu else "gloo")
    return World(dist.get_rank(), count, device)


def main() -> None:
    options, parser = parsed()
    if options.plot:
        import matplotlib  # noqa: F401, so that it is missed now and not at the end
    try:
        world = joined(options)
        run = Run(options, world)
    except (rnndsl.RnnError, AttributeError, OSError, TypeError, ValueError) as e:
        parser.exit(2, f"{parser.prog}: {e}\n")
    count = sum(p.numel() for p in run.plain.parameters())
    world.say(f"{run.plain.config['cell']}, {count:,} weights; {len(run.text.train):,} bytes to learn from, {len(run.text.held_out):,} held out")
    world.say(f"the text is {digest(options.text)}{f'; going on after step {run.step}' if run.step else ''}")
    is_done = trained(run)
    if options.plot and world.rank == 0:
        draw(run)
    if not is_done:
        world.say(f"stopped after step {run.step}, which is saved; the same command with --resume goes on")
    if dist.is_initialized():
        dist.destroy_process_group()
    sys.exit(0 if is_done else 130)


if __name__ == "__main__":
    main()
