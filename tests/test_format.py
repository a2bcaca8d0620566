"""The formatter and `rnndsl fmt`: the same program, every comment beside its statement, nothing left to do the second time."""

import os
import re
import stat
import subprocess
import sys
from bisect import bisect_right
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnndsl
from rnndsl import api, cli
from rnndsl.cli.fmt import format_bytes, replace_file
from rnndsl.diagnostics import RnnError, Source
from rnndsl.syntax import formatter, parser
from tests import test_grammar
from tests.choice import some
from tests.features import FEATURES, HEADER
from tests.random_cells import cells, damage
from tests.zoo_cells import ZOO

ROOT = Path(__file__).resolve().parent.parent


def parse(text: str):
    return parser.parse(Source("test.rnn", text))


def comments(text: str) -> list[tuple[str, int, bool]]:
    """Each comment, how many words and symbols stand before it, and whether it has a line of its own; found without the formatter."""
    tokens = [t for t in parser.tokens_of(text) if t.type != "_NEWLINE"]
    starts, ends = [t.start_pos for t in tokens], [t.start_pos + len(t) for t in tokens]
    found = []
    for m in re.finditer(r'"""(?:.|\n)*?"""|"[^"\n]*"|#[^\n]*', text):
        if m[0].startswith("#"):
            before = bisect_right(starts, m.start())
            alone = not before or "\n" in text[ends[before - 1] : m.start()]
            found.append((m[0].rstrip(), before, alone))
    return found


def formatted(text: str) -> str:
    """A program formatted, after everything that must hold of it has been looked at."""
    got = rnndsl.format(text + ("\n" if text.endswith(".rnn") else ""))
    text = api.normalised(text)
    assert parse(got) == parse(text)
    assert rnndsl.format(got) == got
    # a statement behind a header moves to a line of its own, and so does the comment behind it
    assert comments(got) == comments(re.sub(r"(?m)^([ \t]*cell [^#\"\n]*\):)(?=[ \t]*[^\s#])", r"\1\n", text))
    assert got == "" or (got.endswith("\n") and not got.endswith("\n\n") and not got.startswith("\n"))
    assert "\n\n\n" not in re.sub(r'"""(.|\n)*?"""', "", got)
    assert re.sub(r'"""(.|\n)*?"""', "", got) == re.sub(r'(?m)[ \t]+$|"""(.|\n)*?"""', "", got)
    return got


# Everything that the repository holds


@pytest.mark.parametrize("path", sorted([*ROOT.glob("examples/*.rnn"), *ROOT.glob("benchmarks/*.rnn")]), ids=lambda p: p.name)
def test_examples_are_in_the_canonical_style(path):
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_programs_of_the_pages_are_in_the_canonical_style(page):
    for text in test_grammar.programs_in(page):
        assert formatted(text) == text


def test_the_cell_to_start_from_is_in_the_canonical_style(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "my_cell"]) == 0
    text = (tmp_path / "my_cell.rnn").read_text()
    assert formatted(text) == text


@pytest.mark.parametrize("name", FEATURES)
def test_features(name):
    text = HEADER + FEATURES[name].lstrip("\n")
    assert formatted(text).count("\n") == text.count("\n")


@pytest.mark.parametrize("name", ZOO)
def test_published_cells(name):
    formatted(ZOO[name].text)


@pytest.mark.parametrize("text", test_grammar.test_valid_programs_pass.pytestmark[0].args[1])
def test_valid_programs(text):
    formatted(text)


@pytest.mark.parametrize("path", sorted(ROOT.glob("tests/wrong/*.rnn")), ids=lambda p: p.stem)
def test_wrong_programs_are_formatted_or_reported(path):
    text = api.normalised(path.read_bytes().decode(errors="replace"))
    try:
        tree = parse(text)
    except RnnError:
        with pytest.raises(RnnError):
            rnndsl.format(text)
    else:
        assert parse(formatted(text)) == tree


# Random programs, and random ways to write them


def joins(first, second) -> bool:
    """Whether two tokens written without a blank become others."""
    if second.type == "END":
        return False
    try:
        return [str(t) for t in parser.tokens_of(f"{first}{second}")] != [str(first), str(second)]
    except Exception:
        return True


COMMENTS = ("#", "# why", "#: é", '# "no" docstring', "##  # {}", "#\ttab", "# h̃ 細", "# end", "# cell A(D):")
BLANKS = ("", "", " ", "  ", "\t", " \f", "      ")


