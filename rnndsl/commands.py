"""The commands: compile, check, fmt, explain, verify, bench, tune, new, lsp, cache. Exit status: 0, 1 for errors in a program, 2 for misuse."""

import argparse
import json
import keyword
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rnndsl import api, compiler
from rnndsl.cli import JSON_VERSION, STAGES
from rnndsl.diagnostics import Diagnostic, RnnError, Source
from rnndsl.files import read_file, read_stream, same_file, write_new, write_whole
from rnndsl.report import as_data, render
from rnndsl.version import VERSION

_MADE = re.compile(r"# Made by rnndsl \d[\w.+-]* from .+\. Change the equations there, not here\.\n?")  # how every generated module begins
Found = tuple[Diagnostic, Source]
Read = TypeVar("Read")


class Misuse(Exception):
    """A command that cannot be carried out as given."""


def _complain(problem: object) -> None:
    print(f"rnndsl: {problem}", file=sys.stderr)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status. Raises OSError where standard output cannot be written."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except Misuse as e:
        _complain(e)
        return 2


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: Any = None) -> None:
        """Prints help; argparse itself says nothing where that fails."""
        (file or sys.stderr).write(message)


def parser() -> argparse.ArgumentParser:
    """Reads the arguments of every command."""
    raw = argparse.RawDescriptionHelpFormatter
    main = _Parser(
        prog="rnndsl",
        formatter_class=raw,
        description="Write the equations of a recurrent cell; get a PyTorch layer.",
        epilog="examples:\n  rnndsl new my_cell            writes my_cell.rnn, a cell to start from\n"
        "  rnndsl check my_cell.rnn      says what is wrong with it\n"
        "  rnndsl fmt my_cell.rnn        puts it in the canonical style\n"
        "  rnndsl compile my_cell.rnn    writes my_cell.py; then: from my_cell import MyCell\n"
        "  rnndsl explain my_cell.rnn    shows what the compiler finds in it\n"
        "  rnndsl verify my_cell.rnn     says whether its layers are right here\n"
        "  rnndsl bench my_cell.rnn      says how fast it is here\n"
        "  rnndsl tune my_cell.rnn --shape 8,4096    looks for the fastest kernels on this GPU\n",
    )
    main.add_argument("--version", action="version", version=f"rnndsl {VERSION}")
    commands = main.add_subparsers(metavar="COMMAND", required=True)

    c = commands.add_parser(
        "compile",
        formatter_class=raw,
        help="write the PyTorch module of each program",
        description="Writes one Python module a program, beside it, with a class a cell. Exits with 1 if there is an error in a\n"
        "program, with 2 for a file that cannot be read or written. Only overwrites what it made itself.",
        epilog="examples:\n  rnndsl compile gru.rnn                  writes gru.py\n  rnndsl compile gru.rnn -o layers/gru.py\n"
        "  rnndsl compile gru.rnn -o -             prints it\n  rnndsl compile a.rnn b.rnn --standalone  modules that need torch alone\n"
        "  cat gru.rnn | rnndsl compile - > gru.py\n  rnndsl compile gru.rnn --dump plan      when each equation is computed\n",
    )
    c.add_argument("files", nargs="+", metavar="FILE", help="a .rnn file, or - for standard input")
    c.add_argument("-o", "--output", metavar="OUT", help="where to write the module; - for standard output")
    c.add_argument("--standalone", action="store_true", help="a module that needs torch alone, not rnndsl")
    c.add_argument("--dump", choices=STAGES, metavar="STAGE", help=f"print a stage as text and write nothing: {', '.join(STAGES)}")
    c.set_defaults(run=_compile)

    k = commands.add_parser(
        "check",
        formatter_class=raw,
        help="say what is wrong with programs",
        description="Prints every error and warning; nothing where there is none. Exits with 1 if there is an error, with 2 for a\n"
        "file that cannot be read.",
        epilog="examples:\n  rnndsl check *.rnn\n  rnndsl check --json gru.rnn\n  cat gru.rnn | rnndsl check -\n",
    )
    k.add_argument("files", nargs="+", metavar="FILE", help="a .rnn file, or - for standard input")
    k.set_defaults(run=_check)
    for command in (c, k):
        command.add_argument("--json", action="store_true", help="print diagnostics as JSON on standard output")

    f = commands.add_parser(
        "fmt",
        formatter_class=raw,
        help="put programs in the canonical style",
        description="Rewrites programs in the canonical style and names those that changed. Only blanks and line ends change, never the\n"
        "meaning; comments stay where they are. A program with a syntax error is reported and left alone. Exits with 1 if there was\n"
        "one, with 2 for a file that cannot be read or written. docs/editors.md states the style.",
        epilog="examples:\n  rnndsl fmt *.rnn\n  rnndsl fmt --check *.rnn     changes nothing; exits with 1 if a file is in another style\n"
        "  rnndsl fmt --diff gru.rnn    shows what would change\n  cat gru.rnn | rnndsl fmt -\n",
    )
    f.add_argument("files", nargs="+", metavar="FILE", help="a .rnn file, or - for standard input, formatted to standard output")
    f.add_argument("--check", action="store_true", help="write nothing; name the files that would change, and exit with 1 if there are any")
    f.add_argument("--diff", action="store_true", help="write nothing; print what would change as a diff")
    f.set_defaults(run=_fmt, json=False)

    e = commands.add_parser(
        "explain",
        formatter_class=raw,
        help="say what the compiler finds in the equations",
        description="Prints a page a cell: what is computed once, what for all steps at once, the components of the recurrence with\n"
        "their family, structure and Jacobian, what a step costs, and the schedule that a model predicts. docs/explain.md explains it.",
        epilog="examples:\n  rnndsl explain gru.rnn\n  rnndsl explain gru.rnn --shape 8,4096 --size H=256 D=64\n"
        "  rnndsl explain cells.rnn --cell GRU --json\n  rnndsl explain gru.rnn --latex > gru.tex\n"
        "  rnndsl explain gru.rnn --picture gru.svg\n",
    )
    e.add_argument("file", metavar="FILE", help="a .rnn file, or - for standard input")
    e.add_argument("--cell", metavar="NAME", help="this cell alone")
    e.add_argument("--shape", metavar="B,T", help="sequences and steps of a call: the schedule for them")
    e.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=256", help="sizes of the cell; counts become numbers")
    form = e.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print plain data")
    form.add_argument("--latex", action="store_true", help="print equations and Jacobian for a document with amsmath")
    form.add_argument("--picture", metavar="OUT", help="draw states, streams and the Jacobian's sparsity: a .png or .svg file")
    e.set_defaults(run=_explain)

    v = commands.add_parser(
        "verify",
        formatter_class=raw,
        help="check the layers of a cell: every backend, gradients, Jacobian, states carried on, resets",
        description="Prints a page a cell with a verdict a line: each backend that runs here against the reference and that against the equations,\n"
        "gradients, the Jacobian, calls that must go together, and how fast. Exits with 1 if a check failed. docs/verify.md explains it.",
        epilog="examples:\n  rnndsl verify gru.rnn\n  rnndsl verify cells.rnn --cell GRU --size H=33 --json\n"
        "  rnndsl verify gru.rnn --backend cpu --dtype float32,bfloat16\n"
        "  TRITON_INTERPRET=1 rnndsl verify para_gru.rnn --backend triton      without a GPU\n",
    )
    v.add_argument("file", metavar="FILE", help="a .rnn file, or - for standard input")
    v.add_argument("--cell", metavar="NAME", help="this cell alone")
    v.add_argument("--backend", metavar="NAMES", help="of reference,cpu,triton (default: those that can run the cell here)")
    v.add_argument("--dtype", default="float64,float32,bfloat16,float16", metavar="NAMES", help="of the inputs (default: all four)")
    v.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=33", help="sizes of the cell (default: small odd ones)")
    v.add_argument("--seed", default="0", metavar="N", help="of weights and inputs (default 0)")
    v.add_argument("--json", action="store_true", help="print plain data")
    v.set_defaults(run=_verify)

    b = commands.add_parser(
        "bench",
        formatter_class=raw,
        help="time a cell here, next to PyTorch's loop, torch.compile, torch.nn, and what the machine can do",
        description="Times a cell on this machine: our backends, the PyTorch loop, the loop with a compiled step, torch.nn where it has the\n"
        "cell, pararnn-torch where it is installed and has it. All in turn, in one run. docs/bench.md says what is measured and how.",
        epilog="examples:\n  rnndsl bench gru.rnn\n  rnndsl bench gru.rnn --shape 16,256 --size H=512 --against loop,nn\n"
        "  rnndsl bench gru.rnn --direction forward --scope step --json\n"
        "  rnndsl bench gru.rnn --over T=64,256,1024 --picture times.svg\n",
    )
    b.add_argument("file", metavar="FILE", help="a .rnn file, or - for standard input")
    b.add_argument("--cell", metavar="NAME", help="this cell; needed where the file has several")
    b.add_argument("--shape", metavar="B,T", help="sequences and steps of a call (default 4,1024)")
    b.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=256", help="sizes of the cell (default D=64 H=256 N=4, others 64)")
    b.add_argument("--dtype", default="float32", metavar="TYPE", help="float32 (default), float64, bfloat16 or float16")
    b.add_argument("--against", metavar="NAMES", help="of loop,compile,nn,pararnn (default: all of them)")
    b.add_argument("--backends", metavar="NAMES", help="of cpu,triton (default: those that can run the cell)")
    b.add_argument("--direction", metavar="NAMES", help="of forward,both (default: both of them)")
    b.add_argument("--scope", metavar="NAMES", help="of recurrence,layer,step (default: all of them)")
    b.add_argument("--repeats", metavar="N", help="rounds (default: up to 20, fewer where they are slow)")
    b.add_argument("--threads", metavar="N", help="threads of PyTorch and of the kernels")
    b.add_argument("--over", metavar="T=64,256", help="repeat it for these values of T, B or a size")
    b.add_argument("--picture", metavar="OUT", help="draw time against what --over varies: a .png or .svg file")
    b.add_argument("--json", action="store_true", help="print every sample as plain data")
    b.set_defaults(run=_bench)

    u = commands.add_parser(
        "tune",
        formatter_class=raw,
        help="time the ways to cut a cell's Triton kernels on the GPU at hand, and keep the fastest",
        description="Times the ways to cut the Triton kernels of each recurrence, forwards and backwards, on the GPU at hand, and keeps the\n"
        "fastest for calls of about this shape on such a GPU: layers take them from then on. docs/tune.md says more.",
        epilog="examples:\n  rnndsl tune para_gru.rnn --shape 8,4096\n  rnndsl tune para_gru.rnn --shape 8,4096 --size D=64 H=256 --dtype bfloat16\n"
        "  rnndsl tune para_gru.rnn --shape 1,65536 --direction forward --json\n",
    )
    u.add_argument("file", metavar="FILE", help="a .rnn file, or - for standard input")
    u.add_argument("--cell", metavar="NAME", help="this cell; needed where the file has several")
    u.add_argument("--shape", metavar="B,T", required=True, help="sequences and steps of a call")
    u.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=256", help="sizes of the cell (default D=64 H=256 N=4, others 64)")
    u.add_argument("--dtype", default="float32", metavar="TYPE", help="of the streams: float32 (default), bfloat16 (as under autocast) or float64")
    u.add_argument("--direction", metavar="NAMES", help="forward: forward kernels alone; both (default): backward kernels too")
    u.add_argument("--json", action="store_true", help="print every sample as plain data")
    u.set_defaults(run=_tune)

    n = commands.add_parser(
        "new",
        formatter_class=raw,
        help="write a cell to start from",
        description="Writes NAME.rnn, a small commented cell.",
        epilog="example:\n  rnndsl new my_cell\n",
    )
    n.add_argument("name", metavar="NAME", help="the file's name, with or without .rnn")
    n.set_defaults(run=_new)

    v = commands.add_parser(
        "lsp",
        formatter_class=raw,
        help="serve an editor: errors as you type, hovers, definitions, completions, formatting",
        description="Speaks the language server protocol on standard input and output; an editor starts it. Needs rnndsl[lsp].\n"
        "docs/editors.md says how to set up yours.",
        epilog="example:\n  rnndsl lsp      the command to give your editor for .rnn files\n",
    )
    v.add_argument("--stdio", action="store_true", help="what it does anyway; some editors add it")
    v.set_defaults(run=_lsp)

    s = commands.add_parser(
        "cache",
        formatter_class=raw,
        help="list the built kernels, or remove them",
        description="Lists the kernels that were built and are kept for the next time. docs/cpu.md says where. What rnndsl tune measured\n"
        "lies there too, in tuned.json, but is not built again by itself: --clear leaves it.",
        epilog="examples:\n  rnndsl cache\n  rnndsl cache --clear      they are built again when they are needed\n",
    )
    s.add_argument("--clear", action="store_true", help="remove the kernels, and nothing that was measured")
    s.add_argument("--json", action="store_true", help="print plain data")
    s.set_defaults(run=_cache)
    return main


