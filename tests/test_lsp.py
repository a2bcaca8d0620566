"""The language server: driven over its standard input and output as an editor does, and its parts by themselves."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnndsl
from rnndsl import cli
from rnndsl.checks.draws import DISTRIBUTIONS, INITIALISERS
from rnndsl.diagnostics import RnnError, Source
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax.keywords import KEYWORDS
from rnndsl.tools.lsp import meanings
from rnndsl.tools.lsp.complete import complete
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.hover import hover
from rnndsl.tools.lsp.positions import Positions
from tests.choice import some
from tests.random_cells import cells, damage
from tests.test_format import rewritten
from tests.zoo_cells import ZOO

ROOT = Path(__file__).resolve().parent.parent
GRU = (ROOT / "examples" / "gru.rnn").read_text(encoding="utf-8")
URI = "file:///somewhere/my%20cell.rnn"
WAIT = 60  # seconds, for a machine that is busy


class Editor:
    """A client of the server in another process; `with` shuts it down as the protocol says."""

    def __init__(self, *arguments: str, encodings: list[str] | None = None):
        pytest.importorskip("pygls", reason="in the test extra")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "rnndsl", "lsp", *arguments]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.received: queue.Queue[dict] = queue.Queue()
        self.kept: list[dict] = []
        self.logged: list[bytes] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()
        self.number = 0
        self.version = 0
        general = {"general": {"positionEncodings": encodings}} if encodings else {}
        self.capabilities = self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": general})["capabilities"]
        self.tell("initialized", {})

    def _read(self) -> None:
        while head := self.process.stdout.readline():
            length = int(head.split(b":")[1])
            while self.process.stdout.readline().strip():
                pass
            self.received.put(json.loads(self.process.stdout.read(length)))

    def _listen(self) -> None:
        self.logged.extend(iter(self.process.stderr.readline, b""))

    def _send(self, message: dict) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self.process.stdin.flush()

    def next(self) -> dict:
        """The next message of the server."""
        for _ in range(WAIT):
            with contextlib.suppress(queue.Empty):
                return self.received.get(timeout=1)
            if self.process.poll() is not None:
                break
        raise AssertionError(f"the server says nothing; its log:\n{b''.join(self.logged).decode()}")

    def tell(self, method: str, params: dict | None) -> None:
        self._send({"method": method, "params": params})

    def ask(self, method: str, params: dict | None) -> Any:
        """The answer to a request; what the server says in between is kept for later."""
        self.number += 1
        self._send({"id": self.number, "method": method, "params": params})
        while True:
            message = self.next()
            if message.get("id") == self.number:
                assert "error" not in message, message["error"]
                return message["result"]
            self.kept.append(message)

    def diagnostics(self) -> list[dict]:
        """What the server says of the newest text."""
        while True:
            message = self.kept.pop(0) if self.kept else self.next()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"].get("version") == self.version:
                return message["params"]["diagnostics"]

    def open(self, text: str) -> list[dict]:
        self.version += 1
        document = {"uri": URI, "languageId": "rnn", "version": self.version, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        return self.diagnostics()

    def type(self, text: str) -> None:
        """The whole text anew, as the server asks for it."""
        self.version += 1
        document = {"uri": URI, "version": self.version}
        self.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})

    def change(self, text: str) -> list[dict]:
        self.type(text)
        return self.diagnostics()

    def show(self, text: str) -> list[dict]:
        """A text in the file, which is opened where it is not open yet."""
        return self.change(text) if self.version else self.open(text)

    def about(self, what: str, line: int, character: int) -> Any:
        place = {"textDocument": {"uri": URI}, "position": {"line": line, "character": character}}
        return self.ask(f"textDocument/{what}", place)

    def format(self) -> Any:
        options = {"tabSize": 4, "insertSpaces": False}
        return self.ask("textDocument/formatting", {"textDocument": {"uri": URI}, "options": options})

    def __enter__(self) -> "Editor":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self.ask("shutdown", None)
            self.tell("exit", None)
            self.process.wait(WAIT)
        self.process.kill()
        self.process.wait()


def place(text: str, word: str, units: str = "utf-16") -> tuple[int, int]:
    """Where a word first stands, as an editor counts."""
    return Positions(Source("", text), units).of(text.index(word))


def span(r: dict) -> tuple[int, int, int, int]:
    return r["start"]["line"], r["start"]["character"], r["end"]["line"], r["end"]["character"]


def applied(text: str, edits: list[dict]) -> str:
    """A text after the edits of an answer."""
    positions = Positions(Source("", text))
    for e in sorted(edits, key=lambda e: span(e["range"]), reverse=True):
        line, character, end_line, end_character = span(e["range"])
        text = text[: positions.offset(line, character)] + e["newText"] + text[positions.offset(end_line, end_character) :]
    return text


# Over standard input and output


@pytest.fixture(scope="module")
def editor():
    with Editor() as found:
        yield found


def test_a_session_from_beginning_to_end():
    editor = Editor("--stdio")
    offered = editor.capabilities
    assert offered["textDocumentSync"]["change"] == 1 and offered["positionEncoding"] == "utf-16"
    assert all(offered[f"{what}Provider"] for what in ("hover", "definition", "completion", "documentFormatting", "references", "rename", "documentSymbol", "codeAction"))
    assert editor.open(GRU) == []
    broken = GRU.replace("R_z @ h[t-1]", "R_z @ h[t-1")
    assert [d["code"] for d in editor.change(broken)] == ["unbalanced"]
    assert editor.change(GRU) == []
    assert "Recurrence of **h**" in editor.about("hover", *place(GRU, "h[t-1]"))["contents"]["value"]
    assert editor.about("definition", *place(GRU, "h[t-1]"))["uri"] == URI
    assert editor.about("completion", *place(GRU, "h[t-1]"))
    assert editor.format() == []
    editor.tell("textDocument/didClose", {"textDocument": {"uri": URI}})
    assert editor.next()["params"] == {"uri": URI, "diagnostics": []}
    assert editor.about("hover", 0, 0) is None and editor.about("definition", 0, 0) is None and editor.format() is None
    assert editor.ask("shutdown", None) is None
    editor.tell("exit", None)
    assert editor.process.wait(WAIT) == 0
    assert editor.logged == []


def test_diagnostics(editor):
    text = GRU.replace("param b_r, b_z, b_n, c_n: [H]", "param b_r, b_z, b_n, c_n: [D]").replace("W_r @ x", "W_r @ y")
    (found,) = editor.show(text)
    line, character = place(text, "y + R_r")
    assert span(found["range"]) == (line, character, line, character + 1)
    assert (found["severity"], found["code"], found["source"]) == (1, "undefined", "rnndsl")
    assert found["message"] == "`y` is not defined: nothing declares this name\nhelp: declare it, as in `param y: [H]`, or assign it on a line above"
    (found,) = editor.change(GRU + "  output h\n")
    related = found["relatedInformation"][0]
    assert related["location"]["uri"] == URI and GRU.split("\n")[related["location"]["range"]["start"]["line"]] == "  output h"
    (found,) = editor.change(GRU.replace("c_n: [H]", "c_n, spare: [H]"))
    assert (found["severity"], found["code"], found["tags"]) == (2, "unused", [1])
    assert len(editor.change(GRU.replace("@", "@@"))) == 3
    assert editor.change("") == [] and editor.change(GRU) == []


def test_typing_is_checked_when_it_pauses(editor):
    """Every letter is a change; the text that counts is the last one."""
    editor.show(GRU)
    line = "  z2 = W_z @ x"
    for i in range(len(line)):
        editor.type(GRU + line[: i + 1])
    said = []
    while True:
        message = editor.next()
        said.append(message["params"]["version"])
        if said[-1] == editor.version:
            break
    assert len(said) < len(line)
    assert [d["code"] for d in message["params"]["diagnostics"]] == ["unused"]


def test_the_last_good_analysis_outlives_half_typed_text(editor):
    editor.show(GRU)
    at = place(GRU, "h[t-1]")
    good = editor.about("hover", *at)["contents"]["value"]
    for broken in (GRU + "  z2 = (", GRU + '  "', GRU + "def", GRU.replace("output h", "outpu"), GRU + "\0" * 50, GRU + "cell"):
        editor.type(broken)
        got = editor.about("hover", *at)["contents"]["value"]
        assert got == good + "\n\n*(as of the last text without errors)*"
        assert editor.diagnostics()
    assert editor.change(GRU) == [] and editor.about("hover", *at)["contents"]["value"] == good


def test_every_beginning_of_a_program_is_survived(editor):
    editor.show(GRU)
    text = GRU[GRU.index("cell") :]
    for end in range(0, len(text), 5):
        editor.type(text[:end])
        position = Positions(Source("", text[:end])).of(end)
        editor.about("hover", *position)
        editor.about("definition", *position)
        editor.about("completion", *position)
        editor.format()
    assert editor.change(GRU) == []
    assert not any(b"Traceback" in line for line in editor.logged)


GREEK = """cell Zelle(𝔇, H):  # 𝔇 takes two units
  input χ: [𝔇]
  state 𝛼, h̃: [H]
  param 𝒲: [H, 𝔇]
  𝛼[t] = tanh(𝒲 @ χ + 𝛼[t-1] + 𝓎)
  h̃[t] = 𝛼[t]
  output 𝛼, h̃