@st.composite
def rewritten(draw: st.DrawFn, text: str, *, in_lines_alone: bool = False) -> str:
    """The same program with other blanks; unless `in_lines_alone` with comments, empty lines, and lines broken inside brackets too."""
    one_of = lambda options: draw(st.sampled_from(options))  # noqa: E731
    depth = 0
    out = "" if in_lines_alone else one_of(("", "\n", "# first\n", "  \n\n\t# first\n\n"))
    tokens = list(parser.tokens_of(text.lstrip("\n")))
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "_NEWLINE":
            if in_lines_alone:
                out += one_of(BLANKS) + str(token).rstrip(" \t\f") + one_of(BLANKS)
                continue
            out += one_of(("", "", "  ", "\t")) + one_of(("", "", *COMMENTS))
            for _ in range(draw(st.integers(0, 2))):
                out += "\n" + one_of(BLANKS) + one_of(("", *COMMENTS))
            out += "\n" + one_of(BLANKS)
            continue
        depth += (token in ("(", "[")) - (token in (")", "]"))
        out += str(token)
        if following is None or following.type == "_NEWLINE":
            continue
        if depth and not in_lines_alone and draw(st.integers(0, 9)) == 0:
            out += one_of(("", " ", *COMMENTS)) + "\n" + one_of(BLANKS) + one_of(("", "\n", "# inside\n  "))
            continue
        blank = one_of(BLANKS)
        out += blank or (" " if joins(token, following) else "")
    return out if draw(st.booleans()) else out.rstrip()


@settings(deadline=None, max_examples=some(60))
@given(st.data())
def test_any_way_to_write_a_program_gives_the_same_meaning_and_keeps_comments(data):
    text = data.draw(rewritten(data.draw(cells(noise=True)).text))
    got = formatted(text)
    assert format_bytes(text.replace("\n", "\r\n").encode(), "dos.rnn").after == got.replace("\n", "\r\n").encode() or "\n" not in text


@settings(deadline=None, max_examples=some(60))
@given(st.data())
def test_blanks_make_no_difference(data):
    text = re.sub("  # a comment\n", "", data.draw(cells(noise=True)).text)
    assert rnndsl.format(data.draw(rewritten(text, in_lines_alone=True))) == rnndsl.format(text)


@settings(deadline=None, max_examples=some(60))
@given(st.data())
def test_damaged_programs_are_formatted_or_reported(data):
    text = api.normalised(data.draw(damage(data.draw(cells()).text)))
    try:
        tree = parse(text)
    except RnnError:
        with pytest.raises(RnnError):
            rnndsl.format(text + "\n")
    else:
        got = rnndsl.format(text + "\n")
        assert parse(got) == tree and rnndsl.format(got) == got


# The style, case by case


