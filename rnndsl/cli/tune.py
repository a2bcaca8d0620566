"""`rnndsl tune`: times the ways to cut a cell's Triton kernels on the GPU at hand, and keeps the fastest."""

import json
from argparse import Namespace
from typing import Any

from rnndsl import programs
from rnndsl.cli.programs import chosen_cell, read, take_cell, take_file
from rnndsl.cli.progress import Progress
from rnndsl.cli.status import INTERRUPTED
from rnndsl.tools import Unfit
from rnndsl.tools.bench.settings import USUAL_SIZES


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "tune",
        help="time the ways to cut a cell's Triton kernels on the GPU at hand, and keep the fastest",
        description="Times the ways to cut the Triton kernels of each recurrence, forwards and backwards, on the GPU at hand, and keeps the\n"
        "fastest for calls of about this shape on such a GPU: layers take them from then on. docs/tune.md says more.",
        epilog="examples:\n  rnndsl tune para_gru.rnn --shape 8,4096\n  rnndsl tune para_gru.rnn --shape 8,4096 --size D=64 H=256 --dtype bfloat16\n"
        "  rnndsl tune para_gru.rnn --shape 1,65536 --direction forward --json\n",
    )
    take_file(p)
    take_cell(p)
    p.add_argument("--shape", metavar="B,T", required=True, help="sequences and steps of a call")
    p.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=256", help=f"sizes of the cell (default {USUAL_SIZES})")
    p.add_argument("--dtype", default="float32", metavar="TYPE", help="of the streams: float32 (default), bfloat16 (as under autocast) or float64")
    p.add_argument("--direction", metavar="NAMES", help="forward: forward kernels alone; both (default): backward kernels too")
    p.add_argument("--json", action="store_true", help="print every sample as plain data")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Measures, stores the winners, prints. Raises Unfit where there is no GPU, OSError where the winners cannot be stored."""
    from rnndsl.tools.tune.settings import parse

    source = read(options.file)
    settings = parse(options)
    cell = chosen_cell(source, options.cell)
    progress = Progress()
    progress.say("importing PyTorch")
    import torch

    from rnndsl.runtime.triton import tuned
    from rnndsl.tools.tune.report import data, table
    from rnndsl.tools.tune.run import gpu
    from rnndsl.tools.tune.run import run as measured
    from rnndsl.tools.tune.timer import timer_of

    try:
        device = gpu()
        layer_class = getattr(programs.load(source), cell.name)
        result = measured(source.name, cell, layer_class, settings, device, timer_of(device), progress)
    except torch.OutOfMemoryError:
        raise Unfit(f"--shape {options.shape}: a call of these sizes does not fit the memory of the GPU; give fewer sequences or steps") from None
    finally:
        progress.clear()
    if result.winners:
        result.stored = tuned.store(result.device, result.winners)
    print(json.dumps(data(result), indent=1) if options.json else table(result), end="\n" if options.json else "")
    return INTERRUPTED if result.interrupted else 0
