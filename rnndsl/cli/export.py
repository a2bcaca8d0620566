"""`rnndsl export`: a cell with its weights as a program of another system."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from rnndsl.cli.output import failed
from rnndsl.cli.programs import chosen_cell, read, take_cell, take_file
from rnndsl.cli.status import Misuse
from rnndsl.files import same_file

_ONLY = {"double": "c", "int8": "c", "no_reset": "onnx", "lengths": "onnx"}  # options of one of the forms


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "export",
        help="write a cell with its weights as a C header or as ONNX models",
        description="--c writes one step of a cell, with its weights, as a C99 header that needs nothing but <math.h>: no heap, no global that is written.\n"
        "It prints what that takes of flash and RAM, and how far it is from the layer in double precision. docs/export_c.md explains it.\n"
        "--onnx writes a model of a sequence and one of a step, which onnxruntime runs. docs/onnx.md explains them.",
        epilog="examples:\n  rnndsl export gru.rnn --c -o src --size D=3 H=16 --weights gru.pt    writes src/gru.h\n"
        "  rnndsl export gru.rnn --c -o src --size D=3 H=16 --weights gru.pt --int8\n"
        "  rnndsl export gru.rnn --c -o src --size D=3 H=16 --layers 2 --weights stack.pt --prefix wake_word\n"
        "  rnndsl export gru.rnn --onnx -o models --size D=3 H=16 --weights gru.pt    writes models/gru.onnx and models/gru_step.onnx\n",
    )
    take_file(p)
    p.add_argument("--c", action="store_true", help="as a C99 header, PREFIX.h")
    p.add_argument("--onnx", action="store_true", help="as ONNX models, PREFIX.onnx and PREFIX_step.onnx")
    p.add_argument("-o", "--output", metavar="DIR", required=True, help="the folder to write to; it is made where there is none")
    take_cell(p)
    p.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=16", help="the sizes of the cell, all of them")
    p.add_argument("--hyper", nargs="+", action="extend", default=[], metavar="dt=0.1", help="hyperparameters (default: as the program has them)")
    p.add_argument("--layers", default="1", metavar="N", help="a stack of N layers of the cell, as rnndsl.nn.Recurrent has them (default 1)")
    p.add_argument("--weights", metavar="FILE", help="what torch.save(layer.state_dict(), FILE) wrote (default: drawn with seed 0, to measure with)")
    p.add_argument("--prefix", metavar="NAME", help="what files, and in C all names, begin with (default: the cell's name in snake case)")
    p.add_argument("--double", action="store_true", help="C: double instead of float")
    p.add_argument("--int8", action="store_true", help="C: matrices in int8, with a scale a row")
    p.add_argument("--no-reset", action="store_true", help="ONNX: a model of a sequence that does not take where sequences restart")
    p.add_argument("--lengths", action="store_true", help="ONNX: one that takes where sequences end")
    p.add_argument("--json", action="store_true", help="print plain data")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Exports the cell."""
    if options.c == options.onnx:
        raise Misuse("say as what to export it: --c or --onnx")
    wrong = [f for f, kind in _ONLY.items() if getattr(options, f) and not getattr(options, kind)]
    if wrong:
        raise Misuse(f"--{wrong[0].replace('_', '-')} is of --{_ONLY[wrong[0]]}")
    folder = Path(options.output)
    if options.file != "-" and same_file(folder, [Path(options.file)]):
        raise Misuse(f"{folder} is the program itself; name a folder with -o")
    layer = _layer(options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise Misuse(failed(folder, e)) from None
    (_to_c if options.c else _to_onnx)(layer, folder, options)
    return 0


def _layer(options: Namespace) -> Any:
    """The layer that the arguments name, with its weights. Raises Misuse and Unfit for arguments that do not fit, RnnError for a wrong program."""
    from rnndsl.tools.arguments import parse_sizes

    source = read(options.file)
    cell = chosen_cell(source, options.cell)
    header = parse_sizes(options.size) | _hypers(options.hyper)
    unknown = [n for n in parse_sizes(options.size) if n not in cell.sizes] + [n for n in _hypers(options.hyper) if n not in {h.name for h in cell.hypers}]
    if unknown:
        raise Misuse(f"{cell.name} has no {unknown[0]}; its sizes are {', '.join(cell.sizes) or 'none'}, its hyperparameters {', '.join(h.name for h in cell.hypers) or 'none'}")
    missing = [n for n in cell.sizes if n not in header]
    if missing:
        raise Misuse(f"all sizes are numbers there; give those of {cell.name} that are missing: --size {' '.join(f'{n}=…' for n in missing)}")
    if not (options.layers.isascii() and options.layers.isdigit() and int(options.layers) >= 1):
        raise Misuse(f"--layers {options.layers}: give a whole number from 1 on")
    import torch

    from rnndsl import programs
    from rnndsl.export.checkpoint import load_weights
    from rnndsl.nn.recurrent import Recurrent

    made = getattr(programs.load(source), cell.name)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = made(**header) if options.layers == "1" else Recurrent(made, header, int(options.layers))
    except (TypeError, ValueError) as e:
        raise Misuse(f"{cell.name}: {e}") from None
    if options.weights:
        load_weights(layer, options.weights)
    return layer


def _hypers(texts: list[str]) -> dict[str, float]:
    """`dt=0.1` as a name and a number. Raises Misuse."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise Misuse(f"--hyper {text}: give a name and a number, as in --hyper dt=0.1 (and FILE before --hyper)") from None
    return found


def _to_c(layer: Any, folder: Path, options: Namespace) -> None:
    """Writes the header, and prints what it takes."""
    from rnndsl.export.c.export import export_c
    from rnndsl.export.c.report import as_data

    try:
        made = export_c(layer, folder, options.prefix, real="double" if options.double else "float", int8=options.int8)
    except (TypeError, ValueError) as e:
        raise Misuse(str(e)) from None
    if options.json:
        import json

        print(json.dumps(as_data(made), indent=1))
        return
    print(made.text)
    if not options.weights:
        print("the weights are drawn with seed 0; give those of a trained layer with --weights")


def _to_onnx(layer: Any, folder: Path, options: Namespace) -> None:
    """Writes the models, and says where."""
    from rnndsl.export.onnx.model import export_onnx

    try:
        paths = export_onnx(layer, folder, name=options.prefix, reset=not options.no_reset, lengths=options.lengths)
    except (ImportError, TypeError, ValueError) as e:
        raise Misuse(str(e)) from None
    except OSError as e:
        raise Misuse(failed(folder, e)) from None
    if options.json:
        import json

        print(json.dumps({"models": [str(p) for p in paths]}, indent=1))
        return
    for path in paths:
        print(f"wrote {path}")
    if not options.weights:
        print("the weights are drawn with seed 0; give those of a trained layer with --weights")
