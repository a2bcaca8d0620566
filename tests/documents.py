"""The code blocks of README and docs: which there are, and a page run from top to bottom as its reader would.

A page is a story, told in an empty folder that holds `examples`, and the examples themselves:

* `rnn`: a program. It has no errors and is in the canonical style. With a title it is written to the file of that name; such a program
  may be wrong, if the next block is a command that shows the error.
* `python`: run, in one namespace a page. With a title it is written to a file instead.
* `text`, right behind a `python` block: what that prints.
* `console`: commands behind `$ `, each with what it prints. A line `…` stands for any lines, a `…` in a line for any text.
* `sh`, `bash`: commands without what they print; they end well.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import rnndsl
from rnndsl.runtime.backend import BACKENDS
from tests.forks import PYTHON

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = ("rnn", "python", "console", "sh", "bash")

# Blocks that are not run, by page and a part of their text: why.
NOT_RUN = {
    ("what_cells_learn.md", "rnndsl explore Elman"): "an hour of training; test_documents.py checks the tables",
    ("what_cells_learn.md", "--task parity,keep_nth"): "half an hour of training; test_documents.py checks the tables",
    ("what_cells_learn.md", "--task hop1,hop2,mqar"): "an hour of training; test_documents.py checks the tables",
    ("what_cells_learn.md", "--task text"): "half an hour of training; test_documents.py checks the tables",
    ("what_cells_learn.md", "--task lorenz"): "minutes of training; test_documents.py checks the tables",
    ("what_cells_learn.md", "rnndsl explore examples/explore"): "minutes of training; test_documents.py checks the tables",
    ("index.md", 'pip install ".[cpu,plot]"'): "installs the project",
    ("README.md", "python examples/sequential_digits.py"): "installs the project; test_digits_learn runs the example",
    ("README.md", "&& pytest -q"): "installs the project and runs these tests, as CI does",
    ("bench.md", "rnndsl bench gru.rnn"): "minutes of measuring; tests/test_bench.py runs the command",
    ("benchmarks.md", "python benchmarks/cpu.py"): "minutes of measuring; test_documents.py checks the tables",
    ("cpu.md", "rnndsl cache --clear"): "it would empty the cache; tests/test_build.py runs the command",
    ("editors.md", "npm install"): "it fetches packages and needs Node.js and VS Code",
    ("editors.md", "jq -r"): "tests/test_editors.py runs it, where jq is installed",
    ("explore.md", "rnndsl explore gru.rnn"): "minutes of training; tests/test_explore.py runs the command",
    ("explore.md", "--show parity --page"): "needs a study; tests/test_explore_board.py runs the command",
    ("explore.md", "--study gates --picture"): "minutes of training; benchmarks/results/explore has what came of it",
    ("explore.md", "rnndsl explore ShallowPLRNN"): "minutes of training; tests/test_explore.py trains forced cells",
    ("explore.md", "sbatch"): "needs a cluster",
    ("explore.md", "import submitit"): "needs a cluster",
    ("index.md", "mkdocs build"): "it installs; tests/test_site.py builds the site, CI all of it",
    ("language_models.md", "import HubLanguageModel"): "needs huggingface_hub; tests/test_nn_models.py runs it, where that is installed",
    ("language_models.md", "import rnndsl.nn.transformers"): "needs transformers; tests/test_nn_models.py runs it, where that is installed",
    ("long_sequences.md", "init_process_group"): "needs ranks; tests/test_ranks.py calls layers so",
    ("long_sequences.md", "init_device_mesh"): "needs ranks; tests/test_ranks.py has such a mesh",
    ("tutorial.md", "pip install"): "it installs, as CI does",
}
# What a console block shows of these commands need not come out to the digit: how far its decimal numbers may lie off, and why.
ROUGH = {
    ("tutorial.md", "python train.py"): (0.1, "accuracies depend a little on the processor"),
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `number` is that of its first line."""

    page: str
    number: int
    language: str
    title: str
    text: str

    @property
    def why_not_run(self) -> str | None:
        return next((why for (page, part), why in NOT_RUN.items() if page == self.page and part in self.text), None)


_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w*)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE)


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for m in _FENCE.finditer(text):
        title = re.search(r'title="([^"]*)"', m["info"])
        found.append(Block(page.name, text.count("\n", 0, m.start()) + 1, m["language"], title[1] if title else "", m["text"]))
    return found


