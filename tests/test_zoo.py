"""The zoo: every file is in the form that its readers rely on, compiles without a warning, and can be trained."""

import copy
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import rnndsl
from rnndsl.diagnostics import Source
from rnndsl.syntax import ast
from rnndsl.syntax.parser import parse
from tests.agreement import Case, assert_agrees, layer_of, random_inputs
from tests.zoo_cells import FOLDER, PUBLISHED, ZOO

FILES = sorted(FOLDER.glob("*.rnn"))
SIZES = {"D": 3, "H": 5, "N": 2, "K": 4, "V": 6, "L": 3, "B": 7, "M": 4}


def by_name(path: Path) -> str:
    return path.stem


def file_of(path: Path) -> ast.File:
    return parse(Source(path.name, path.read_text(encoding="utf-8")))


def test_every_cell_has_its_expectations():
    assert len(FILES) == len(PUBLISHED) >= 60  # no two files hold cells of one name
    assert PUBLISHED.keys() <= ZOO.keys()


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_opens_with_its_paper_and_its_purpose(path):
    """Paragraphs of one comment: the citation, what the cell is for, and perhaps how the released code differs."""
    comment, program = path.read_text(encoding="utf-8").split("\n\n", 1)
    lines = comment.split("\n")
    assert all(line == "#" or line.startswith("# ") for line in lines)
    assert max(map(len, lines)) <= 120 and "#" not in program
    paper, purpose, *difference = (re.sub(r"\n?# ", " ", p).strip() for p in comment.split("\n#\n"))
    assert re.fullmatch(r"\D+ (19|20)\d\d\. .+[.?] .+\.", paper), "authors, year, title and source"
    assert purpose.endswith(".") and not purpose.startswith("The released code")
    assert len(difference) <= 1 and all(d.startswith("The released code") and d.endswith(".") for d in difference)


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_holds_one_cell_and_compiles_without_a_warning(path):
    assert len(file_of(path).cells) == 1
    assert rnndsl.check(path) == []
    compile(rnndsl.compile(path), path.name, "exec")


# The other examples that are a cell of the zoo leave out its biases, or another part.
SAME = ["elman", "gru", "layernorm_lstm", "lif", "lru", "lstm", "min_gru", "para_gru", "slstm"]


@pytest.mark.parametrize("stem", SAME)
def test_examples_that_are_also_here_say_the_same(stem):
    ours, theirs = (file_of(folder / f"{stem}.rnn") for folder in (FOLDER, FOLDER.parent))
    assert ours.functions == theirs.functions
    assert [replace(c, doc=None) for c in ours.cells] == [replace(c, doc=None) for c in theirs.cells]


@pytest.mark.parametrize("name", PUBLISHED)
def test_agrees_with_the_oracle(name):
    assert_agrees(Case(PUBLISHED[name], name, SIZES, batch=2, steps=5))


def outputs_of(layer: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    y, _ = layer(*inputs)
    return y if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("name", PUBLISHED)
def test_can_be_trained(name):
    """Every param gets a finite gradient, and ten steps bring the outputs nearer to those of a layer with other weights."""
    torch.manual_seed(0)
    layer = layer_of(PUBLISHED[name], name, SIZES)
    with torch.no_grad():
        for const in layer.buffers():
            if not const.any():  # left to the user
                const.copy_(0.5 * torch.randn_like(const))
        teacher = copy.deepcopy(layer)
        for p in teacher.parameters():
            p.add_(0.5 * torch.randn_like(p))
    inputs = [x.detach() for x in random_inputs(layer, 4, 8)]
    wanted = [y.detach() for y in outputs_of(teacher, inputs)]
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    losses = []
    for _ in range(10):
        loss = sum((y - w).square().mean() for y, w in zip(outputs_of(layer, inputs), wanted, strict=True))
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            for param, p in layer.named_parameters():
                assert p.grad is not None and torch.isfinite(p.grad.abs()).all() and p.grad.any(), param
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
