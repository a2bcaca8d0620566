"""Blocks and language models around any cell: all steps at once as step by step, ragged, generated, saved with their equations."""

import copy
import json
import pickle
import re
import runpy
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_map

import rnndsl
from rnndsl.diagnostics import RnnError
from rnndsl.nn import Block, LanguageModel, ragged
from rnndsl.nn.ragged import Whole
from rnndsl.nn.sampling import sampled
from tests.agreement import sizes_of
from tests.zoo_cells import ZOO

PARA = ZOO["ParaGRU"].text
# Cells with several inputs, or several outputs, or complex ones; all others fit.
UNFIT = ["PhasedLSTM", "SCRN", "GRUD", "CfC", "RLS", "Izhikevich", "Kalman", "RKN", "Running", "ResettableMax"]
F64 = {"dtype": torch.float64, "backend": "reference"}


def close(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8, equal_nan=True)


def cell_of(name: str) -> type:
    return getattr(rnndsl.load(ZOO[name].text), name)


def flat(value) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else [t for v in value for t in flat(v)]


@cache
def model(name: str = "ParaGRU", **further) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(cell_of(name), 11, 6, 2, sizes_of(ZOO[name].text, name), **F64, **further).eval()


TOKENS = torch.randint(11, (3, 7), generator=torch.Generator().manual_seed(0))


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", ZOO)
def test_a_block_around_any_cell(name):
    """In one call as step by step, in two halves, behind a reset as from the start, and a shorter one as by itself."""
    torch.manual_seed(0)
    sizes = sizes_of(ZOO[name].text, name)
    if name in UNFIT:
        with pytest.raises(ValueError, match="cell: a block needs one with one vector in and one out"):
            Block(cell_of(name), 6, sizes)
        return
    block = Block(cell_of(name), 6, sizes, mlp=2.0, **F64).eval()
    x, reset = torch.randn(2, 5, 6, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.bool)
    reset[0, 3] = True
    y, ended = block(x)
    state, found = block.initial_state(2), []
    for t in range(5):
        out, state = block.step(x[:, t], state)
        found.append(out)
    close(torch.stack(found, 1), y)
    close(flat(state), flat(ended))
    first, middle = block(x[:, :2])
    close(torch.cat([first, block(x[:, 2:], middle)[0]], 1), y)
    anew, after = block(x, reset=reset)
    again, alone = block(x[:1, 3:])
    close(anew[:1, 3:], again)
    close([s[:1] for s in flat(after)], flat(alone))
    short, ends = block(x, lengths=torch.tensor([5, 2]))
    close(short[1, :2], y[1, :2])
    close([s[1] for s in flat(ends)], [s[1] for s in flat(middle)])
    row, ends = block(torch.cat([x[:1], x[1:, :2]], 1), cu_seqlens=[0, 5, 5, 7])
    close(row, torch.cat([y[:1], y[1:, :2]], 1))
    close([s[0] for s in flat(ends)], [s[0] for s in flat(ended)])
    close([s[2] for s in flat(ends)], [s[1] for s in flat(middle)])
    close([s[1] for s in flat(ends)], [s[0] for s in flat(block.initial_state(1))])


@pytest.mark.parametrize("further", [{"taps": 0}, {"taps": 1}, {"has_gate": False}, {"mlp": 0.0}, {"taps": 7}])
def test_parts_of_a_block_may_be_left_out(further):
    block = Block(cell_of("ParaGRU"), 6, {"H": 5}, **F64, **further)
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    y, state = block(x)
    assert (block.conv is None) == (further.get("taps") == 0) and (block.gate is None) == ("has_gate" in further)
    y[:, -1].sum().backward()
    assert all(p.grad is not None for p in block.parameters())
    _, other = block(x[:, :2])
    close(block.step(x[:, 2], other)[0], y[:, 2])
    close(flat(block.step(x[:, 2], other)[1]), flat(state))