CELL = "cell A(D, H):\n  input x: [D]\n  {}\n  output x\n"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("z=a+b-c*d/e", "z = a + b - c * d / e"),
        ("z = W@x + R@h[ t - 1 ]", "z = W @ x + R @ h[t-1]"),
        ("z = - a+ - b * + c", "z = -a + -b * +c"),
        ("z = - - a - - b", "z = --a - -b"),
        ("z = W @ - x", "z = W @ -x"),
        ("z = x ^ 2 + x ** - y", "z = x^2 + x**-y"),
        ("z = ( 1 + v ) ^ ( 2*a )", "z = (1 + v)^(2 * a)"),
        ("z = ((a)) * (b )", "z = ((a)) * (b)"),
        ("z = f (a,b ,  c)", "z = f(a, b, c)"),
        ("z = f(a,b ,)", "z = f(a, b,)"),
        ("z = f( )", "z = f()"),
        ("z = a<b", "z = a < b"),
        ("z = W [ k+1 ] .T@x", "z = W[k+1].T @ x"),
        ("z = 2 .T + 2. .T + (a) .T", "z = 2 .T + 2. .T + (a).T"),
        ("z = W[ f( k - 1 ) ]", "z = W[f(k-1)]"),
        ("i,f=split(x,2)", "i, f = split(x, 2)"),
        ("h[ t ]=x[t - 2]", "h[t] = x[t-2]"),
        ("param W:[ 4 * H , D+1,H / 2 ]", "param W: [4*H, D + 1, H/2]"),
        ("param W : [N;K , 2*( H+1 )]", "param W: [N; K, 2*(H + 1)]"),
        ("param W: [ N , M ; ]", "param W: [N, M;]"),
        ("param g : complex[ ]", "param g: complex []"),
        ("param g,b: [H]>-1/2 ~constant( 1 )", "param g, b: [H] > -1 / 2 ~ constant(1)"),
        ("param g: [H]in(0,1)~zeros", "param g: [H] in (0, 1) ~ zeros"),
        ("state h:[H]=-inf", "state h: [H] = -inf"),
        ("noise m :[D]~bernoulli(1-p)", "noise m: [D] ~ bernoulli(1 - p)"),
        ("output h,y=x*2", "output h, y = x * 2"),
        ("z = h̃+größe*細胞", "z = h̃ + größe * 細胞"),
    ],
)
def test_blanks_of_a_statement(written, canonical):
    assert formatted(CELL.format(written)) == CELL.format(canonical)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("1 .. L", "1..L"), ("1..2", "1..2"), ("1. .. 2", "1. ..2"), ("1.. .5e1", "1.. .5e1"), ("a .. b", "a..b"), ("1e1 .. 2", "1e1..2"),
    ],
)  # fmt: skip
def test_blanks_of_a_range(written, canonical):
    text = "cell A(L):\n  input x: [L]\n  repeat k in {}:\n    v = x\n  end\n  output x\n"
    assert formatted(text.format(written)) == text.format(canonical)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("", ""),
        ("\n \n\t\n", ""),
        ("# only\n\n\n# comments", "# only\n\n# comments\n"),
        ("def f( )=1", "def f() = 1\n"),
        ("def f(v)=v   grad(v)", "def f(v) = v grad (v)\n"),
        # empty lines
        ("def f(x)=x\ndef g(x)=x\ncell A( ): output y=1", "def f(x) = x\ndef g(x) = x\n\ncell A():\n  output y = 1\n"),
        ("def f(x)=x\n\n\n\ndef g(x)=x", "def f(x) = x\n\ndef g(x) = x\n"),
        ("cell A():\noutput y=1\ncell B():\noutput y=1\ndef f(x)=x",
         "cell A():\n  output y = 1\n\ncell B():\n  output y = 1\n\ndef f(x) = x\n"),
        ("cell A():\n\n\n  z = 1\n\n\n\n  output z\n\n\n", "cell A():\n  z = 1\n\n  output z\n"),
        ("cell A():\nz=1\nrepeat k in 1..2:\n\nz=2\n\nend\noutput z",
         "cell A():\n  z = 1\n  repeat k in 1..2:\n    z = 2\n  end\n  output z\n"),
        # a header's line
        ('cell A(D):"doc"\ninput x:[D]\noutput x', 'cell A(D):\n  "doc"\n  input x: [D]\n  output x\n'),
        ("cell A(D): input x: [D] # c\noutput x", "cell A(D):\n  input x: [D]  # c\n  output x\n"),
        ("cell A(D):# c\ninput x: [D]\noutput x", "cell A(D):  # c\n  input x: [D]\n  output x\n"),
        # docstrings
        ('cell A(D):\n """ one\n  two #\n\n\n\tthree """ # c\n input x:[D]\n output x',
         'cell A(D):\n  """ one\n  two #\n\n\n\tthree """  # c\n  input x: [D]\n  output x\n'),
        # comments between cells: indented ones are of the cell above
        ("cell A():\n  output y=1\n    # still A\n# now B\n  # and B\ncell B():\n  output y=1\n # the end",
         "cell A():\n  output y = 1\n  # still A\n\n# now B\n# and B\n\ncell B():\n  output y = 1\n  # the end\n".replace("B\n\ncell", "B\ncell")),
        ("  cell A():\n  # in A, as more follows\n  output y=1\n  # not indented\n", "cell A():\n  # in A, as more follows\n  output y = 1\n\n# not indented\n"),
        ("def f(x) = x\n# about A\ncell A():\n output y=1", "def f(x) = x\n\n# about A\ncell A():\n  output y = 1\n"),
        ("def f(x) = x\n# that was f\n\ncell A():\n output y=1", "def f(x) = x\n# that was f\n\ncell A():\n  output y = 1\n"),
        ("cell A():\n z=1\n# before\n repeat k in 1..2:\n# in\n z=2\n# last\n end # done\n output z",
         "cell A():\n  z = 1\n  # before\n  repeat k in 1..2:\n    # in\n    z = 2\n    # last\n  end  # done\n  output z\n"),
        # comments behind statements
        ("cell A():\n z=1 # one\n output z# two", "cell A():\n  z = 1  # one\n  output z  # two\n"),
        ("cell A():\n z=1     # one\n y=z\n output z, y # two", "cell A():\n  z = 1  # one\n  y = z\n  output z, y  # two\n"),
        ("cell A():       # head\n z=1            # one\n y=z\n\n x = y          # apart\n output z, y    # two",
         "cell A():  # head\n  z = 1    # one\n  y = z\n\n  x = y        # apart\n  output z, y  # two\n"),
        ("cell A():\n z=1     # one\n         # goes on\n    # of y\n y=z\n output z, y",
         "cell A():\n  z = 1  # one\n         # goes on\n  # of y\n  y = z\n  output z, y\n"),
        ("cell A():\n 細=1\t\t# wide\n output 細\t# tab", "cell A():\n  細 = 1     # wide\n  output 細  # tab\n"),
        # inside brackets: the author's lines
        ("cell A(\nD,# one\n\n\n   H,       # two\n# of dt\ndt=1 ,\n):\noutput y=f(a,\nb\n)",
         "cell A(\n  D,  # one\n\n  H,  # two\n  # of dt\n  dt = 1,\n):\n  output y = f(a,\n               b\n              )\n"),
        ("cell A():\n z=f(\n\na\n+b,g(\nc\n),\n\n)\n output z", "cell A():\n  z = f(\n    a\n    + b, g(\n      c\n    ),\n  )\n  output z\n"),
        ("def f(a,\n b)=(a # one\n # two\n  +\nb)", "def f(a,\n      b) = (a  # one\n            # two\n            +\n            b)\n"),
        ("cell A():\n repeat k in 1..(\n2\n):\n z=W[\nk - 1 ]\n end\n output z",
         "cell A():\n  repeat k in 1..(\n    2\n  ):\n    z = W[\n      k-1]\n  end\n  output z\n"),
    ],
)  # fmt: skip
def test_lines(written, canonical):
    assert formatted(written) == canonical


