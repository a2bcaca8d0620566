"""`rnndsl new`: writes a cell to start from."""

import keyword
from argparse import Namespace
from pathlib import Path
from shlex import quote
from typing import Any

from rnndsl import api
from rnndsl.cli.module_file import module_path
from rnndsl.cli.output import failed
from rnndsl.cli.status import Misuse
from rnndsl.files import write_new

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


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "new",
        help="write a cell to start from",
        description="Writes NAME.rnn, a small commented cell.",
        epilog="example:\n  rnndsl new my_cell\n",
    )
    p.add_argument("name", metavar="NAME", help="the file's name, with or without .rnn")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Writes the file."""
    path = Path(options.name)
    if not path.name or not path.name.isprintable():
        raise Misuse(f"{options.name!r} is no name of a file; choose one such as my_cell")
    path = path if path.suffix == ".rnn" else path.with_name(path.name + ".rnn")
    name = "".join(part[:1].upper() + part[1:] for part in "".join(c if c.isalnum() else " " for c in path.stem).split())
    if not name.isidentifier() or keyword.iskeyword(name):
        raise Misuse(f"`{path.stem}` does not make a class name; choose one that begins with a letter, as in my_cell")
    text = _STARTER.format(header=f"cell {name}(D, H):", file=path.name, module=module_path(path).stem, name=name)
    try:
        write_new(path, api.format(text).encode())
    except FileExistsError:
        raise Misuse(f"{path} exists already; choose another name") from None
    except OSError as e:
        raise Misuse(failed(path, e)) from None
    print(f"wrote {path}; next: rnndsl compile {quote(str(path))}")
    return 0
