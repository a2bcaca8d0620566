"""Highlighting, made from the compiler's own tables: the Pygments lexer and grammar/vscode; and the page on editors."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygments import token as pygments

from rnndsl import cli
from rnndsl.resources import resource_folder
from rnndsl.syntax.keywords import KEYWORDS
from rnndsl.syntax.parser import lark, tokens_of
from rnndsl.tools.editors import words
from rnndsl.tools.editors.lexer import RnnLexer
from rnndsl.tools.editors.vscode import textmate, vscode_files
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.hover import hover
from rnndsl.version import VERSION
from tests.random_cells import cells, damage
from tests.test_examples import WRONG_GRU, blocks
from tests.test_notebook import Shell

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(ROOT.glob("examples/*.rnn"))
ODD = '''# a comment, "no docstring"
def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2
cell Zelle(größe, Δ = 0.1,):  # h
  """doc
  # no comment, cell in
  """
  input χ, output_2: [größe]
  state h̃, in̄: complex [größe] = -inf
  param W: [L; D, 2*D] in (0, 1) ~uniform(.1, 1e-3)
  param ones_, g: [] > 0 ~ ones
  repeat k in 1..L:
    zeros = max(W[k].T @ h̃[t-1] ** 2, 1.5j) >= pi + spike (t) - ones(2) * sum
  end
'''


def words_of(text: str) -> list[tuple[str, str]]:
    """What Pygments makes of a text, blanks left out."""
    return [(str(kind).removeprefix("Token."), value) for kind, value in RnnLexer().get_tokens(text) if value.strip()]


# The words


def test_every_keyword_has_one_kind():
    kinds = [*words.ITEMS, *words.OPENERS, *words.MODIFIERS, *words.CONSTANTS]
    assert sorted(kinds) == sorted(KEYWORDS)


@pytest.mark.parametrize(("pattern", "terminal"), [(words.NAME, "NAME"), (words.NUMBER, "NUMBER")])
def test_patterns_are_the_grammars(pattern, terminal):
    grammars = next(t.pattern.value for t in lark().terminals if t.name == terminal)
    assert pattern.replace("(?:", "(") == grammars.replace("\u0300", r"\u0300").replace("\u036f", r"\u036f")


# Pygments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cell GRU(D):", [("Keyword.Declaration", "cell"), ("Name.Class", "GRU"), ("Punctuation", "("), ("Name", "D"), ("Punctuation", ")"),
                          ("Punctuation", ":")]),
        ("def f(v) = v", [("Keyword.Declaration", "def"), ("Name.Function", "f"), ("Punctuation", "("), ("Name", "v"), ("Punctuation", ")"),
                          ("Operator", "="), ("Name", "v")]),
        ("param g: complex [] in (0, 1)", [("Keyword", "param"), ("Name", "g"), ("Punctuation", ":"), ("Keyword", "complex"),
                                           ("Punctuation", "["), ("Punctuation", "]"), ("Keyword", "in"), ("Punctuation", "("),
                                           ("Literal.Number", "0"), ("Punctuation", ","), ("Literal.Number", "1"), ("Punctuation", ")")]),
        ("~ zeros", [("Operator", "~"), ("Name.Builtin", "zeros")]),
        ("zeros = inf", [("Name", "zeros"), ("Operator", "="), ("Keyword.Constant", "inf")]),
        ("h[t-1].T", [("Name", "h"), ("Punctuation", "["), ("Name.Builtin.Pseudo", "t"), ("Operator", "-"), ("Literal.Number", "1"),
                      ("Punctuation", "]"), ("Punctuation", "."), ("Name.Attribute", "T")]),
        ("tanh(f(x))", [("Name.Builtin", "tanh"), ("Punctuation", "("), ("Name.Function", "f"), ("Punctuation", "("), ("Name", "x"),
                        ("Punctuation", ")"), ("Punctuation", ")")]),
        ("1..L 1. .5e1j", [("Literal.Number", "1"), ("Operator", ".."), ("Name", "L"), ("Literal.Number", "1."), ("Literal.Number", ".5e1j")]),
        ("inputs in̄ tanh_ pi2", [("Name", "inputs"), ("Name", "in̄"), ("Name", "tanh_"), ("Name", "pi2")]),
        ('"doc # no" # yes', [("Literal.String.Doc", '"doc # no"'), ("Comment.Single", "# yes")]),
        ('"""a\n"b"\n"""', [("Literal.String.Doc", '"""a\n"b"\n"""')]),
        ("a ? 'b", [("Name", "a"), ("Error", "?"), ("Error", "'"), ("Name", "b")]),
    ],
)  # fmt: skip
def test_pygments(text, expected):
    assert words_of(text) == expected


def agrees_with_the_compiler(text: str) -> None:
    """Every token of the compiler's own lexer is one of Pygments', and of its kind."""
    marked, at = {}, 0
    for kind, value in RnnLexer(stripnl=False, ensurenl=False).get_tokens(text):
        marked[at] = (kind, value)
        at += len(value)
    assert at == len(text)
    for token in tokens_of(text):
        if token.type in ("_NEWLINE", "STRING"):
            continue
        kind, value = marked[token.start_pos]
        if token.type == "ATTRIBUTE":
            kind, value = marked[token.start_pos + 1]
            assert kind is pygments.Name.Attribute
            continue
        assert value == token
        if token.type == "NAME":
            assert kind in pygments.Name
        elif token.type == "NUMBER":
            assert kind in pygments.Number
        else:
            assert kind in (pygments.Keyword if token.isalpha() else pygments.Operator if kind in pygments.Operator else pygments.Punctuation)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_pygments_agrees_with_the_compiler_on_examples(path):
    text = path.read_text(encoding="utf-8")
    agrees_with_the_compiler(text)
    assert "Error" not in dict(words_of(text))


@settings(deadline=None, max_examples=50)
@given(cells(noise=True))
def test_pygments_agrees_with_the_compiler_on_random_cells(cell):
    agrees_with_the_compiler(cell.text)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_pygments_takes_any_text(data):
    text = data.draw(damage(data.draw(cells()).text))
    assert "".join(value for _, value in RnnLexer(stripnl=False, ensurenl=False).get_tokens(text)) == text.replace("\r\n", "\n").replace("\r", "\n")


def test_pygments_guesses():
    assert RnnLexer.analyse_text(EXAMPLES[0].read_text()) > 0
    assert RnnLexer.analyse_text("cell phones: and more\n") == 0


def test_pygments_lexer_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pygments.lexers"]
    assert listed == {"rnn": f"{RnnLexer.__module__}:{RnnLexer.__name__}"}


def test_highlighting_imports_nothing_heavy():
    code = "import sys; import rnndsl.tools.editors.lexer; assert not {'torch', 'sympy', 'lark', 'jinja2'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# grammar/vscode


@pytest.mark.parametrize("path", vscode_files())
def test_files_of_the_extension_are_up_to_date(path, accept):
    file = resource_folder("grammar") / "vscode" / path
    text = vscode_files()[path]
    if accept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.exists() and file.read_text(encoding="utf-8") == text, f"run pytest {__file__} --accept to write it anew"


def test_the_extension_holds_what_its_manifest_names():
    folder = ROOT / "grammar" / "vscode"
    manifest = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    given = manifest["contributes"]
    named = [manifest["main"], given["languages"][0]["configuration"], given["grammars"][0]["path"], manifest["icon"], "README.md", "LICENSE", ".vscodeignore"]
    assert all((folder / name).is_file() for name in named)
    assert manifest["version"] == VERSION and given["grammars"][0]["scopeName"] == textmate()["scopeName"]


SCOPES = {  # Pygments' kinds, and the scopes of the TextMate grammar
    pygments.Comment.Single: "comment.line.number-sign", pygments.String.Doc: "string.quoted.docstring",
    pygments.Keyword: "keyword.control", pygments.Keyword.Declaration: "storage.type", pygments.Keyword.Constant: "constant.language",
    pygments.Name: "variable.other", pygments.Name.Class: "entity.name.type", pygments.Name.Function: "entity.name.function",
    pygments.Name.Builtin: "support.function", pygments.Name.Builtin.Pseudo: "variable.language",
    pygments.Name.Attribute: "variable.other.property", pygments.Number: "constant.numeric", pygments.Operator: "keyword.operator",
}  # fmt: skip


def scopes_of(text: str) -> list[str]:
    """The scope of every character, found as editors do: line by line, the rule that matches first."""
    rules = textmate()["patterns"]
    found: list[str] = []
    inside: dict | None = None  # the rule of the docstring that is open
    for line in text.splitlines(keepends=True):
        scopes = [""] * len(line)
        at = 0
        while at < len(line):
            if inside is not None:
                end = re.compile(inside["end"]).search(line, at)
                to = end.end() if end else len(line)
                scopes[at:to] = [inside["name"]] * (to - at)
                inside, at = (None if end else inside), to
                continue
            matches = [(re.compile(r.get("match", r.get("begin"))).search(line.rstrip("\n"), at), r) for r in rules]
            match, rule = min(((m, r) for m, r in matches if m), key=lambda pair: pair[0].start(), default=(None, None))
            if match is None:
                break
            assert match.end() > at
            if "name" in rule:
                scopes[match.start() : match.end()] = [rule["name"]] * len(match[0])
            for group, scope in rule.get("captures", {}).items():
                start, end = match.span(int(group))
                scopes[start:end] = [scope["name"]] * (end - start)
            at = match.end()
            if "begin" in rule:
                inside = rule
        found += [s.removesuffix(".rnn") for s in scopes]
    return found


def agree(text: str) -> None:
    scopes = scopes_of(text)
    at = 0
    for kind, value in RnnLexer(stripnl=False, ensurenl=False).get_tokens(text):
        for offset, c in enumerate(value):
            if not c.isspace() and kind not in pygments.Punctuation:
                assert scopes[at + offset] == SCOPES[kind], (value, at)
        at += len(value)


@pytest.mark.parametrize("text", [ODD, *(p.read_text(encoding="utf-8") for p in EXAMPLES)], ids=["odd", *(p.name for p in EXAMPLES)])
def test_textmate_and_pygments_agree(text):
    agree(text)


@settings(deadline=None, max_examples=25)
@given(cells(noise=True))
def test_textmate_and_pygments_agree_on_random_cells(cell):
    agree(cell.text)


def test_indentation_rules():
    configuration = json.loads(vscode_files()["language-configuration.json"])
    more, less = (re.compile(configuration["indentationRules"][k]) for k in ("increaseIndentPattern", "decreaseIndentPattern"))
    for line in ("cell A(D):", "cell A(D, dt = 0.1):  # why", "  repeat k in 1..L:"):
        assert more.match(line)
    for line in ("  input x: [D]", "  cells = a", "  # cell:"):
        assert not more.match(line)
    for line in ("  end", "  end  # done", "  def f(v) = v", "cell B():"):
        assert less.match(line)
    assert not less.match("  ending = 1")


# docs/editors.md


PAGE = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")


def test_the_page_shows_real_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("gru.rnn").write_text(WRONG_GRU)
    assert cli.main(["check", "--json", "gru.rnn"]) == 1
    (shown,) = blocks("docs/editors.md", "json")
    assert capsys.readouterr().out == shown


def test_the_page_shows_a_real_hover():
    text = (ROOT / "examples" / "gru.rnn").read_text(encoding="utf-8")
    found = hover(Document("gru.rnn", text), text.index("z = sigmoid"))
    assert f"````\n{found.text}\n````" in PAGE


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_the_pages_line_for_jq(tmp_path):
    (tmp_path / "gru.rnn").write_text(WRONG_GRU)
    (line,) = [b for b in blocks("docs/editors.md", "sh") if "jq" in b]
    line = line.replace("rnndsl check", f"{sys.executable} -m rnndsl check")
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout == "gru.rnn:8:33: error: the shapes in `r * x` do not fit [shape-mismatch]\n", done.stderr


def test_the_pages_notebook_cell_runs():
    (first, cell) = re.search(r"```\n%%rnn (.*?)\n(.*?)```", PAGE, re.S).groups()
    shell = Shell()
    shell(first, cell)
    assert shell.names["Leaky"](D=64, H=256)._sizes == {"D": 64, "H": 256}


def test_the_pages_settings_are_data():
    (toml,) = blocks("docs/editors.md", "toml")
    assert tomllib.loads(toml)["language-server"]["rnndsl"] == {"command": "rnndsl", "args": ["lsp"]}


def test_json_counts_characters_from_one(tmp_path, monkeypatch, capsys):
    """What the page promises of columns: characters, a tab one, the byte-order mark none, any line end."""
    monkeypatch.chdir(tmp_path)
    Path("a.rnn").write_bytes("\ufeffcell 細𝛼(D):  # 𝛼\r\n\tinput χ: [D]\r\toutput y = 𝛼 + 𝒵𝒵".encode())
    assert cli.main(["check", "--json", "a.rnn"]) == 1
    found = json.loads(capsys.readouterr().out)["diagnostics"]
    assert [(d["line"], d["column"], d["end_line"], d["end_column"]) for d in found] == [(3, 13, 3, 14), (3, 17, 3, 19)]
    assert cli.main(["check", "--json", "missing.rnn", "a.rnn"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["diagnostics"] == found and "missing.rnn" in err