"""


@pytest.mark.parametrize("units", ["utf-16", "utf-8", "utf-32"])
def test_positions_are_in_the_units_of_the_editor(units):
    encodings = None if units == "utf-16" else [units, "utf-16"]
    with Editor(encodings=encodings) as editor:
        assert editor.capabilities["positionEncoding"] == units
        (found,) = editor.open(GREEK)
        width = {"utf-16": 2, "utf-8": 4, "utf-32": 1}[units]
        line, character = place(GREEK, "𝓎", units)
        assert span(found["range"]) == (line, character, line, character + width)
        assert character == {"utf-16": 34, "utf-8": 41, "utf-32": 31}[units]
        assert editor.change(GREEK.replace("𝓎", "1")) == []
        line, character = place(GREEK, "𝛼[t-1]", units)
        for inside in (0, width):
            got = editor.about("hover", line, character + inside)
            assert span(got["range"]) == (line, character, line, character + width)
        assert "∂α[t]/∂α[t-1]" in got["contents"]["value"]
        at = place(GREEK, "𝛼, h̃", units)
        assert span(editor.about("definition", line, character)["range"]) == (*at, at[0], at[1] + width)
        editor.type(GREEK.replace("𝓎", "𝒲"))
        line, character = place(GREEK, "𝓎", units)
        items = editor.about("completion", line, character + width)
        edit = next(i["textEdit"] for i in items if i["label"] == "tanh")
        assert span(edit["range"]) == (line, character, line, character + width)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_formatting(editor, end):
    text = end.join(["cell A( D ):", "  input x:[D]   # in", "", "", "  output x"])
    editor.show(text)
    edits = editor.format()
    assert all("\n" not in e["newText"].replace(end, "") for e in edits)
    got = applied(text.replace("\r\n", "\n"), edits).replace("\r\n", "\n")
    assert got == "cell A(D):\n  input x: [D]  # in\n\n  output x\n"
    editor.change(got)
    assert editor.format() == []
    editor.change("cell A(")
    assert editor.format() is None


def test_a_character_that_is_none_is_survived(editor):
    editor.show(GRU)
    assert editor.change(GRU.replace("b_r", "\ud835"))  # half a character, as an editor may send it
    assert editor.change(GRU) == []


def test_without_pygls(tmp_path):
    code = "import sys; sys.modules['pygls'] = None; from rnndsl.cli import main; sys.exit(main(['lsp']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'rnndsl: the language server needs pygls 2: pip install "rnndsl[lsp]"\n'


def test_an_editor_that_goes_away_ends_the_server():
    editor = Editor()
    editor.process.stdin.close()
    editor.process.wait(WAIT)


def test_the_server_imports_no_torch():
    pytest.importorskip("pygls", reason="in the test extra")
    code = f"""