def _read(name: str) -> Source:
    return api.decode(_bytes(name), "<stdin>" if name == "-" else Path(name).name)


def _bytes(name: str) -> bytes:
    """What a file holds, up to the limit. Raises Misuse where it cannot be read."""
    if name == "-" and sys.stdin is None:
        raise Misuse("standard input is closed")
    try:
        return read_stream(sys.stdin.buffer, api.MAX_BYTES) if name == "-" else read_file(name, api.MAX_BYTES)
    except IsADirectoryError:
        hint = "" if name == "-" else f"; name the files in it, as in {Path(name) / '*.rnn'}"
        raise Misuse(f"{'standard input' if name == '-' else name}: is a directory{hint}") from None
    except OSError as e:
        raise Misuse(_failed("standard input" if name == "-" else name, e)) from None
    except ValueError as e:  # a NUL in the name
        raise Misuse(f"{name!r}: {e}") from None


def _of_file(problem: OSError) -> Exception:
    """What to raise for an error of the system's: Misuse for one about a file, else the error: standard output cannot be written."""
    return Misuse(_failed(problem.filename, problem)) if problem.filename else problem


def _failed(what: object, problem: OSError) -> str:
    return f"{what}: {(problem.strerror or str(problem)).lower()}"


def _colour() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _report(found: list[Found], as_json: bool) -> None:
    """Prints diagnostics: text on standard error, JSON on standard output."""
    if as_json:
        data = {"version": JSON_VERSION, "diagnostics": [as_data(d, s) for d, s in found]}
        print(json.dumps(data, indent=2))
        return
    for diagnostic, source in found:
        print(render(diagnostic, source, _colour()), end="\n\n", file=sys.stderr)
    errors = sum(d.severity == "error" for d, _ in found)
    if errors:
        print(f"{errors} error{'s' * (errors != 1)}", file=sys.stderr)


