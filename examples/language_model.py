"""A language model of characters around any cell: trained on a text, then writing on from its state, one step a character.

    python examples/language_model.py                        # ParaGRU, on the language reference of this repository
    python examples/language_model.py my_cell.rnn --text my_text.txt
    python examples/language_model.py --quick                # to see that everything works
"""

import argparse
import time
from pathlib import Path

import torch

import rnndsl
from rnndsl.nn import LanguageModel

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cell", nargs="?", type=Path, default=HERE / "para_gru.rnn", help="a program with one cell, whose sizes are D and H")
    parser.add_argument("--text", type=Path, default=HERE.parent / "docs" / "language.md")
    parser.add_argument("--steps", type=int, help="of training (default 300; 20 with --quick)")
    parser.add_argument("--quick", action="store_true", help="a small model")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    steps = options.steps if options.steps is not None else 20 if options.quick else 300
    dim, layers, length = (24, 1, 48) if options.quick else (96, 3, 128)

    torch.manual_seed(options.seed)
    text = options.text.read_text(encoding="utf-8")
    letters = sorted(set(text))
    tokens = torch.tensor([letters.index(c) for c in text])
    model = LanguageModel(rnndsl.load(options.cell), len(letters), dim, layers, {"H": dim}, z_loss=1e-4)
    print(f"{len(text)} characters, {len(letters)} of them different; {sum(p.numel() for p in model.parameters())} weights")

    optimizer = torch.optim.AdamW(model.parameters(), 0.005)
    start = time.perf_counter()
    for step in range(1, steps + 1):
        rows = torch.randint(len(tokens) - length, (16, 1)) + torch.arange(length + 1)
        optimizer.zero_grad()
        loss = model(tokens[rows[:, :-1]], targets=tokens[rows[:, 1:]]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % max(1, steps // 10) == 0:
            print(f"step {step:4}  loss {loss.item():.3f}  {time.perf_counter() - start:5.0f} s", flush=True)
    prompt = "A cell "
    found = model.generate(torch.tensor([[letters.index(c) for c in prompt]]), 120, temperature=0.7, top_p=0.95, seed=options.seed)
    print(prompt + "".join(letters[i] for i in found[0].tolist()))


if __name__ == "__main__":
    main()