def test_the_convolution_is_causal_and_ends_at_borders():
    block = Block(cell_of("EMA"), 3, **F64)
    assert block.cell.cells[0].H == 3  # `input x: [H]`
    conv, u = block.conv, torch.randn(1, 9, 3, dtype=torch.float64)
    before = torch.zeros(1, 3, 3, dtype=torch.float64)
    want = nn.functional.conv1d(nn.functional.pad(u.transpose(1, 2), (3, 0)), conv.weight.flip(0).T.unsqueeze(1), conv.bias, groups=3).transpose(1, 2)
    whole = Whole(1, 9)
    close(conv(u, before, whole)[0], want)
    reset = torch.zeros(1, 9, dtype=torch.bool)
    reset[0, [4, 7]] = True
    y, last = conv(u, before, whole, reset)
    parts = [conv(p, before, Whole(1, p.shape[1]))[0] for p in (u[:, :4], u[:, 4:7], u[:, 7:])]
    close(y, torch.cat(parts, 1))
    close(last, torch.cat([torch.zeros_like(u[:, :1]), u[:, 7:]], 1))
    assert conv(u[:, :0], before, Whole(1, 0))[1].shape == (1, 3, 3)


def test_a_language_model_in_one_call_and_step_by_step():
    lm = model()
    logits, state, loss = lm(TOKENS)
    assert logits.shape == (3, 7, 11) and loss is None and lm.head.weight is lm.embedding.weight
    before, found = lm.initial_state(3), []
    for t in range(7):
        out, before = lm.step(TOKENS[:, t], before)
        found.append(out)
    close(torch.stack(found, 1), logits)
    close(flat(before), flat(state))
    ragged = lm(TOKENS, lengths=[7, 3, 1])
    close(ragged.logits[1, :3], logits[1, :3])
    close([s[1] for s in flat(ragged.state)], [s[1] for s in flat(lm(TOKENS[:, :3]).state)])
    reset = torch.zeros(3, 7, dtype=torch.bool)
    reset[:, 4] = True
    close(lm(TOKENS, reset=reset).logits[:, 4:], lm(TOKENS[:, 4:]).logits)
    assert lm(TOKENS[:0]).logits.shape == (0, 7, 11) and lm(TOKENS[:, :0]).logits.shape == (3, 0, 11)


def test_documents_end_to_end():
    """In one row as each by itself, without a state and with one, with resets inside; values, states, loss and gradients; once more with parts left out."""
    borders, reset = torch.tensor([0, 6, 6, 7, 16]), torch.zeros(1, 16, dtype=torch.bool)
    reset[0, 10] = True
    row, draw = torch.randint(11, (1, 16), generator=torch.Generator().manual_seed(1)), [TOKENS[:1], TOKENS[1:2], TOKENS[2:], TOKENS[:1]]
    for lm in (model(), model(taps=0), model(taps=1)):
        states = [tree_map(torch.Tensor.detach, lm(tokens).state) for tokens in draw]
        given = tree_map(lambda *s: torch.cat(s), *states)
        for state in (None, given):
            logits, after, loss = lm(row, state, targets=row.roll(-1), reset=reset, cu_seqlens=borders.tolist())
            alone = [lm(row[:, a:b], state and states[i], reset=reset[:, a:b]) for i, (a, b) in enumerate(pairwise(borders.tolist()))]
            close(logits, torch.cat([o.logits for o in alone], 1))
            close(flat(after), flat(tree_map(lambda *s: torch.cat(s), *(o.state for o in alone))))
            wanted = torch.autograd.grad(lm.loss(torch.cat([o.logits for o in alone], 1), row.roll(-1)), lm.embedding.weight)
            close(torch.autograd.grad(loss, lm.embedding.weight), wanted)
    for wrong, words in [({"cu_seqlens": [0, 7], "lengths": [16]}, "one or the other"), ({"cu_seqlens": [0, 7]}, "which never fall"), ({"lengths": [17]}, "from 0 to 16")]:
        with pytest.raises((TypeError, ValueError), match=words):
            lm(row, **wrong)
    with pytest.raises(ValueError, match="expected a batch of one"):
        lm(TOKENS, cu_seqlens=[0, 7])


def test_lengths_are_looked_at_once(monkeypatch):
    looked = []
    monkeypatch.setattr(ragged, "_require", lambda *given: looked.append(given))
    model()(TOKENS, lengths=[7, 3, 1])
    model()(TOKENS[:1], cu_seqlens=[0, 3, 7])
    assert len(looked) == 2


def test_loss():
    lm = model(z_loss=0.1)
    targets = TOKENS.roll(-1, 1).clone()
    targets[:, -1] = -100
    logits, _, loss = lm(TOKENS, targets=targets)
    shares = logits.log_softmax(-1)[:, :-1].gather(-1, targets[:, :-1, None]).mean()
    close(loss, -shares + 0.1 * logits[:, :-1].logsumexp(-1).square().mean())
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in lm.parameters())
    lm.zero_grad()
    assert torch.isfinite(lm.loss(logits[:, :1].detach().bfloat16(), targets[:, :1]))