import sys
from rnndsl.tools.lsp import server
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.hover import hover
text = {GRU!r}
assert 'sympy' not in sys.modules and Document("gru.rnn", text).problems == [] and 'sympy' not in sys.modules
assert "Jacobian" in hover(Document("gru.rnn", text), text.index("h[t-1]")).text
assert 'torch' not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help(capsys):
    with pytest.raises(SystemExit):
        cli.main(["lsp", "--help"])
    assert "rnndsl lsp " in capsys.readouterr().out.split("example:")[1]


# Positions


@pytest.mark.parametrize("units", ["utf-8", "utf-16", "utf-32"])
@given(st.text(alphabet="a é細𝛼\u0303\n", max_size=30))
def test_positions_there_and_back(units, text):
    positions = Positions(Source("", text), units)
    places = [positions.of(i) for i in range(len(text) + 1)]
    assert places == sorted(set(places))
    assert [positions.offset(*p) for p in places] == list(range(len(text) + 1))
    code = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}[units]
    for i, (line, character) in enumerate(places):
        before = text[:i].split("\n")
        assert line == len(before) - 1 and character == len(before[-1].encode(code)) // {"utf-8": 1, "utf-16": 2, "utf-32": 4}[units]


def test_positions_that_are_none():
    positions = Positions(Source("", "a𝛼b\nc"))
    assert positions.offset(0, 2) == 1  # inside a character
    assert positions.offset(0, 99) == 3 and positions.offset(7, 0) == 5
    assert positions.of(99) == (1, 1)


