"""Language models on the Hugging Face Hub, or in a folder: `save_pretrained` and `from_pretrained`. Needs `pip install "rnndsl[hub]"`.

A checkpoint is weights and plain data, the text of the cell's program among these. So it carries its equations, and reading it runs nothing but what
the compiler makes of them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin

from rnndsl.nn.checkpoint import cell_of
from rnndsl.nn.language_model import LanguageModel


class HubLanguageModel(LanguageModel, PyTorchModelHubMixin, library_name="rnndsl", tags=["rnndsl", "recurrent"]):  # type: ignore[call-arg]
    """A `LanguageModel` made of plain data: program is the text of a cell's program, cell its name there."""

    def __init__(
        self, program: str, cell: str, vocab_size: int, dim: int, num_layers: int, sizes: Mapping[str, Any] | None = None, taps: int = 4, has_gate: bool = True,
        mlp: float = 2.0, dropout: float = 0.0, is_tied: bool = True, z_loss: float = 0.0, dtype: str = "float32",
    ):  # fmt: skip
        super().__init__(
            cell_of(program, cell), vocab_size, dim, num_layers, sizes, taps=taps, has_gate=has_gate, mlp=mlp, dropout=dropout, is_tied=is_tied, z_loss=z_loss,
            dtype=getattr(torch, dtype),
        )  # fmt: skip

    @classmethod
    def of(cls, model: LanguageModel) -> "HubLanguageModel":
        """A copy of a model that can be saved. Raises TypeError where its cell's program is not known."""
        made = cls(**model.config)
        made.load_state_dict(model.state_dict())
        return made.train(model.training)

    @classmethod
    def _load_as_safetensor(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        """Every weight must be there: one that is missing would be a random one."""
        return super()._load_as_safetensor(model, model_file, map_location, True)