def test_deep_expressions_are_compared_too():
    formatted(CELL.format(f"z = {'tanh(' * 60}{'-' * 20}x{')' * 60}"))


def test_a_formatter_that_errs_writes_nothing(monkeypatch, tmp_path):
    """Whatever goes wrong inside, another program is never given back."""
    monkeypatch.chdir(tmp_path)
    for wrong in (lambda rows: "cell A(): output y = 2\n", lambda rows: "cell A():\n  output y = 1\n"):
        Path("a.rnn").write_text("cell A():  # why\n output y = 1")
        monkeypatch.setattr(formatter, "_text", wrong)
        with pytest.raises(formatter.MeaningChanged, match=r"a\.rnn"):
            cli.main(["fmt", "a.rnn"])
        assert Path("a.rnn").read_text() == "cell A():  # why\n output y = 1"


# The command


UGLY = "cell A(D):\n input   x:[D] # in\n output x"
NICE = "cell A(D):\n  input x: [D]  # in\n  output x\n"
BROKEN = "cell A(D):\n input x [D]\n output x"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"ugly": UGLY, "nice": NICE, "broken": BROKEN}.items():
        Path(f"{name}.rnn").write_text(text)
    return tmp_path


def give_input(monkeypatch, data: bytes) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_fmt_rewrites_and_names_what_changed(folder, capsys):
    before = Path("nice.rnn").stat()
    assert cli.main(["fmt", "ugly.rnn", "nice.rnn"]) == 0
    assert capsys.readouterr() == ("formatted ugly.rnn\n", "")
    assert Path("ugly.rnn").read_text() == NICE
    assert Path("nice.rnn").stat() == before
    assert cli.main(["fmt", "ugly.rnn", "nice.rnn"]) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(p.name for p in folder.iterdir()) == ["broken.rnn", "nice.rnn", "ugly.rnn"]


def test_fmt_leaves_a_broken_file_alone_and_reports_it_as_check_does(folder, capsys):
    assert cli.main(["check", "broken.rnn"]) == 1
    said = capsys.readouterr().err
    assert cli.main(["fmt", "broken.rnn", "ugly.rnn"]) == 1
    assert capsys.readouterr() == ("formatted ugly.rnn\n", said)
    assert Path("broken.rnn").read_text() == BROKEN and Path("ugly.rnn").read_text() == NICE


def test_fmt_formats_what_has_other_errors(folder):
    """A wrong name is no matter of style."""
    Path("names.rnn").write_text("cell A(D):\n output   nothing")
    assert cli.main(["fmt", "names.rnn"]) == 0
    assert Path("names.rnn").read_text() == "cell A(D):\n  output nothing\n"