def test_it_learns():
    torch.manual_seed(0)
    lm = LanguageModel(cell_of("MinGRU"), 5, 16, 1, {"H": 16}, backend="reference")
    tokens = torch.arange(24).remainder(5).expand(4, -1)
    optimizer = torch.optim.Adam(lm.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        loss = lm(tokens[:, :-1], targets=tokens[:, 1:]).loss
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1
    assert lm.generate(tokens[:1, :3], 6, temperature=0).tolist() == [[3, 4, 0, 1, 2, 3]]


def test_generate():
    """By state as by all tokens anew, from prompts of any length; drawn alike from the same seed; filled up behind a stop."""
    lm = model()
    new = lm.generate(TOKENS, 5, temperature=0)
    seen = TOKENS
    for _ in range(5):
        seen = torch.cat([seen, lm(seen).logits[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(new, seen[:, 7:])
    ragged = lm.generate(TOKENS, 5, temperature=0, lengths=[2, 7, 4])
    for b, n in enumerate([2, 7, 4]):
        assert torch.equal(ragged[b : b + 1], lm.generate(TOKENS[b : b + 1, :n], 5, temperature=0))
    lm.train()
    drawn = lm.generate(TOKENS, 20, seed=3)
    assert lm.training and torch.equal(drawn, lm.generate(TOKENS, 20, seed=3)) and not torch.equal(drawn, lm.generate(TOKENS, 20, seed=4))
    lm.eval()
    torch.manual_seed(1)
    stop = int(drawn[0, 2])
    found = lm.generate(TOKENS, 20, seed=3, stop=stop)
    at = int((drawn[0] == stop).nonzero()[0])
    assert torch.equal(found[0, : at + 1], drawn[0, : at + 1]) and bool((found[0, at:] == stop).all())
    assert lm.generate(TOKENS, 0).shape == (3, 0) and lm.generate(TOKENS[:0], 2).shape == (0, 2)


def test_sampling():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.0]]).expand(4000, -1)
    draw = torch.Generator().manual_seed(0)

    def shares(**how) -> list[float]:
        return (torch.bincount(sampled(logits, draw=draw, **how), minlength=5) / 4000).tolist()

    assert shares(top_k=1) == [1, 0, 0, 0, 0] and shares(temperature=0) == [1, 0, 0, 0, 0] and shares(top_p=0.1) == [1, 0, 0, 0, 0]
    assert shares(temperature=0.5) == pytest.approx((2 * logits[0]).softmax(-1).tolist(), abs=0.03)
    assert shares() == pytest.approx(logits[0].softmax(-1).tolist(), abs=0.03)
    some = shares(top_k=3)
    assert some[2] == some[3] == 0 and sum(s > 0 for s in some) == 3
    assert [s > 0 for s in shares(top_p=0.6)] in ([True, True, False, False, False], [True, False, False, False, True])


def test_torchs_machinery():
    lm = model()
    for other in (copy.deepcopy(lm), pickle.loads(pickle.dumps(lm))):
        close(other(TOKENS).logits, lm(TOKENS).logits)
        assert other.head.weight is other.embedding.weight
    half = copy.deepcopy(lm).to(torch.bfloat16)
    logits, state, _ = half(TOKENS)
    assert logits.dtype == torch.bfloat16 and state[0].cell[0].h.dtype == torch.float32
    half.step(TOKENS[:, 0], state)


def test_compiled_without_a_break():
    torch.manual_seed(0)
    lm = LanguageModel(cell_of("MinGRU"), 5, 4, 1, {"H": 4}, mlp=0, **F64)
    compiled = torch.compile(lm, fullgraph=True, backend="aot_eager")
    tokens = torch.zeros(2, 3, dtype=torch.int64)
    close(compiled(tokens, targets=tokens).loss, lm(tokens, targets=tokens).loss)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda lm: lm(TOKENS.float()), TypeError, "tokens: expected whole numbers, got torch.float32"),
        (lambda lm: lm(TOKENS[0]), ValueError, "tokens: expected [B, T], got [7]"),
        (lambda lm: lm.step(TOKENS), ValueError, "tokens: expected [B], got [3, 7]"),
        (lambda lm: lm(TOKENS, lm.initial_state(3)[:1]), TypeError, "state: expected one for each of 2 blocks"),
        (lambda lm: lm.generate(TOKENS[:, :0], 3), ValueError, "tokens: expected at least one to go on from"),
        (lambda lm: lm.generate(TOKENS, 3, lengths=[0, 1, 1]), ValueError, "lengths: expected at least one token"),
        (lambda lm: lm.generate(TOKENS, 3, temperature=-1), ValueError, "temperature: expected a number that is not negative"),
        (lambda lm: lm.generate(TOKENS, 3, top_k=0), ValueError, "top_k: expected a whole number from 1 on, got 0"),
        (lambda lm: lm.generate(TOKENS, 3, top_p=1.5), ValueError, "top_p: expected a probability above 0, got 1.5"),
        (lambda lm: Block(cell_of("ParaGRU"), 6, {"H": 3, "K": 2}), ValueError, "sizes: there is no 'K'; ParaGRU has D, H"),
        (lambda lm: Block(cell_of("ParaGRU"), 6), ValueError, "sizes: 'H' is missing; ParaGRU has D, H"),
        (lambda lm: Block(cell_of("ParaGRU"), 6, {"H": 3}, taps=-1), ValueError, "taps: expected how many steps the convolution sees, got -1"),
        (lambda lm: Block(rnndsl.load("cell T(D):\n  input x: [2*D]\n  state a: [D]\n  a[t] = a[t-1]\n  output y = x\n"), 6), ValueError, "a vector of a size of its header, as in input x: [D]; T has x: [2*D=2]"),
        (lambda lm: Block(rnndsl.load("cell T(D):\n  input x: [D]\n  state a: [D]\n  a[t] = a[t-1] + x\n  output y = outer(a[t], x)\n"), 6), ValueError, "T gives [6, 6]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, error, words):
    with pytest.raises(error) as caught:
        call(model())
    assert words in str(caught.value)


# With their equations


def test_a_config_carries_the_equations():
    lm = model("MinGRU", taps=3, z_loss=0.5)
    config = json.loads(json.dumps(lm.config))
    assert "h[t] = " in config["program"] and config["cell"] == "MinGRU"
    other = LanguageModel.from_config(config, backend="reference").eval()
    other.load_state_dict(lm.state_dict())
    close(other(TOKENS).logits, lm(TOKENS).logits)
    assert other.config == lm.config and other.z_loss == 0.5
    two = json.loads(json.dumps(LanguageModel(rnndsl.load(PARA + "\n" + ZOO["MinGRU"].text).MinGRU, 5, 4, 1, {"H": 4}).config))
    assert type(LanguageModel.from_config(two).blocks[0].cell.cells[0]).__name__ == "MinGRU"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"program": "import os"}, RnnError, "error"),
        ({"program": "/etc/passwd.rnn"}, RnnError, "error"),
        ({"cell": "Other"}, ValueError, "cell: the program has no 'Other'; it has MinGRU"),
        ({"cell": "torch"}, ValueError, "cell: the program has no 'torch'"),
        ({"cell": "Layer"}, ValueError, "cell: the program has no 'Layer'"),
    ],
)
def test_a_config_is_compiled_and_nothing_else(change, error, words):
    with pytest.raises(error) as caught:
        LanguageModel.from_config(model("MinGRU").config | change)
    assert words in str(caught.value)