# Hover


def hovered(text: str, word: str, nth: int = 0) -> str | None:
    at = -1
    for _ in range(nth + 1):
        at = text.index(word, at + 1)
    found = hover(Document("a.rnn", text), at)
    return found.text if found else None


def code(text: str) -> list[str]:
    """The code blocks of a hover."""
    return [part.split("\n", 1)[1].strip("\n") for part in text.split("```")[1::2]]


def test_hover_of_a_state():
    got = hovered(GRU, "h[t-1]")
    title, jacobian = code(got)
    assert title == "state h: [H]"
    assert "Recurrence of **h**: nonlinear, dense, because `R_r @ h[t-1]` at a.rnn:12 mixes channels." in got
    assert "Stays in [-1, 1] if it starts there." in got and "nothing of it is hoisted" in got
    assert "∂h[t]/∂h[t-1]  = z" in jacobian and "m2        = R_z @ h[t-1]" in jacobian


def test_hover_of_one_of_several_states_shows_its_own_row():
    text = (ROOT / "examples" / "para_lstm.rnn").read_text()
    got = hovered(text, "c[t-1]")
    assert code(got)[0] == "state c: [H]" and "∂c[t]/∂h[t-1]" in got and "∂h[t]" not in got
    assert "o  =" not in got


def test_hover_of_a_local_says_what_is_hoisted():
    got = hovered(GRU, "z = sigmoid")
    assert code(got) == [
        "z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)", "W_z_x = W_z @ x\nz_in = W_z_x + b_z", "R_z_h = R_z @ h[t-1]\nz = sigmoid(z_in + R_z_h)",
    ]  # fmt: skip
    assert "a local, [H]" in got and "Hoisted, for all steps at once:" in got and "At every step, in the recurrence of **h**:" in got
    text = (ROOT / "examples" / "min_gru.rnn").read_text()
    assert "Hoisted: computed for all steps at once, before the recurrence." in hovered(text, "z = sigmoid")
    text = (ROOT / "examples" / "lru.rnn").read_text()
    assert "Computed once a call: it depends on params alone." in hovered(text, "lam =")


@pytest.mark.parametrize(
    ("word", "title", "said"),
    [
        ("GRU(", "cell GRU(D, H)", "- **h**: nonlinear, dense"),
        ("D, H", "D", "a size"),
        ("x: [D]", "input x: [D]", "`W_r @ x` for all steps at once, one [3*H, D] product with the others of `x`"),
        ("W_r,", "param W_r: [H, D]", "learned"),
        ("R_z @", "param R_z: [H, H]", "`R_z @ h[t-1]` at every step"),
        ("sigmoid", "sigmoid(v)", "1 / (1 + exp(-v))"),
        ("state", meanings.FORMS["state"], KEYWORDS["state"]),
        ("t-1]", "t", "the old value of a state"),
    ],
)
def test_hover_of_words(word, title, said):
    got = hovered(GRU, word)
    assert code(got)[0] == title and said in got


