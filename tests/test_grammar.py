"""The grammar: no conflict, its keywords, what parses and how, and that every authored mistake is one."""

import re
from pathlib import Path

import pytest
from lark import Lark

from rnndsl.api import check
from rnndsl.diagnostics import Collector, RnnError, Source
from rnndsl.resources import resource_folder
from rnndsl.syntax import ast, mistakes, parser
from rnndsl.syntax.keywords import KEYWORDS
from rnndsl.syntax.place import Place
from tests.documents import blocks_of

ROOT = Path(__file__).parent.parent


def parse(text: str) -> ast.File:
    return parser.parse(Source("test.rnn", text))


def expression(text: str) -> ast.Expr:
    """The tree of one expression."""
    statement = parse(f"cell A(D):\n  z = {text}\n").cells[0].statements[0]
    assert isinstance(statement, ast.Assign)
    return statement.value


# The grammar itself


def test_has_no_conflict():
    pytest.importorskip("interegular", reason="in the dev extra: Lark starts more slowly where it is installed")
    grammar = (resource_folder("grammar") / "rnn.lark").read_text(encoding="utf-8")
    Lark(grammar, parser="lalr", lexer="basic", strict=True)


def test_keyword_table_is_the_grammars():
    words = {t.pattern.value for t in parser.lark().terminals if t.pattern.type == "str" and t.pattern.value.isalpha()}
    assert words == set(KEYWORDS)


@pytest.mark.parametrize("rule", ["input", "state", "param", "const", "noise", "output", "repeat", "assign", "cell", "function"])
def test_tree_has_a_method_for_each_rule(rule):
    from rnndsl.syntax.tree import ToAst

    assert callable(getattr(ToAst, rule))


# Authored mistakes


def refused(example: str) -> Place | None:
    """Where the parser stops in a snippet, whose brackets may be open."""
    chunk: list[list] = [[]]
    depth = 0
    for token in parser.tokens_of(example):
        depth += (token in ("(", "[")) - (token in (")", "]"))
        if token.type != "_NEWLINE":
            chunk[-1].append(token)
        elif depth <= 0:
            chunk.append([])
    found = parser._first_refused([s for s in chunk if s])
    return found[1] if isinstance(found, tuple) else None


def entry_for(place: Place) -> mistakes.Mistake | None:
    entries = mistakes.table(parser.lark()).get((place.state, place.token.type), [])
    return next((m for m, openers in entries if m.holds(place, openers) and all(place.words("")[b] is not None for b in m.blanks)), None)


@pytest.mark.parametrize("mistake", mistakes.authored(), ids=lambda m: f"{m.code}: {m.title}")
def test_examples_give_their_own_message(mistake):
    order = list(mistakes.authored())
    own = 0
    for example in mistake.examples:
        place = refused(example)
        assert place is not None, f"this snippet is not wrong: {example!r}"
        told = entry_for(place)
        if told is None:  # an entry that is narrowed to some words leaves the others to later ones
            assert mistake.word or mistake.word_before or mistake.word_after, example
            continue
        own += told == mistake
        conditions = mistake.word or mistake.word_before or mistake.word_after or mistake.first or mistake.rest or mistake.inside or mistake.blanks
        assert conditions or order.index(told) <= order.index(mistake), (example, told.code)
    assert own, "entries before this one take all of its examples"


@pytest.mark.parametrize("mistake", mistakes.authored(), ids=lambda m: f"{m.code}: {m.title}")
def test_messages_fill_their_blanks(mistake):
    place = refused(mistake.examples[0])
    assert place is not None and mistake.blanks <= set(place.words(""))
    assert mistake.at in ("token", "previous", "first", "pair", "slip", "statement", "rest", "dotted", "written")
    for pattern in (mistake.word, mistake.word_before, mistake.word_after, mistake.first, mistake.rest):
        re.compile(pattern or "")


