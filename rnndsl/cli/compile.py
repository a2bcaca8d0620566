"""`rnndsl compile`: writes the PyTorch module of each program, or prints a stage of it."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from rnndsl import compiler
from rnndsl.checks import require_cells
from rnndsl.cli.module_file import module_path, write_module
from rnndsl.cli.output import write
from rnndsl.cli.programs import checked, each, take_file
from rnndsl.cli.status import Misuse
from rnndsl.compiler import STAGES
from rnndsl.files import same_file


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "compile",
        help="write the PyTorch module of each program",
        description="Writes one Python module a program, beside it, with a class a cell. Exits with 1 if there is an error in a\n"
        "program, with 2 for a file that cannot be read or written. Only overwrites what it made itself.",
        epilog="examples:\n  rnndsl compile gru.rnn                  writes gru.py\n  rnndsl compile gru.rnn -o layers/gru.py\n"
        "  rnndsl compile gru.rnn -o -             prints it\n  rnndsl compile a.rnn b.rnn --standalone  modules that need torch alone\n"
        "  cat gru.rnn | rnndsl compile - > gru.py\n  rnndsl compile gru.rnn --dump plan      when each equation is computed\n",
    )
    take_file(p, several=True)
    p.add_argument("-o", "--output", metavar="OUT", help="where to write the module; - for standard output")
    p.add_argument("--standalone", action="store_true", help="a module that needs torch alone, not rnndsl")
    p.add_argument("--dump", choices=STAGES, metavar="STAGE", help=f"print a stage as text and write nothing: {', '.join(STAGES)}")
    p.add_argument("--json", action="store_true", help="print diagnostics as JSON on standard output")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Compiles each program."""
    if options.output not in (None, "-") and len(options.files) > 1:
        raise Misuse("-o names one file, but there are several programs; leave it out to write each beside its program")
    if options.json and (options.output == "-" or (options.output is None and "-" in options.files)):
        raise Misuse("--json and the module cannot both go to standard output; name a file with -o")
    if options.dump and (options.output or options.json):
        raise Misuse("--dump prints a stage; it goes with neither -o nor --json")
    written: dict[Path, str] = {}
    programs = [Path(n) for n in options.files if n != "-"]

    def act(name: str, result: compiler.Compiled) -> None:
        require_cells(result.program)
        if options.dump:
            from rnndsl.tools.dump import dump

            write(dump(result, options.dump, options.standalone))
            return
        text = result.module(options.standalone)
        if options.output == "-" or (options.output is None and name == "-"):
            write(text)
            return
        out = Path(options.output) if options.output else module_path(Path(name))
        if (other := next((n for o, n in written.items() if o == out or same_file(o, [out])), None)) is not None:
            raise Misuse(f"{name}: its module would overwrite that of {other}, {out}; compile it by itself with -o")
        if same_file(out, programs):
            raise Misuse(f"{out} is the program itself; name another file with -o")
        written[out] = name
        write_module(out, text)
        if not options.json:
            print(f"wrote {out}")

    return each(options, checked, act)
