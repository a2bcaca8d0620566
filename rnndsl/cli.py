"""The commands: compile, check, new. Exit status: 0, 1 for errors in a program, 2 for misuse."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rnndsl import api, compiler
from rnndsl.diagnostics import Diagnostic, RnnError, Source
from rnndsl.report import as_data, render
from rnndsl.version import VERSION

JSON_VERSION = 1


class Misuse(Exception):
    """A command that cannot be carried out as given."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except Misuse as e:
        print(f"rnndsl: {e}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="rnndsl",
        formatter_class=raw,
        description="Write the equations of a recurrent cell; get a PyTorch layer.",
        epilog="examples:\n  rnndsl new my_cell            writes my_cell.rnn, a cell to start from\n"
        "  rnndsl check my_cell.rnn      says what is wrong with it\n"
        "  rnndsl compile my_cell.rnn    writes my_cell.py; then: from my_cell import MyCell\n",
    )
    parser.add_argument("--version", action="version", version=f"rnndsl {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    c = commands.add_parser(
        "compile",
        formatter_class=raw,
        help="write the PyTorch module of each program",
        description="Writes one Python module a program, beside it, with a class a cell.",
        epilog="examples:\n  rnndsl compile gru.rnn                  writes gru.py\n  rnndsl compile gru.rnn -o layers/gru.py\n"
        "  rnndsl compile gru.rnn -o -             prints it\n  rnndsl compile a.rnn b.rnn --standalone  modules that need torch alone\n"
        "  cat gru.rnn | rnndsl compile - > gru.py\n",
    )
    c.add_argument("files", nargs="+", metavar="FILE", help="a .rnn file, or - for standard input")
    c.add_argument("-o", "--output", metavar="OUT", help="where to write the module; - for standard output")
    c.add_argument("--standalone", action="store_true", help="a module that needs torch alone, not rnndsl")
    c.set_defaults(run=_compile)

    k = commands.add_parser(
        "check",
        formatter_class=raw,
        help="say what is wrong with programs",
        description="Prints every error and warning; exits with 1 if there is an error.",
        epilog="examples:\n  rnndsl check *.rnn\n  rnndsl check --json gru.rnn\n  cat gru.rnn | rnndsl check -\n",
    )
    k.add_argument("files", nargs="+", metavar="FILE", help="a .rnn file, or - for standard input")
    k.set_defaults(run=_check)
    for command in (c, k):
        command.add_argument("--json", action="store_true", help="print diagnostics as JSON on standard output")

    n = commands.add_parser(
        "new",
        formatter_class=raw,
        help="write a cell to start from",
        description="Writes NAME.rnn, a small commented cell.",
        epilog="example:\n  rnndsl new my_cell\n",
    )
    n.add_argument("name", metavar="NAME", help="the file's name, with or without .rnn")
    n.set_defaults(run=_new)
    return parser


def _read(name: str) -> Source:
    if name == "-":
        return api.decode(sys.stdin.buffer.read(), "<stdin>")
    try:
        return api.read_source(name)
    except OSError as e:
        raise Misuse(f"{name}: {(e.strerror or str(e)).lower()}") from None


def _colour() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _report(found: list[tuple[Diagnostic, Source]], as_json: bool) -> None:
    """Prints diagnostics: text on standard error, JSON on standard output."""
    if as_json:
        data = {"version": JSON_VERSION, "diagnostics": [as_data(d, s) for d, s in found]}
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return
    for diagnostic, source in found:
        print(render(diagnostic, source, _colour()), end="\n\n", file=sys.stderr)
    errors = sum(d.severity == "error" for d, _ in found)
    if errors:
        print(f"{errors} error{'s' * (errors != 1)}", file=sys.stderr)


def _checked(name: str) -> tuple[compiler.Checked | None, list[tuple[Diagnostic, Source]]]:
    try:
        source = _read(name)
        result = compiler.checked(source)
    except RnnError as e:
        return None, [(d, e.source) for d in e.diagnostics]
    return result, [(d, source) for d in result.warnings]


def _check(options: argparse.Namespace) -> int:
    found = [pair for name in options.files for pair in _checked(name)[1]]
    _report(found, options.json)
    return int(any(d.severity == "error" for d, _ in found))


def _compile(options: argparse.Namespace) -> int:
    if options.output not in (None, "-") and len(options.files) > 1:
        raise Misuse("-o names one file, but there are several programs; leave it out to write each beside its program")
    if options.json and (options.output == "-" or (options.output is None and "-" in options.files)):
        raise Misuse("--json and the module cannot both go to standard output; name a file with -o")
    found: list[tuple[Diagnostic, Source]] = []
    failed = False
    for name in options.files:
        result, diagnostics = _checked(name)
        found.extend(diagnostics)
        if result is None:
            failed = True
            continue
        try:
            api.require_cells(result.program)
        except RnnError as e:
            found.extend((d, e.source) for d in e.diagnostics)
            failed = True
            continue
        text = compiler.module(result.program, options.standalone)
        out = options.output or ("-" if name == "-" else str(_module_path(Path(name))))
        _write(out, text)
    _report(found, options.json)
    return int(failed)


def _module_path(program: Path) -> Path:
    """Where the module of a program goes: beside it, under a name that Python can import."""
    stem = "".join(c if c.isalnum() or c == "_" else "_" for c in program.stem)
    if not stem.isidentifier():
        stem = f"cell_{stem}"
    path = program.with_name(f"{stem}.py")
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith("# Made by rnndsl"):
        raise Misuse(f"{path} exists and was not made by rnndsl; name another file with -o")
    return path


def _write(out: str, text: str) -> None:
    if out == "-":
        sys.stdout.write(text)
        return
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as e:
        raise Misuse(f"{out}: {(e.strerror or str(e)).lower()}") from None


_STARTER = '''\
# A cell to start from. Compile it:  rnndsl compile {file}
# Then, in Python:                   from {module} import {name}
#                                    layer = {name}(D=64, H=128)
#                                    y, state = layer(x)            # x: [B, T, 64], y: [B, T, 128]

cell {name}(D, H):                        # D and H are sizes: the constructor's arguments
  "What this cell is."
  input x: [D]                            # one value a step
  state h: [H]                            # carried from step to step; starts at 0
  param W_z, W_n: [H, D]                  # learned
  param a_z, a_n, b_z, b_n: [H]
  z = sigmoid(W_z @ x + a_z * h[t-1] + b_z)      # @ is the matrix product, * is elementwise
  n = tanh(W_n @ x + a_n * h[t-1] + b_n)
  h[t] = (1 - z) * h[t-1] + z * n         # h[t-1] is the old value, h[t] the new one
  output h
'''


def _new(options: argparse.Namespace) -> int:
    path = Path(options.name)
    path = path if path.suffix == ".rnn" else path.with_name(path.name + ".rnn")
    name = "".join(part[:1].upper() + part[1:] for part in "".join(c if c.isalnum() else " " for c in path.stem).split())
    if not name.isidentifier():
        raise Misuse(f"`{path.stem}` does not make a class name; begin with a letter")
    if path.exists():
        raise Misuse(f"{path} exists already")
    _write(str(path), _STARTER.format(file=path.name, module=_module_path(path).stem, name=name))
    print(f"wrote {path}")
    return 0
