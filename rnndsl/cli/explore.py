"""`rnndsl explore`: trains cells on tasks and says what they have learned."""

import argparse
import json
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from rnndsl.cli.output import write
from rnndsl.cli.progress import Progress
from rnndsl.cli.status import Misuse
from rnndsl.cli.terminal import width
from rnndsl.files import write_whole
from rnndsl.tools import Unfit
from rnndsl.tools.arguments import parse_count


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "explore",
        help="train cells on tasks, and say what they have learned",
        description="Trains each cell on each task with each size, rate and seed, and prints a leaderboard. A study is a folder: what was stopped goes on where it\n"
        "was, and more processes join by the same command, from other machines too. docs/explore.md explains it.",
        epilog="examples:\n  rnndsl explore gru.rnn mine.rnn --task parity,mqar --size H=64 --seeds 3 --lr 1e-3,3e-3\n"
        "  rnndsl explore GRU MinGRU torch.nn.LSTM transformer --task s5 --study s5 --workers 2\n"
        "  rnndsl explore variants/ --task mine.py --search 30\n"
        "  rnndsl explore --show s5 --page s5.html --picture s5.png\n",
    )
    p.add_argument("cells", nargs="*", metavar="CELL", help="a .rnn file, FILE.rnn:NAME, a folder, a cell of the zoo, torch.nn.RNN, .GRU or .LSTM, transformer")
    p.add_argument("--task", metavar="NAMES", help="tasks by name (see docs/tasks.md), text:FILE, or a Python file that has some")
    p.add_argument("--study", metavar="DIR", default="explored", help="where it is kept: a folder, or the URL of a database (default: explored)")
    models = p.add_argument_group("models")
    models.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=64", help="sizes of the cells; several values, H=32,64, are tried in turn")
    models.add_argument("--dim", metavar="N", help="of what goes from block to block (default: H, or 64)")
    models.add_argument("--parameters", metavar="N", help="how many each model is to have; dim is chosen for it")
    models.add_argument("--layers", metavar="N", default="1", help="blocks (default 1)")
    models.add_argument("--block", choices=("plain", "full"), default="plain", help="plain: norm and cell; full: convolution, gate and MLP too (default plain)")
    models.add_argument(
        "--forcing", metavar="ALPHA", help="no blocks: the cell itself is the model of a system (--task lorenz), its state drawn to the data by ALPHA, from 0 to 1, or adaptive"
    )
    training = p.add_argument_group("training")
    training.add_argument("--steps", metavar="N", default="1600", help="of the optimiser, at most (default 1600)")
    training.add_argument("--batch", metavar="N", default="128", help="sequences of a step (default 128)")
    training.add_argument("--lr", metavar="RATES", help="rates of AdamW, tried in turn (default 3e-3; with --search 1e-4,1e-2)")
    training.add_argument("--seeds", metavar="N", default="3", help="runs with other weights and data: how many, from 0 on, or which, as 3-5 or 1,4 (default 3)")
    training.add_argument("--search", metavar="N", help="N runs of each cell on each task whose rate, between the lowest and the highest of --lr, and size Optuna chooses")
    work = p.add_argument_group("work")
    work.add_argument("--workers", metavar="N", default="1", help="processes, among which the cores are divided (default 1)")
    work.add_argument("--minutes", metavar="M", help="begin no run after so many minutes")
    work.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: cuda where there is one)")
    work.add_argument("--helper", action="store_true", help=argparse.SUPPRESS)  # a worker that another process has started
    board = p.add_argument_group("leaderboard")
    board.add_argument("--show", metavar="DIR", help="run nothing; show this study")
    board.add_argument("--json", action="store_true", help="print plain data, an object a run")
    board.add_argument("--csv", action="store_true", help="print a line a run")
    board.add_argument("--page", metavar="OUT", help="write it as a page, one .html file")
    board.add_argument("--picture", metavar="OUT", help="draw it: a .png or .svg file")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Runs what is to be run, then shows what there is."""
    try:
        import filelock  # noqa: F401
        import optuna  # noqa: F401
    except ImportError as e:
        raise Misuse(f"explore needs {e.name}: pip install 'rnndsl[explore]'") from None
    if options.json and options.csv:
        raise Misuse("--json and --csv: choose one")
    if options.picture:
        from rnndsl.tools.picture import check_path

        check_path(options.picture)
    if options.show is None:
        _explore(options)
    elif options.cells or options.task:
        raise Misuse("--show shows a study and runs nothing: leave out cells and --task")
    if not options.helper:
        _show(options, options.show or options.study)
    return 0


def _explore(options: Namespace) -> None:
    """Carries out what the command line asks for."""
    progress = Progress(False if options.helper else None)
    progress.say("importing PyTorch")
    try:
        from rnndsl.explore.session import explore

        plan = _plan(options)
        minutes = None if options.minutes is None else _real("--minutes", options.minutes)
        explore(plan, options.study, _device(options.device), minutes, parse_count("--workers", options.workers), _again(options), progress, options.helper)
    except OSError as e:
        raise OSError(e.errno, e.strerror or str(e), e.filename or options.study) from e  # of a full disk, which names no file
    finally:
        progress.clear()


def _plan(options: Namespace) -> Any:
    from rnndsl.explore.candidates import candidates
    from rnndsl.explore.plan import Plan
    from rnndsl.explore.recipe import Training

    if not options.cells:
        raise Misuse("name cells: .rnn files, folders, cells of `rnndsl zoo`; or a study, with --show")
    if not options.task:
        raise Misuse("name tasks with --task, as in --task parity,mqar; docs/tasks.md lists them")
    counts = {n: parse_count(f"--{n}", getattr(options, n)) for n in ("steps", "batch", "layers")}
    search = parse_count("--search", options.search)
    rates = tuple(dict.fromkeys(_real("--lr", r) for r in (options.lr or ("3e-3" if search is None else "1e-4,1e-2")).split(",")))
    forcing = _forcing(options)
    training = Training(**counts, block=options.block, forcing=forcing)
    return Plan(candidates(options.cells), _tasks(options.task, forcing is not None), _requests(options), rates, _seeds(options.seeds), training, search)


def _forcing(options: Namespace) -> float | str | None:
    """How strongly states are drawn to the data."""
    if options.forcing is None:
        return None
    if options.layers != "1" or options.block != "plain":
        raise Misuse("--forcing: the cell itself is the model; leave out --layers and --block")
    if options.forcing == "adaptive":
        return "adaptive"
    try:
        alpha = float(options.forcing)
    except ValueError:
        alpha = -1.0
    if not 0 <= alpha <= 1:
        raise Unfit(f"--forcing {options.forcing}: give a number from 0 to 1, or adaptive")
    return alpha


def _tasks(text: str, are_systems: bool) -> Any:
    from rnndsl.tasks import tasks_of

    try:
        found = [t.as_system() if are_systems else t for name in dict.fromkeys(n.strip() for n in text.split(",")) for t in tasks_of(name)]
    except ValueError as e:
        raise Unfit(f"--task {text}: {e}") from None
    several = [name for name, n in Counter(t.name for t in dict.fromkeys(found)).items() if n > 1]
    if several:
        raise Unfit(f"--task {text}: two different tasks are called {several[0]}; give one another name")
    return tuple(dict.fromkeys(found))


def _requests(options: Namespace) -> Any:
    """Every choice among the sizes that were given."""
    import itertools

    from rnndsl.explore.shapes import Request

    dim = parse_count("--dim", options.dim)
    wanted = parse_count("--parameters", options.parameters)
    if dim is not None and wanted is not None:
        raise Misuse("--dim and --parameters: dim is chosen for the parameters; leave one out")
    grid: dict[str, list[int]] = {}
    for text in options.size:
        name, _, values = text.partition("=")
        if not name.isidentifier() or not values or name in grid:
            raise Unfit(f"--size {text}: give each name once, with whole numbers, as in --size H=32,64 N=4")
        grid[name] = [parse_count(f"--size {name}", v) for v in values.split(",")]
    return tuple(Request(dim, tuple(zip(grid, values, strict=True)), wanted) for values in itertools.product(*grid.values()))


def _seeds(text: str) -> tuple[int, ...]:
    """`3`: those from 0 on; `3-5` or `1,4`: these."""
    if "-" not in text and "," not in text:
        return tuple(range(parse_count("--seeds", text)))
    ends = [part.split("-") for part in text.split(",")]
    if not all(len(e) <= 2 and all(n.isascii() and n.isdigit() for n in e) for e in ends):
        raise Unfit(f"--seeds {text}: give how many, or which, as in --seeds 3-5 or --seeds 1,4")
    found = tuple(dict.fromkeys(n for e in ends for n in range(int(e[0]), int(e[-1]) + 1)))
    if not found:
        raise Unfit(f"--seeds {text}: there is none from {text.replace('-', ' to ')}")
    return found


def _device(name: str | None) -> str:
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as e:
        raise Unfit(f"--device {name}: {str(e).splitlines()[0]}") from None
    return name


def _again(options: Namespace) -> list[str]:
    """The arguments with which another worker does the same."""
    words = list(options.cells)
    for name in ("task", "study", "dim", "parameters", "layers", "block", "steps", "batch", "lr", "seeds", "search", "minutes", "device", "forcing"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return words + (["--size", *options.size] if options.size else [])


def _real(option: str, text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise Unfit(f"{option} {text}: give a positive number")
    return value


def _show(options: Namespace, where: str) -> None:
    """Prints, writes and draws the leaderboard."""
    from rnndsl.explore.board import board_of
    from rnndsl.explore.records import records
    from rnndsl.explore.table import csv_text, table

    found = records(where)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        write(csv_text(found) if options.csv else table(board_of(found), width(sys.stdout)))
    about = sys.stderr if options.json or options.csv else sys.stdout
    if options.page:
        from rnndsl.explore.page import page

        write_whole(Path(options.page), page(found, "A study" if "://" in where else Path(where).resolve().name).encode())
        print(f"wrote {options.page}", file=about)
    if options.picture:
        from rnndsl.explore.picture import draw

        draw(found, options.picture)
        print(f"wrote {options.picture}", file=about)
