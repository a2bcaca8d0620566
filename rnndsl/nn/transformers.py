"""Language models of any cell in Hugging Face transformers: its Auto classes, `generate`, Trainer, and what evaluates its models.

Importing this module registers them. Needs `pip install "rnndsl[transformers]"`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.generation.utils import ALL_CACHE_NAMES
from transformers.utils import ModelOutput

from rnndsl.nn.block import CausalConv
from rnndsl.nn.language_model import LanguageModel
from rnndsl.runtime.layer import Layer

_CACHE = ALL_CACHE_NAMES[0]  # what this version of transformers calls what a model carries while it writes


class RnndslConfig(PretrainedConfig):
    """What a `LanguageModel` is made of, as plain data: the text of a cell's program, the cell's name, sizes."""

    model_type = "rnndsl"
    attribute_map = {"hidden_size": "dim", "num_hidden_layers": "num_layers"}  # noqa: RUF012

    def __init__(
        self, program: str = "", cell: str = "", vocab_size: int = 0, dim: int = 0, num_layers: int = 0, sizes: dict | None = None, taps: int = 4,
        has_gate: bool = True, mlp: float = 2.0, dropout: float = 0.0, is_tied: bool = True, z_loss: float = 0.0, **further: Any,
    ):  # fmt: skip
        self.program, self.cell, self.vocab_size, self.dim, self.num_layers = program, cell, vocab_size, dim, num_layers
        self.sizes, self.taps, self.has_gate, self.mlp, self.dropout, self.z_loss = dict(sizes or {}), taps, has_gate, mlp, dropout, z_loss
        super().__init__(**{"tie_word_embeddings": is_tied, **further})

    def of_model(self) -> dict[str, Any]:
        """What `LanguageModel.from_config` takes."""
        names = ("program", "cell", "vocab_size", "dim", "num_layers", "sizes", "taps", "has_gate", "mlp", "dropout", "z_loss")
        dtype = self.dtype if isinstance(self.dtype, torch.dtype) else torch.get_default_dtype()
        return {n: getattr(self, n) for n in names} | {"is_tied": self.tie_word_embeddings, "dtype": str(dtype).removeprefix("torch.")}


class States:
    """The states of a model's blocks, as transformers carries them from token to token."""

    def __init__(self, blocks: Any):
        self.blocks = blocks

    def reorder_cache(self, rows: Tensor) -> None:
        """Takes rows of the batch, as beams go on from others."""
        self.blocks = tree_map(lambda s: s.index_select(0, rows.to(s.device)), self.blocks)


@dataclass
class RnndslOutput(ModelOutput):
    """What a call returns: the loss where labels were given, logits, and the states for the next one."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    cache: Any = None


class RnndslForCausalLM(PreTrainedModel, GenerationMixin):
    """A `LanguageModel` as a causal model of transformers."""

    config_class = RnndslConfig
    base_model_prefix = "model"
    accepts_loss_kwargs = False  # the loss is a mean, which Trainer divides among accumulated batches
    _is_stateful = True
    _no_split_modules = ["Block"]  # noqa: RUF012
    _tied_weights_keys = {"model.head.weight": "model.embedding.weight"}  # noqa: RUF012

    def __init__(self, config: RnndslConfig):
        super().__init__(config)
        self.model = LanguageModel.from_config(config.of_model())
        self._is_begun = False  # params were drawn by their own constructors
        self.post_init()
        self._is_begun = True

    @classmethod
    def of(cls, model: LanguageModel) -> "RnndslForCausalLM":
        """A copy of a model. Raises TypeError where its cell's program is not known."""
        made = cls(RnndslConfig(**model.config))
        made.model.load_state_dict(model.state_dict())
        return made.train(model.training)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, use_cache: bool | None = None,
        logits_to_keep: int = 0, return_dict: bool | None = None, **further: Any,
    ) -> Any:  # fmt: skip
        """input_ids: [B, T]; attention_mask: [B, T], 0 at padding, on whichever side; labels: [B, T], shifted here, -100 for none."""
        carried = further.get(_CACHE)
        lengths, reset = (None, None) if attention_mask is None or carried is not None else _spans(attention_mask)
        found = self.model(input_ids, None if carried is None else carried.blocks, lengths=lengths, reset=reset)
        loss = None if labels is None else self.model.loss(found.logits[:, :-1], labels[:, 1:].to(found.logits.device))
        logits = found.logits[:, -logits_to_keep:] if logits_to_keep else found.logits
        output = RnndslOutput(loss, logits, States(found.state) if use_cache else None)
        return output if return_dict is not False else output.to_tuple()

    def prepare_inputs_for_generation(self, input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool | None = True, **further: Any) -> dict[str, Any]:
        carried = further.get(_CACHE)
        if carried is not None:
            return {"input_ids": input_ids[:, -1:], _CACHE: carried, "use_cache": use_cache}
        return {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": use_cache, "logits_to_keep": 1 if _ends_whole(attention_mask) else 0}

    def _update_model_kwargs_for_generation(self, outputs: Any, model_kwargs: dict, *rest: Any, **further: Any) -> dict:
        found = super()._update_model_kwargs_for_generation(outputs, model_kwargs, *rest, **further)
        if outputs.cache is not None:
            found[_CACHE] = outputs.cache
        return found

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def _init_weights(self, module: Any) -> None:
        """Draws what a checkpoint does not have."""
        if self._is_begun and isinstance(module, Layer | CausalConv):
            module.reset_parameters()
        elif self._is_begun:
            super()._init_weights(module)

    def get_input_embeddings(self) -> Any:
        return self.model.embedding

    def set_input_embeddings(self, value: Any) -> None:
        self.model.embedding = value

    def get_output_embeddings(self) -> Any:
        return self.model.head

    def set_output_embeddings(self, value: Any) -> None:
        self.model.head = value


def _ends_whole(mask: Tensor | None) -> bool:
    """Whether no row has padding behind it."""
    return mask is None or bool((mask[:, -1] != 0).all())


def _spans(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Of a mask [B, T]: behind how many tokens each row ends, and before which token the state starts anew, which is where padding ends."""
    real = mask != 0
    steps = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    begins = real & ~torch.cat([torch.zeros_like(real[:, :1]), real[:, :-1]], 1)
    return (steps * real).amax(1) if mask.shape[1] else steps.new_zeros(mask.shape[0]), begins


AutoConfig.register("rnndsl", RnndslConfig, exist_ok=True)
AutoModelForCausalLM.register(RnndslConfig, RnndslForCausalLM, exist_ok=True)