def test_hover_of_other_words():
    text = """def spike ( v )=heaviside(v) grad 1
cell A(D, dt=1/(2), L):
  "in words"
  input x: [D]  # state in a comment
  noise m: [D]~bernoulli( .5 )
  param R: [ L;D,D ] ~ normal(0.1)
  v = x * m + dt
  repeat k in 1..L:
    v = R[k].T @ v
  end
  output y = spike(v)
"""
    got = {w: hovered(text, w, n) for w, n in (("spike(v)", 0), ("v )", 0), ("dt", 0), ("m:", 0), ("bernoulli", 0), ("normal", 0), ("R:", 0), ("T @", 0),
                                               ("k]", 0), ("v = R", 0), ("y =", 0))}  # fmt: skip
    assert code(got["spike(v)"]) == ["def spike(v) = heaviside(v) grad 1"]
    assert "an argument of this function" in got["v )"]
    assert code(got["dt"]) == ["dt = 1 / (2)"] and "a hyperparameter" in got["dt"]
    assert code(got["m:"]) == ["noise m: [D] ~ bernoulli(.5)"]
    assert code(got["bernoulli"]) == ["bernoulli(p)"] and code(got["normal"]) == ["normal(mean, std)"]
    assert code(got["R:"]) == ["param R: [L; D, D] ~ normal(0.1)"]
    assert code(got["T @"]) == ["A.T"] and code(got["k]"]) == ["repeat k in 1..L"]
    assert "Computed for all steps at once, after the recurrence." in got["v = R"]  # there is none: for the output
    assert code(got["y ="]) == ["output y"]
    for nothing in ("in words", "state in a", "1..L", "= x"):
        assert hovered(text, nothing) is None


def test_hover_without_any_analysis():
    """A file that was opened broken: what its declarations say is there."""
    text = GRU.replace("output h", "output")
    assert code(hovered(text, "W_z")) == ["param W_z: [H, D]"]
    assert code(hovered(text, "z = sigmoid")) == ["z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)"]
    assert code(hovered("cell A(D):\n  state h: [D", "h")) == ["state h: [D"]
    assert hovered("cell A(D):\n  z = x)]) + 1", "z").startswith("```rnn\nz = x")


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.rnn")), ids=lambda p: p.name)
def test_every_word_of_the_examples_has_a_hover(path):
    text = path.read_text(encoding="utf-8")
    document = Document(path.name, text)
    for token in document.outline.tokens:
        found = hover(document, token.start_pos)
        if token.type == "NAME" or token.isalpha():
            assert found is not None and found.text, token
            assert text[found.span.start : found.span.end] == token
            assert "None" not in found.text and found.text.count("```") % 2 == 0


@pytest.mark.parametrize("name", list(ZOO)[::6])
def test_states_of_published_cells_have_their_component(name):
    document = Document("zoo.rnn", ZOO[name].text)
    states = [s for i in document.outline.items for s in i.names.values() if s.role == "state"]
    assert states and all("Recurrence of **" in hover(document, s.span.start).text for s in states)


def test_the_meanings_cover_the_tables():
    assert set(meanings.FORMS) == set(KEYWORDS)
    assert set(meanings.DRAWS) == set(INITIALISERS) | set(DISTRIBUTIONS)
    for name, (form, about) in [*((n, (row.form, row.means)) for n, row in FUNCTIONS.items()), *meanings.DRAWS.items()]:
        assert form.startswith(name) and about
    for word, form in meanings.FORMS.items():
        assert word in form


# Definition


@pytest.mark.parametrize(
    ("word", "nth", "defined"),
    [
        ("h[t-1]", 0, "h: [H]"), ("h", -1, "h: [H]"), ("W_z", 1, "W_z,"), ("D]", 1, "D, H)"), ("b_z", 1, "b_z, b_n"), ("z *", 0, "z = sig"),
        ("r * (", 0, "r = sig"), ("GRU", 0, None), ("sigmoid", 0, None), ("t-1", 0, None), ("state", 0, None), ("# The", 0, None),
    ],
)  # fmt: skip
def test_definition(word, nth, defined):
    document = Document("a.rnn", GRU)
    at = GRU.rindex(word) if nth < 0 else [i for i in range(len(GRU)) if GRU.startswith(word, i)][nth]
    token = document.outline.word_at(at)
    symbol = document.outline.meaning(token) if token else None
    assert (symbol and symbol.span.start) == (GRU.index(defined) if defined else None)