def _shown(name: str, found: Iterable[Diagnostic], text: str) -> list[Found]:
    """Diagnostics under the name that the command line gave the program."""
    source = Source("<stdin>" if name == "-" else name, text)
    return [(d, source) for d in found]


def _checked(name: str) -> tuple[compiler.Checked | None, list[Found]]:
    """A checked program, or None; and what there is to say of it."""
    try:
        result = compiler.checked(_read(name))
        return result, _shown(name, result.warnings, result.program.source.text)
    except RnnError as e:
        return None, _shown(name, e.diagnostics, e.source.text)


def _check(options: argparse.Namespace) -> int:
    return _each(options, _checked, lambda name, result: [])


def _fmt(options: argparse.Namespace) -> int:
    from rnndsl.tools.fmt import Formatted, format_bytes, replace_file

    changed: list[str] = []

    def read(name: str) -> tuple[Formatted | None, list[Found]]:
        try:
            return format_bytes(_bytes(name), "<stdin>" if name == "-" else name), []
        except RnnError as e:
            return None, _shown(name, e.diagnostics, e.source.text)

    def act(name: str, result: Formatted) -> list[Found]:
        if result.changed:
            changed.append(name)
        if options.diff:
            _print(result.diff())
        elif options.check:
            _print(f"would format {result.name}\n" if result.changed else "")
        elif name == "-":
            _print(result.after.decode())
        elif result.changed:
            try:
                replace_file(Path(name), result.after)
            except OSError as e:
                raise Misuse(_failed(name, e)) from None
            print(f"formatted {name}")
        return []

    status = _each(options, read, act)
    return status or int(options.check and bool(changed))


