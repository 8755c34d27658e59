"""Masked language models of `transformers` as denoisers of absorbing noise.

Shapes: B rows, L positions, N tokens, S states: the ids of the network.
"""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.interop.pretrained_backbone import PretrainedBackbone


class MaskedLM(PretrainedBackbone):
    """A masked language model of `transformers`. It reads no noise level.

    The mask is the last id here, so ids of the network beyond its mask become smaller by one. A masked position shows
    no token, so the prediction there is a leave-one-out prediction.

    Args:
        vocab_size: S, number of ids of the network.
        path: folder with `config.json` and safetensors.
        mask_id: id of the mask token in the network.
        device: as in `PretrainedBackbone`.
        trust_remote_code: as in `PretrainedBackbone`.
    """

    auto_class = "AutoModelForMaskedLM"
    network_ids_S: Tensor

    def __init__(
        self, vocab_size: int, path: str, mask_id: int, device: str = "cpu", trust_remote_code: bool = False
    ) -> None:
        super().__init__(vocab_size, path, device, trust_remote_code)
        ids = [*range(mask_id), *range(mask_id + 1, vocab_size), mask_id]
        self.register_buffer("network_ids_S", torch.tensor(ids), persistent=False)

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        shown_BL = torch.ones_like(tokens_BL) if valid_BL is None else valid_BL.long()
        logits_BLS: Tensor = self.network(input_ids=self.network_ids_S[tokens_BL], attention_mask=shown_BL).logits
        return logits_BLS.to(tokens_BL.device)

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND.index_select(1, self.network_ids_S).float()