def test_definition_in_one_of_several_items():
    text = "def f(z) = z\n" + GRU[GRU.index("cell") :] + "\n" + GRU[GRU.index("cell") :].replace("GRU", "Other").replace("tanh", "f") + "def g(z) = f(z)"
    found = Document("a.rnn", text).outline
    for word, at, defined in (
        ("z", text.index("z\n"), 6), ("f", text.index("f(W_n"), 4), ("z", text.rindex("z)"), text.rindex("z) =")), ("f", text.rindex("f(z)"), 4),
        ("h", text.rindex("h\n"), text.rindex("state h") + 6),
    ):  # fmt: skip
        token = found.word_at(at)
        assert token == word and found.meaning(token).span.start == defined


def test_a_statement_that_is_being_typed_hides_no_other():
    text = GRU.replace("r = sigmoid(W_r", "r = sigmoid((W_r")
    found = Document("a.rnn", text).outline
    assert {"r", "z", "n", "h", "W_n", "x", "D"} <= set(found.items[0].names)


# Completion


def choices(text: str) -> dict[str, Any]:
    """What is offered at the mark `|`."""
    at = text.index("|")
    text = text.replace("|", "", 1)
    offered, replaced = complete(Document("a.rnn", text), at)
    assert replaced.end == at and all(len(c.text) for c in offered)
    names = [c.text for c in offered]
    assert len(set(names)) == len(names)
    return {c.text: c for c in offered}


HEAD = """def act(u) = tanh(u)
cell A(D, H, L, dt = 0.1):
  input x: [D]
  state h, c: [H]
  param W: [H, D]
  noise m: [H] ~ normal(0, 1)
  z = W @ x
  c[t] = z
"""


@pytest.mark.parametrize(
    ("typed", "offered", "not_offered"),
    [
        ("  |", "input state param const noise output repeat end cell def h[t] c[t]", "tanh x in inf"),
        ("  ou|", "output", "tanh"),
        ("  y = |", "x W m z D H dt h[t-1] c[t-1] c[t] tanh act inf pi t", "h[t] y A h input u"),
        ("  y = sig|", "sigmoid z", ""),
        ("  y = tanh(W @ x + |", "x W h[t-1] tanh", "output"),
        ("  y = tanh(\n    W @ |", "x", "output"),
        ("  y = h[|", "t-1 t", "x tanh"),
        ("  y = W[|", "x z D", "t-1"),
        ("  y = W.|", "T", "x"),
        ("  param b: [H] ~ |", "zeros ones constant normal uniform kaiming_uniform eye", "bernoulli tanh"),
        ("  param b: [H] ~ uniform(|", "D dt W sqrt pi", "x h[t-1]"),
        ("  noise n: [H] ~ |", "bernoulli normal uniform", "zeros"),
        ("  param b: |", "complex", "D"),
        ("  param b: [|", "D H L", "W tanh x complex"),
        ("  param b: [N; 2*|", "D H L", "x"),
        ("  param b: [H] |", "in", "x"),
        ("  state n: [H] = |", "W inf sqrt", "x z h[t-1]"),
        ("  param |", "", "D x in"),
        ("  output |", "h c h[t] h[t-1] c[t] z x", "output"),
        ("  output y = |", "h[t] c[t] z x tanh", "h"),
        ("  repeat |", "", "in x"),
        ("  repeat k |", "in", "x"),
        ("  repeat k in 1..|", "L D", "x W"),
        ("  repeat k in 1..L:\n    v = |", "k x", "v"),
        ("  y = 1|", "", "x"),
        ("  # a comm|", "", "x"),
        ('  "a docstr|', "", "x"),
        ('  """\n  a docstr|', "", "x"),
        ("cell B(|", "", "D x"),
        ("cell B(D, dt = |", "pi sqrt", "x"),
        ("cell B(D):|", "input state output", "x"),
        ("cell B(D):\n  input u: [|", "D", "H L"),
        ("def g(|", "", "x"),
        ("def g(a, b) = |", "a b tanh act grad inf", "x W t"),
    ],
)
def test_completion(typed, offered, not_offered):
    found = choices(HEAD + typed)
    assert set(offered.split()) - set(found) == set()
    assert not set(not_offered.split()) & set(found)
    if not offered:
        assert not found


def test_completion_at_the_top_of_a_file():
    assert set(choices("|")) == {"cell", "def"} == set(choices("# about\nce|"))