def test_a_compiled_module_knows_its_program_too(tmp_path, monkeypatch):
    (tmp_path / "my_min_gru.py").write_text(rnndsl.compile(ZOO["MinGRU"].text))
    monkeypatch.syspath_prepend(str(tmp_path))
    from my_min_gru import MinGRU

    config = LanguageModel(MinGRU, 5, 4, 1, {"H": 4}).config
    assert (config["program"], config["cell"]) == (ZOO["MinGRU"].text, "MinGRU")
    monkeypatch.setattr(MinGRU, "_program", None)  # as modules of earlier versions are
    with pytest.raises(TypeError, match=r"MinGRU: the text of its program is not known, .*; take a class of rnndsl.load"):
        _ = LanguageModel(MinGRU, 5, 4, 1, {"H": 4}).config
    del sys.modules["my_min_gru"]


def test_saved_for_the_hub(tmp_path):
    """In a folder, without a network; tied weights stay tied; a weight that is not there is an error."""
    pytest.importorskip("huggingface_hub")
    safetensors = pytest.importorskip("safetensors.torch")
    from rnndsl.nn.hub import HubLanguageModel

    lm = model("MinGRU", z_loss=0.5)
    HubLanguageModel.of(lm).save_pretrained(tmp_path)
    assert "h[t] = " in json.loads((tmp_path / "config.json").read_text())["program"]
    again = HubLanguageModel.from_pretrained(tmp_path)
    close(again(TOKENS).logits, lm(TOKENS).logits)
    assert again.head.weight is again.embedding.weight and again.z_loss == 0.5 and not again.training
    assert torch.equal(again.generate(TOKENS, 4, seed=0), lm.generate(TOKENS, 4, seed=0))
    weights = safetensors.load_file(tmp_path / "model.safetensors")
    weights.pop("blocks.0.down.weight")
    safetensors.save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"blocks\.0\.down\.weight"):
        HubLanguageModel.from_pretrained(tmp_path)