class Story:
    """A page that is being run, in a folder."""

    def __init__(self, folder: Path):
        self.folder, self.scope = folder, {"__name__": "__main__"}
        self.work = folder / "work"
        self.work.mkdir()
        (self.work / "examples").symlink_to(ROOT / "examples")
        for path in (ROOT / "examples").glob("*.rnn"):
            shutil.copy(path, self.work)
        commands = folder / "bin"
        commands.mkdir()
        for name, call in (("python", shlex.join(PYTHON)), ("rnndsl", shlex.join([*PYTHON, "-m", "rnndsl"]))):
            (commands / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n')
            (commands / name).chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
        for name in ("RNNDSL_BACKEND", "TRITON_INTERPRET"):  # of the tests, not of a reader
            self.environment.pop(name, None)

    def tell(self, page: Path) -> None:
        """Runs the blocks of a page. Raises AssertionError, with the block's place, where one does not do what the page says."""
        blocks = blocks_of(page)
        with contextlib.chdir(self.work), self._as_a_reader():
            for block, following in zip(blocks, [*blocks[1:], None], strict=False):
                if block.language in RUN and block.why_not_run is None:
                    try:
                        getattr(self, f"_{block.language}")(block, following)
                    except Exception as e:
                        raise AssertionError(f"{block.page}:{block.number}: {e}") from e

    @contextlib.contextmanager
    def _as_a_reader(self):
        """Modules of the folder can be imported, and are forgotten afterwards, and so are backends that a page registers. The backend is the one
        that a reader gets."""
        known = dict(BACKENDS)
        sys.path.insert(0, str(self.work))
        wish = os.environ.pop("RNNDSL_BACKEND", None)
        try:
            yield
        finally:
            BACKENDS.clear()
            BACKENDS.update(known)
            if wish is not None:
                os.environ["RNNDSL_BACKEND"] = wish
            sys.path.remove(str(self.work))
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", None)).startswith(str(self.work)):
                    del sys.modules[name]

    def _rnn(self, block: Block, following: Block | None) -> None:
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        if "cell " not in block.text:
            return  # a part of one
        if any(d.severity == "error" for d in rnndsl.check(block.text, block.title or block.page)):
            shown = following is not None and following.language == "console" and "error[" in following.text
            assert block.title and shown, "the program is wrong, and no command shows it"
        else:
            assert rnndsl.format(block.text) == block.text, "the program is not in the canonical style"

    def _python(self, block: Block, following: Block | None) -> None:
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
            return
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, f"{block.page}:{block.number}", "exec"), self.scope)
        if following is not None and following.language == "text":
            assert matches(following.text, printed.getvalue()), f"it printed\n{printed.getvalue()}"

    def _console(self, block: Block, following: Block | None) -> None:
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
            got = self._command(command)
            slack, _ = ROUGH.get((block.page, command), (0.0, ""))
            assert matches(shown, got, slack), f"`{command}` printed\n{got}"

    def _sh(self, block: Block, following: Block | None) -> None:
        self._command("set -e\n" + block.text, check=True)

    _bash = _sh

    def _command(self, command: str, check: bool = False) -> str:
        done = subprocess.run(
            command, shell=True, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout


_NUMBER = re.compile(r"\d+\.\d+")


def matches(shown: str, got: str, slack: float = 0.0) -> bool:
    """Whether an output is what a page shows of it: `…` stands for anything, blanks at the ends of lines do not count."""
    lines = [re.escape(line.rstrip()).replace("…", ".*") for line in shown.rstrip("\n").split("\n")]
    pattern = "".join("(?:.*\n)*" if line == ".*" else line + "\n" for line in lines)
    text = "".join(line.rstrip() + "\n" for line in got.rstrip("\n").split("\n"))
    if slack:
        pairs = list(zip(_NUMBER.findall(shown), _NUMBER.findall(text), strict=False))
        near = all(abs(float(a) - float(b)) <= slack for a, b in pairs)
        return near and re.fullmatch(re.sub(r"\d+\\\.\d+", r"\\d+\\.\\d+", pattern), text) is not None
    return re.fullmatch(pattern, text) is not None