def _compile(options: argparse.Namespace) -> int:
    if options.output not in (None, "-") and len(options.files) > 1:
        raise Misuse("-o names one file, but there are several programs; leave it out to write each beside its program")
    if options.json and (options.output == "-" or (options.output is None and "-" in options.files)):
        raise Misuse("--json and the module cannot both go to standard output; name a file with -o")
    if options.dump and (options.output or options.json):
        raise Misuse("--dump prints a stage; it goes with neither -o nor --json")
    written: dict[Path, str] = {}
    programs = [Path(n) for n in options.files if n != "-"]

    def write(name: str, result: compiler.Checked) -> list[Found]:
        try:
            api.require_cells(result.program)
        except RnnError as e:
            return _shown(name, e.diagnostics, e.source.text)
        if options.dump:
            from rnndsl.tools.dump import dump

            _print(dump(result.program.source, options.dump, options.standalone))
            return []
        text = compiler.module(result.program, options.standalone)
        if options.output == "-" or (options.output is None and name == "-"):
            _print(text)
            return []
        out = Path(options.output) if options.output else _module_path(Path(name))
        if (other := next((n for o, n in written.items() if o == out or same_file(o, [out])), None)) is not None:
            raise Misuse(f"{name}: its module would overwrite that of {other}, {out}; compile it by itself with -o")
        if same_file(out, programs):
            raise Misuse(f"{out} is the program itself; name another file with -o")
        written[out] = name
        _write_module(out, text)
        if not options.json:
            print(f"wrote {out}")
        return []

    return _each(options, _checked, write)


