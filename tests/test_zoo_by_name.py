"""Published cells by name, from Python and from a command line."""

import json
import pickle

import pytest
import torch

import rnndsl
from rnndsl import cli, zoo
from rnndsl.api import read_source
from rnndsl.syntax import parser
from tests.zoo_cells import PUBLISHED


def run(*arguments: str) -> int:
    try:
        return cli.main(arguments)
    except SystemExit as e:
        return int(e.code or 0)


def test_every_published_cell_has_its_name():
    assert {e.name for e in zoo.entries()} == set(PUBLISHED) <= set(dir(zoo))
    for e in zoo.entries():
        assert [c.name.id for c in parser.parse(read_source(e.path)).cells] == [e.name] and not hasattr(type(zoo), e.name)
        assert e.paper and e.purpose and 1900 < e.year < 2100 and str(e.year) in e.paper
        assert zoo.entry(e.name) is zoo.entry(e.stem) is zoo.entry(e.path.name.upper()) is e
        assert e.text.splitlines()[e.first_line - 1].startswith(("cell ", "def "))
        assert "arXiv" not in e.paper or e.arxiv


def test_no_name_of_the_module_hides_a_cell():
    assert not {e.name for e in zoo.entries()} & set(vars(zoo))


def test_a_cell_is_a_class():
    layer = rnndsl.zoo.ParaLSTM(D=3, H=4)
    y, state = layer(torch.randn(2, 5, 3))
    assert y.shape == (2, 5, 4) and state.c.shape == (2, 4)
    assert rnndsl.zoo.ParaLSTM is zoo.ParaLSTM
    again = pickle.loads(pickle.dumps(layer))
    assert torch.equal(again(torch.ones(1, 2, 3))[0], layer(torch.ones(1, 2, 3))[0])


def test_a_name_that_there_is_not():
    with pytest.raises(AttributeError, match=r"no cell 'gru'; did you mean GRU\?"):
        zoo.gru  # noqa: B018
    assert not hasattr(zoo, "__wrapped__")
    with pytest.raises(KeyError):
        zoo.entry("nothing")


def test_the_list(capsys):
    assert run("zoo", "spiking") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["cell", "year", "family", "for"]
    assert any(row.split()[:3] == ["LIF", "2019", "nonlinear"] for row in rows)
    assert run("zoo", "spiking", "--json") == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert {c["name"] for c in cells} == {row.split()[0] for row in rows if row and "cells" not in row}
    assert run("zoo", "xyzzy") == 2
    assert "xyzzy" in capsys.readouterr().err


def test_a_copy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("zoo", "copy", "gruv1") == 0
    assert capsys.readouterr().out == "wrote gru_v1.rnn; next: rnndsl explain gru_v1.rnn\n"
    assert (tmp_path / "gru_v1.rnn").read_text(encoding="utf-8") == zoo.entry("GRUv1").text
    assert run("zoo", "copy", "gru_v1") == 2 and "exists already" in capsys.readouterr().err
    assert run("zoo", "copy", "GRU", "-o", "mine.rnn") == 0 and run("check", "mine.rnn") == 0
    capsys.readouterr()
    assert run("zoo", "copy", "GRU", "-o", "-") == 0 and capsys.readouterr().out == zoo.entry("GRU").text
    assert run("zoo", "copy", "GRRU") == 2 and "did you mean GRU?" in capsys.readouterr().err
    assert run("zoo", "copy") == run("zoo", "-o", "x.rnn") == 2