def test_fmt_check(folder, capsys):
    assert cli.main(["fmt", "--check", "nice.rnn"]) == 0
    assert capsys.readouterr() == ("", "")
    assert cli.main(["fmt", "--check", "nice.rnn", "ugly.rnn"]) == 1
    assert capsys.readouterr() == ("would format ugly.rnn\n", "")
    assert Path("ugly.rnn").read_text() == UGLY


def test_fmt_diff_is_one_that_patch_takes(folder, capsys):
    assert cli.main(["fmt", "--diff", "nice.rnn", "ugly.rnn"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("--- ugly.rnn\n+++ ugly.rnn\n@@") and "\n- output x\n\\ No newline at end of file\n+  input x: [D]" in out and err == ""
    assert Path("ugly.rnn").read_text() == UGLY
    assert cli.main(["fmt", "--diff", "--check", "ugly.rnn"]) == 1
    assert capsys.readouterr().out == out
    Path("change.diff").write_text(out)
    done = subprocess.run(["git", "apply", "-p0", "change.diff"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path("ugly.rnn").read_text() == NICE


def test_fmt_of_standard_input(folder, capsys, monkeypatch):
    give_input(monkeypatch, UGLY.encode())
    assert cli.main(["fmt", "-"]) == 0
    assert capsys.readouterr() == (NICE, "")
    give_input(monkeypatch, NICE.encode())
    assert cli.main(["fmt", "-"]) == 0
    assert capsys.readouterr() == (NICE, "")
    give_input(monkeypatch, BROKEN.encode())
    assert cli.main(["fmt", "-"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "--> <stdin>:2:10" in err
    give_input(monkeypatch, UGLY.encode())
    assert cli.main(["fmt", "--check", "-"]) == 1
    assert capsys.readouterr().out == "would format <stdin>\n"
    assert cli.main(["fmt", "-", "-"]) == 2


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (UGLY.replace("\n", "\r\n"), NICE.replace("\n", "\r\n")),
        (UGLY.replace("\n", "\r\n", 1), NICE.replace("\n", "\r\n")),
        (UGLY.replace("\n", "\r"), NICE),
        ("\ufeff" + UGLY, NICE),
    ],
)
def test_line_ends_are_those_of_the_first_line(folder, written, canonical):
    Path("a.rnn").write_bytes(written.encode())
    assert cli.main(["fmt", "a.rnn"]) == 0
    assert Path("a.rnn").read_bytes() == canonical.encode()
    assert cli.main(["fmt", "--check", "a.rnn"]) == 0


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755])
def test_fmt_keeps_the_mode_and_links(folder, mode):
    Path("ugly.rnn").chmod(mode)
    Path("link.rnn").symlink_to("ugly.rnn")
    assert cli.main(["fmt", "link.rnn"]) == 0
    assert Path("link.rnn").is_symlink() and Path("ugly.rnn").read_text() == NICE
    assert stat.S_IMODE(Path("ugly.rnn").stat().st_mode) == mode


def test_a_file_is_replaced_whole_or_not_at_all(folder, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        replace_file(Path("ugly.rnn"), NICE.encode())
    assert cli.main(["fmt", "ugly.rnn", "nice.rnn"]) == 2
    assert Path("ugly.rnn").read_text() == UGLY
    assert sorted(p.name for p in folder.iterdir()) == ["broken.rnn", "nice.rnn", "ugly.rnn"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written_is_misuse(folder, capsys):
    Path("ugly.rnn").chmod(0o444)
    assert cli.main(["fmt", "ugly.rnn"]) == 2
    assert capsys.readouterr().err == "rnndsl: ugly.rnn: permission denied\n"
    assert Path("ugly.rnn").read_text() == UGLY


def test_fmt_misuse(folder, capsys):
    assert cli.main(["fmt", "missing.rnn", "ugly.rnn"]) == 2
    assert capsys.readouterr() == ("formatted ugly.rnn\n", "rnndsl: missing.rnn: no such file or directory\n")
    Path("bytes.rnn").write_bytes(b"cell \xff")
    assert cli.main(["fmt", "bytes.rnn"]) == 1
    assert "UTF-8" in capsys.readouterr().err and Path("bytes.rnn").read_bytes() == b"cell \xff"


def test_fmt_imports_neither_torch_nor_sympy(folder):
    code = "import sys; from rnndsl.cli import main; main(['fmt', 'ugly.rnn']); assert not {'torch', 'sympy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