# Expressions: each is read as the one in brackets


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("r * R @ h", "r * (R @ h)"),
        ("R @ h * r", "(R @ h) * r"),
        ("R @ h / r", "(R @ h) / r"),
        ("U @ V @ h", "U @ (V @ h)"),
        ("U @ V @ W @ h", "U @ (V @ (W @ h))"),
        ("-x^2", "-(x^2)"),
        ("2^-x", "2^(-x)"),
        ("x^-2", "x^(-2)"),
        ("x^-2^y", "x^(-(2^y))"),
        ("a^b^c", "a^(b^c)"),
        ("a**b**c", "a^(b^c)"),
        ("a**-b", "a^(-b)"),
        ("W @ -x", "W @ (-x)"),
        ("-W @ x", "-(W @ x)"),
        ("-a * b", "(-a) * b"),
        ("a * -b", "a * (-b)"),
        ("a - -b", "a - (-b)"),
        ("--a", "-(-a)"),
        ("+x", "+(x)"),
        ("a - b - c", "(a - b) - c"),
        ("a / b / c", "(a / b) / c"),
        ("a / b * c", "(a / b) * c"),
        ("a + b * c", "a + (b * c)"),
        ("a * b + c", "(a * b) + c"),
        ("a + b < c * d", "(a + b) < (c * d)"),
        ("a @ b.T", "a @ (b.T)"),
        ("a @ b ^ c", "a @ (b ^ c)"),
        ("a ^ b @ c", "(a ^ b) @ c"),
        ("A.T @ B.T @ c", "(A.T) @ ((B.T) @ c)"),
        ("W @ f(x)", "W @ (f(x))"),
        ("W @ h[t-1] ^ 2", "W @ ((h[t-1]) ^ 2)"),
        ("(a + b)", "a + b"),
        ("f((a))", "f(a)"),
        ("f(a, b,)", "f(a, b)"),
        ("W[k]", "W[k,]"),
        ("a *\tb", "a * b"),
        ("(a\n  + b)", "a + b"),
        ("f(\n a,\n b\n)", "f(a, b)"),
        ("h[\nt-1\n]", "h[t-1]"),
        ("a # + b", "a"),
        ("(a # one\n + b) # two", "a + b"),
        ("ａ", "a"),
    ],
)
def test_precedence(text, read):
    assert expression(text) == expression(read)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".5", 0.5), ("0.5", 0.5), ("5.", 5.0), ("1e-3", 1e-3), ("1E3", 1000.0), (".5e1", 5.0), ("007", 7.0),
        ("1j", 1j), (".5j", 0.5j), ("1e2j", 100j), ("inf", float("inf")), ("pi", 3.141592653589793),
    ],
)  # fmt: skip
def test_numbers(text, value):
    assert expression(text) == ast.Number(value, text)


def test_spans_are_the_texts():
    text = "cell A(D):\n  z = f(a + W @ h[t-1].T, -2)\n"
    source = Source("a.rnn", text)
    call = parser.parse(source).cells[0].statements[0].value
    assert source.slice(call.span) == "f(a + W @ h[t-1].T, -2)"
    total, minus = call.arguments
    assert [source.slice(e.span) for e in (total, total.left, total.right, total.right.right, minus)] == [
        "a + W @ h[t-1].T", "a", "W @ h[t-1].T", "h[t-1].T", "-2",
    ]  # fmt: skip


# Whole programs