def test_completion_says_what_things_are():
    found = choices(HEAD + "  y = |")
    assert found["W"].detail == "param W: [H, D]" and found["c[t]"].about == "its new value"
    assert found["act"].detail == "def act(u) = tanh(u)" and found["where"].detail == "where(cond, a, b)"


# Any text


def everything(text: str, at: int) -> None:
    """Whatever an editor may ask of a place."""
    document = Document("a.rnn", text)
    assert isinstance(document.problems, list)
    hover(document, at)
    complete(document, at)
    token = document.outline.word_at(at)
    if token is not None:
        document.outline.meaning(token)


@settings(deadline=None, max_examples=some(60))
@given(st.data())
def test_any_text_is_survived(data):
    text = data.draw(damage(data.draw(cells()).text))
    for _ in range(3):
        everything(text, data.draw(st.integers(0, len(text))))


@settings(deadline=None, max_examples=some(30))
@given(st.data())
def test_any_beginning_is_survived(data):
    text = data.draw(cells(noise=True)).text
    end = data.draw(st.integers(0, len(text)))
    everything(text[:end], end)


@settings(deadline=None, max_examples=some(20))
@given(st.data())
def test_hover_of_random_cells(data):
    text = data.draw(cells(noise=True)).text
    document = Document("a.rnn", text)
    for token in document.outline.tokens:
        if token.type == "NAME":
            assert hover(document, token.start_pos) is not None


@settings(deadline=None, max_examples=some(60))
@given(st.data())
def test_edits_give_the_formatted_text(data):
    pytest.importorskip("pygls")
    from rnndsl.tools.lsp.convert import edits_of

    text = data.draw(rewritten(data.draw(cells()).text))
    document = Document("a.rnn", text)
    edits = edits_of(document, Positions(document.source))
    found = [
        {"range": {e: {"line": p.line, "character": p.character} for e, p in (("start", x.range.start), ("end", x.range.end))}, "newText": x.new_text}
        for x in edits
    ]
    assert applied(document.source.text, found) == rnndsl.format(text)


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 100000000000\r\n\r\n", b"Content-Length: -5\r\n\r\n{}", b"Content-Length: 9999999999999999999999999999\r\n\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", b"Content-Length: abc\r\n\r\n", b"\r\n" * 100, b"\x00\xff" * 5000 + b"\r\n",
        b"Content-Length: 0\r\n\r\n", b"Content-Length: 20000000\r\n\r\n" + b"a" * 20_000_000, b"Content-Length: 2\r\n\r\n[]",
        b"Content-Length: 5\r\n\r\n\xff\xfe{[}", b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000, b"content-length:2\r\n\r\n{}",
    ],
    ids=lambda h: h[:24].decode("latin-1"),
)  # fmt: skip
def test_a_message_that_makes_no_sense_loses_no_other(header):
    with Editor() as editor:
        assert editor.open(GRU) == []
        editor.process.stdin.write(header)
        assert [d["code"] for d in editor.change(GRU.replace("W_r @ x", "W_r @ y"))] == ["undefined"]
        status = Path(f"/proc/{editor.process.pid}/status")
        if status.exists():
            (peak,) = (int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            assert peak < 300_000  # kB


def test_a_huge_text_is_refused_and_asked_about():
    document = Document("a.rnn", "# a\n" * 1_500_000)
    assert [d.code for d in document.problems] == ["too-large"] and hover(document, 0) is None and complete(document, 0)[0]


def test_a_compiler_that_errs_ends_nothing(monkeypatch, caplog):
    from rnndsl import compiler
    from rnndsl.tools import explain

    def fail(*_):
        raise KeyError("a mistake of the compiler's")

    with monkeypatch.context() as m:
        m.setattr(explain, "explain", fail)
        assert code(hover(Document("a.rnn", GRU), GRU.index("h[t-1]")).text) == ["state h: [H]"]
    monkeypatch.setattr(compiler, "compiled", fail)
    assert Document("a.rnn", GRU).problems == []
    assert "a mistake of the compiler's" in caplog.text


def test_errors_are_those_of_check():
    text = GRU.replace("W_r @ x", "W_r @ y")
    with pytest.raises(RnnError) as caught:
        rnndsl.compile(text)
    assert Document("<string>", text).problems == caught.value.diagnostics
