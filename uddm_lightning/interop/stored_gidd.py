"""Measure gidd-unif and gidd-mask as they are stored, in the dtype of their file."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones import Backbone
from uddm_lightning.interop.gidd import GiddModel
from uddm_lightning.interop.hub_folder import HubFolder
from uddm_lightning.interop.pretrained_settings import (
    PretrainedOptions,
    PretrainedSettings,
    Words,
    refuse_prompt,
    row_length,
    settings_config,
)


class StoredGidd(Backbone):
    """`GiddTransformer` with the weights of a folder, in the dtype of the file. It is measured and not trained.

    The network is no submodule, so that a measurement neither copies it nor converts it to float64.

    Args:
        vocab_size: number of ids in noisy text.
        path: the folder.
        device: of the weights.

    Raises:
        InputError: as for `GiddModel`, or a weight is NaN or infinite.
    """

    trainable = False

    def __init__(self, vocab_size: int, path: str, device: str = "cpu") -> None:
        super().__init__(vocab_size)
        model = GiddModel(Path(path))
        weights = {name: model.raw[name].to(device) for name in model.raw}
        for name, weight in weights.items():
            if not bool(weight.isfinite().all()):
                raise model.refusal(f"`{name}` in it holds NaN or infinity")
        with torch.device("meta"):
            network = model.network(model.vocab_size + model.has_mask)
        network.load_state_dict(weights, assign=True)
        self._held = (network.eval().requires_grad_(False),)

    def __deepcopy__(self, memo: dict[int, Any]) -> "StoredGidd":
        return self

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        hidden_BLD: Tensor = self._held[0](tokens_BL, sigma_B, valid_BL)
        return hidden_BLD

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return self._held[0].head(hidden_ND).float()


def gidd_settings(folder: HubFolder, words: Words, options: PretrainedOptions) -> PretrainedSettings:
    """Return the settings of a measurement of the folder as it is stored.

    Raises:
        InputError: as for `GiddModel`, or an option does not suit the model.
    """
    refuse_prompt(folder, options)
    model, length = GiddModel(folder.path), row_length(folder, options)
    stored = {"class_path": f"{__name__}.StoredGidd", "init_args": {"path": str(folder.path.absolute())}}
    notes = [
        f"the network reads no noise level; log-linear noise with eps = {model.eps:.2e} from t = {model.t_min:.2e}",
        *model.notes[1:],
        f"rows of {length} tokens; the network has {model.length} positions",
    ]
    tokenizer = None if model.tokenizer is None else {"path": str(words.file), "vocab_size": model.vocab_size}
    config = settings_config(model.model_section(stored, options.steps), tokenizer, length)
    return PretrainedSettings(config, model.vocab_size, model.tokenizer, notes)
