"""`rnndsl tune` from its arguments to what it prints."""

import json
from argparse import Namespace

from rnndsl import api
from rnndsl.diagnostics import Source
from rnndsl.tools import Unfit
from rnndsl.tools.bench.command import INTERRUPTED, chosen_cell
from rnndsl.tools.tune.settings import parse


def tune(options: Namespace, source: Source) -> int:
    """Measures, stores the winners, prints; returns the exit status.

    Raises Unfit for arguments that do not fit and where there is no GPU, RnnError for a wrong program, OSError where the winners cannot be
    stored.
    """
    settings = parse(options)
    cell = chosen_cell(source, options.cell)
    import torch

    from rnndsl.runtime.triton import tuned
    from rnndsl.tools.bench.progress import Progress
    from rnndsl.tools.tune.report import data, table
    from rnndsl.tools.tune.run import gpu, run
    from rnndsl.tools.tune.timer import timer_of

    device = gpu()
    layer_class = getattr(api.load(source.text, source.name), cell.name)
    progress = Progress()
    try:
        result = run(source.name, cell, layer_class, settings, device, timer_of(device), progress)
    except torch.OutOfMemoryError:
        raise Unfit(f"--shape {options.shape}: a call of these sizes does not fit the memory of the GPU; give fewer sequences or steps") from None
    finally:
        progress.clear()
    if result.winners:
        result.stored = tuned.store(result.device, result.winners)
    print(json.dumps(data(result), indent=1) if options.json else table(result), end="\n" if options.json else "")
    return INTERRUPTED if result.interrupted else 0