@pytest.fixture
def auto(tmp_path, monkeypatch):
    """A model that AutoModelForCausalLM read, beside what it was made from."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("transformers")
    from transformers import AutoModelForCausalLM

    from rnndsl.nn.transformers import RnndslForCausalLM

    lm = model("MinGRU", z_loss=0.5)
    RnndslForCausalLM.of(lm).save_pretrained(tmp_path)
    return AutoModelForCausalLM.from_pretrained(tmp_path), lm


def test_in_transformers(auto):
    """The same numbers and loss; generation by state, without one, in beams, from prompts padded on either side."""
    found, lm = auto
    close(found(TOKENS).logits, lm(TOKENS).logits)
    assert found.model.head.weight is found.model.embedding.weight and found.dtype == torch.float64
    targets = torch.cat([TOKENS[:, 1:], torch.full((3, 1), -100)], 1)
    close(found(TOKENS, labels=TOKENS).loss, lm(TOKENS, targets=targets).loss)
    greedy = {"do_sample": False, "pad_token_id": 0, "max_new_tokens": 5}
    new = lm.generate(TOKENS, 5, temperature=0)
    assert torch.equal(found.generate(TOKENS, **greedy)[:, 7:], new)
    assert torch.equal(found.generate(TOKENS, **greedy, use_cache=False)[:, 7:], new)
    beams = [found.generate(TOKENS, **greedy, num_beams=3, use_cache=by) for by in (True, False)]
    assert torch.equal(*beams)
    for side in (slice(0, 3), slice(4, 7)):  # what stands in the padding has no part in anything
        mask = torch.ones(3, 7, dtype=torch.int64)
        mask[1, side] = 0
        real = TOKENS[1:2][mask[1:2] != 0].unsqueeze(0)
        close(found(TOKENS, attention_mask=mask).logits[1][mask[1] != 0], lm(real).logits[0])
        if side.start == 0:
            assert torch.equal(found.generate(TOKENS, attention_mask=mask, **greedy)[1:2, 7:], lm.generate(real, 5, temperature=0))


def test_a_weight_that_a_checkpoint_has_not_is_drawn(auto, tmp_path):
    from transformers import AutoModelForCausalLM

    safetensors = pytest.importorskip("safetensors.torch")
    weights = safetensors.load_file(tmp_path / "model.safetensors")
    for name in ("model.blocks.0.cell.cells.0.W_z", "model.blocks.0.conv.weight"):
        weights.pop(name)
    safetensors.save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = AutoModelForCausalLM.from_pretrained(tmp_path)
    cell = found.model.blocks[0].cell.cells[0]
    assert bool(found.model.blocks[0].conv.weight.isfinite().all()) and 0 < float(cell.W_z.detach().abs().max()) <= 1 and bool(found(TOKENS).logits.isfinite().all())


def test_transformers_trainer(auto, tmp_path):
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    found, _ = auto
    data = [{"input_ids": row, "labels": row} for row in TOKENS]
    options = TrainingArguments(str(tmp_path / "run"), max_steps=3, per_device_train_batch_size=3, learning_rate=0.05, report_to=[], use_cpu=True, logging_steps=1, save_strategy="no", disable_tqdm=True)
    trainer = Trainer(found, options, train_dataset=data)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 3 and losses[-1] < losses[0]


# The examples


def printed(name: str, monkeypatch, capsys) -> str:
    """What an example prints with --quick."""
    monkeypatch.setattr(sys, "argv", [name, "--quick"])
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / name), run_name="__main__")
    return capsys.readouterr().out


def test_the_example_of_a_ragged_tagger_swaps_its_layer(monkeypatch, capsys):
    shown = printed("ragged_tagger.py", monkeypatch, capsys)
    assert float(re.search(r"logits (\S+) off at most", shown)[1]) < 1e-5 and shown.count("loss") == 10