CELL = "cell A(D, H):\n  input x: [D]\n  output x\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "# nothing but a comment",
        "# a comment\n\n# another\n",
        CELL,
        CELL.rstrip("\n"),
        CELL.replace("\n", "\r\n"),
        CELL.replace("\n", "\r"),
        "\ufeff" + CELL,
        "\n\n" + CELL + "\n\n",
        CELL.replace("  ", "\t"),
        CELL.replace("  ", ""),
        CELL.replace("\n", "  # why\n"),
        CELL.replace("\n", "\n\n# why\n\n"),
        "def f(x) = x\n" + CELL,
        CELL + "def f(x) = x",
        "def f() = 1\n",
        "def f(x,) = x\n",
        "def f(a,\n      b) = (a\n  + b)\n",
        "def f(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2\n",
        CELL + CELL.replace("A", "B") + CELL.replace("A", "C"),
        "cell A(\n  D,\n  H,  # the state\n  dt = 0.05,\n):\n  input x: [D]\n  output x\n",
        "cell A(D, dt = 1 / 3, n = -2):\n  input x: [D]\n  output x\n",
        "cell A():\n  input x: []\n  output x\n",
        'cell A(D):\n  "doc"\n  input x: [D]\n  output x\n',
        'cell A(D):\n  """doc\n\n  over # lines\n  """\n  input x: [D]\n  output x\n',
        'cell A(D):\n  """"""\n  input x: [D]\n  output x\n',
        'cell A(D):\n  ""\n  input x: [D]\n  output x\n',
        'cell A(D):\n  "a \\ b \' c"\n  input x: [D]\n  output x\n',
        "cell A(D):\n  output x\n  input x: [D]\n",
        "cell A(D, H):\n  h[t] = W @ x\n  output h\n  param W: [H, D]\n  state h: [H]\n  input x: [D]\n",
        "cell A(D):\n  input x: complex [D]\n  input u, v: []\n  output y = re(x) * u, z = v\n",
        "cell A(N, K):\n  input x: [N; K]\n  input y: [N;]\n  param W: [N, 2; K, K]\n  output z = x * y\n",
        "cell A(D):\n  input x: [D]\n  param b: [D] > 0 ~ constant(1)\n  param c: [] in (0, 1) ~ uniform(0.1, 0.9)\n"
        "  param d: [D] > -1 / 2\n  output y = x * b * c + d\n",
        "cell A(D, p = 0.1):\n  input x: [D]\n  noise m: [D] ~ bernoulli(1 - p)\n  noise n: [] ~ normal(0, 1)\n  output y = x * m + n\n",
        "cell A(D, H):\n  input x: [4*H]\n  i, f, z, o = split(x, 4)\n  output y = i + f * z - o\n",
        "cell A(D, L):\n  input x: [D]\n  param R: [L; D, D]\n  v = x\n  repeat k in 1..L:\n    v = tanh(R[k] @ v)\n  end\n  output v\n",
        "cell A(D):\n  input x: [D]\n  v = x\n  repeat k in 1..3:\n    v = tanh(v)\n  end\n  repeat j in 2 .. 3:\n    v = tanh(v)\n  end\n  output v\n",
        "cell A(D):\n  input x: [D]\n  state h: [D] = -inf\n  h[t] = max(h[t-1], x[t]) + x[t-1]\n  output h, old = h[t-2]\n",
        "cell A(D):\n  input x: [D]\n  output x\n  output y = x + t\n",
        "cell Zelle(größe, Δ = 0.1):\n  input χ: [größe]\n  state h̃: [größe]\n  h̃[t] = h̃[t-1] + Δ * χ\n  output h̃\n",
        "cell 細胞(大):\n  input 入力: [大]\n  output 入力\n",
        "cell A(D):\n  input _x: [D]\n  output _x\n",
        "cell A(D): input x: [D]\n  output x\n",
    ],
)  # fmt: skip
def test_valid_programs_pass(text):
    if "\r" in text or text.startswith("\ufeff"):
        data = text.encode()
        from rnndsl.api import decode

        text = decode(data, "a.rnn").text
    assert [d for d in check(text + ("\n" if text.endswith(".rnn") else ""), "a.rnn") if d.severity == "error"] == []


@pytest.mark.parametrize("word", ["beta", "gamma", "lambda", "N", "S", "I", "E", "Q", "tl", "torch", "exp2", "None", "print", "self"])
def test_ordinary_names_are_ordinary(word):
    text = f"cell A(H):\n  input x: [H]\n  state h: [H]\n  {word} = 2 * x\n  h[t] = {word} + h[t-1]\n  output h\n"
    assert check(text) == []


@pytest.mark.parametrize("path", sorted(p for p in ROOT.glob("examples/*.rnn")), ids=lambda p: p.name)
def test_examples_pass(path):
    assert check(path) == []


def programs_in(page: Path) -> list[str]:
    """The programs in a page: its fenced blocks that begin with `cell` or `def`. Those with a title may be wrong; test_documents.py runs them."""
    blocks = [b.text for b in blocks_of(page) if not b.title] if page.exists() else []
    return [b for b in blocks if re.match(r"(cell|def) (?!NAME)\w+\(", b)]


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")) + [ROOT / "README.md"], ids=lambda p: p.name)
def test_programs_of_the_pages_pass(page):
    for text in programs_in(page):
        assert [d for d in check(text, page.name) if d.severity == "error"] == []


def test_no_token_is_taken_for_another():
    """A number never takes the dots of a range, and a keyword is a word of its own."""
    types = [t.type for t in parser.tokens_of("1..2 1.5 input inputs in1 .5 a.T")]
    assert types == ["NUMBER", "__ANON_0", "NUMBER", "NUMBER", "INPUT", "NAME", "NAME", "NUMBER", "NAME", "ATTRIBUTE"]


def test_collects_all_syntax_errors():
    text = "".join(f"cell A{i}(D):\n  input x [D]\n  z = 2x\n  output x\n" for i in range(3))
    with pytest.raises(RnnError) as caught:
        parse(text)
    assert [d.code for d in caught.value.diagnostics] == ["missing-shape", "missing-operator"] * 3
    assert Collector(Source("", "")).failed is False