def _explain(options: argparse.Namespace) -> int:
    from rnndsl.tools import Unfit
    from rnndsl.tools.explain import explain, parse_shape, parse_sizes
    from rnndsl.tools.picture import NoMatplotlib

    try:
        shape, sizes = parse_shape(options.shape), parse_sizes(options.size)
        source = _read(options.file)
        api.require_cells(compiler.checked(source).program)
        found = explain(source, options.cell, shape, sizes)
        if options.json:
            print(json.dumps(found.data, indent=2))
        elif options.picture:
            if same_file(Path(options.picture), [Path(options.file)]):
                raise Unfit(f"{options.picture} is the program itself; name another file")
            if len(found.cells) > 1:
                raise Unfit(f"a picture shows one cell; choose one with --cell: {', '.join(c.name for c in found.cells)}")
            found.cells[0].picture(options.picture)
            print(f"wrote {options.picture}")
        else:
            _print((found.latex if options.latex else found.text) + "\n")
    except RnnError as e:
        _report(_shown(options.file, e.diagnostics, e.source.text), False)
        return 1
    except OSError as e:
        raise _of_file(e) from None
    except (Unfit, NoMatplotlib) as e:
        raise Misuse(e) from None
    return 0


def _lsp(options: argparse.Namespace) -> int:
    try:
        from rnndsl.tools.lsp.server import serve
    except ModuleNotFoundError as e:
        if (e.name or "").split(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise Misuse('the language server needs pygls 2: pip install "rnndsl[lsp]"') from None
    if sys.stdin.isatty():
        _complain("lsp waits for an editor to speak to it; Ctrl-D ends it")
    serve()
    return 0


def _cache(options: argparse.Namespace) -> int:
    from rnndsl.cache_folder import cache_folder
    from rnndsl.tools.cache import as_data, clear, entries, listing, summary

    try:
        folder = cache_folder()
        found = clear(folder) if options.clear else entries(folder)
    except OSError as e:
        raise Misuse(f"{e.filename}: {(e.strerror or str(e)).lower()}" if e.filename else e) from None
    if options.json:
        print(json.dumps({"version": JSON_VERSION, "cleared": options.clear, **as_data(folder, found)}, indent=2))
    elif options.clear:
        print(f"removed {summary(found)} from {folder}")
    else:
        _print(listing(folder, found))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from rnndsl.tools import Unfit
    from rnndsl.tools.verify.command import verify

    try:
        return verify(options, _read(options.file))
    except RnnError as e:
        _report([(d, Source("<stdin>" if options.file == "-" else options.file, e.source.text)) for d in e.diagnostics], False)
        return 1
    except Unfit as e:
        raise Misuse(e) from None


def _bench(options: argparse.Namespace) -> int:
    from rnndsl.tools import Unfit
    from rnndsl.tools.bench.command import bench
    from rnndsl.tools.picture import NoMatplotlib

    if options.picture and same_file(Path(options.picture), [Path(options.file)]):
        raise Misuse(f"{options.picture} is the program itself; name another file")
    try:
        return bench(options, _read(options.file))
    except RnnError as e:
        _report(_shown(options.file, e.diagnostics, e.source.text), False)
        return 1
    except OSError as e:
        raise _of_file(e) from None
    except (Unfit, NoMatplotlib) as e:
        raise Misuse(e) from None


def _tune(options: argparse.Namespace) -> int:
    from rnndsl.tools import Unfit
    from rnndsl.tools.tune.command import tune

    try:
        return tune(options, _read(options.file))
    except RnnError as e:
        _report([(d, Source("<stdin>" if options.file == "-" else options.file, e.source.text)) for d in e.diagnostics], False)
        return 1
    except OSError as e:
        raise _of_file(e) from None
    except Unfit as e:
        raise Misuse(e) from None


def _each(
    options: argparse.Namespace, read: Callable[[str], tuple[Read | None, list[Found]]], act: Callable[[str, Read], list[Found]]
) -> int:
    """Reads each program and acts on the good ones; then reports on all of them. A bad one hides no other."""
    if options.files.count("-") > 1:
        raise Misuse("- stands for standard input and can be given once")
    found: list[Found] = []
    misuses: list[Misuse] = []
    for name in options.files:
        try:
            result, diagnostics = read(name)
            found.extend(diagnostics)
            if result is not None:
                found.extend(act(name, result))
        except Misuse as e:
            misuses.append(e)
    _report(found, options.json)
    for misuse in misuses:
        _complain(misuse)
    return 2 if misuses else int(any(d.severity == "error" for d, _ in found))


def _module_path(program: Path) -> Path:
    """Where the module of a program goes: beside it, under a name that Python can import."""
    stem = "".join(c if c.isalnum() or c == "_" else "_" for c in program.stem)
    if not stem.isidentifier():
        stem = f"cell_{stem}"
    if keyword.iskeyword(stem) or stem in sys.stdlib_module_names or stem in ("torch", "rnndsl"):
        stem += "_"  # random.py would hide Python's own module from whatever stands beside it
    return program.with_name(f"{stem}.py")


def _print(text: str) -> None:
    """Prints a module, in UTF-8 whatever the terminal's encoding, as Python expects its files."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _write_module(out: Path, text: str) -> None:
    """Writes a module. Raises Misuse where it cannot, and where it would overwrite a file that was not made here."""
    try:
        if out.is_file() and out.stat().st_size:
            with out.open(encoding="utf-8", errors="replace") as there:
                if not _MADE.fullmatch(there.readline(1000)):
                    raise Misuse(f"{out} exists and was not made by rnndsl; name another file with -o")
        write_whole(out, text.encode())
    except (OSError, RuntimeError) as e:  # RuntimeError: links that lead in a circle
        raise Misuse(_failed(out, e) if isinstance(e, OSError) else f"{out}: {e}".lower()) from None


_STARTER = '''\
# A cell to start from. Compile it:  rnndsl compile {file}
# Then, in Python:                   from {module} import {name}
#                                    layer = {name}(D=64, H=128)
#                                    y, state = layer(x)            # x: [B, T, 64], y: [B, T, 128]

{header:<34} # D and H are sizes: the constructor's arguments
  "What this cell is."
  input x: [D]                     # one value a step
  state h: [H]                     # carried from step to step; starts at 0
  param W_z, W_n: [H, D]           # learned
  param a_z, a_n, b_z, b_n: [H]
  z = sigmoid(W_z @ x + a_z * h[t-1] + b_z)  # @ is the matrix product, * is elementwise
  n = tanh(W_n @ x + a_n * h[t-1] + b_n)
  h[t] = (1 - z) * h[t-1] + z * n  # h[t-1] is the old value, h[t] the new one
  output h
'''


def _new(options: argparse.Namespace) -> int:
    path = Path(options.name)
    path = path if path.suffix == ".rnn" else path.with_name(path.name + ".rnn")
    name = "".join(part[:1].upper() + part[1:] for part in "".join(c if c.isalnum() else " " for c in path.stem).split())
    if not name.isidentifier() or keyword.iskeyword(name):
        raise Misuse(f"`{path.stem}` does not make a class name; choose one that begins with a letter, as in my_cell")
    text = _STARTER.format(header=f"cell {name}(D, H):", file=path.name, module=_module_path(path).stem, name=name)
    try:
        write_new(path, api.format(text).encode())
    except FileExistsError:
        raise Misuse(f"{path} exists already; choose another name") from None
    except OSError as e:
        raise Misuse(_failed(path, e)) from None
    print(f"wrote {path}; next: rnndsl compile {path}")
    return 0
