"""Causal language model of the Hugging Face hub as critic.

Shapes: B rows, M tokens of the critic.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import InputError, check_at_least, require_package
from uddm_lightning.critics.base import Critic, CriticScores, CriticText


class HubCritic(Critic):
    """Causal language model that scores the decoded text of rows.

    The model scores its own tokens. The first token of a row has no history and does not count. A row whose text has
    fewer than two tokens adds nothing. Text beyond the context length of the model does not count.

    Two critics have different tokens and different training data: do not compare their perplexities.

    Args:
        model: name on the hub, or a local folder.
        batch_size: number of rows per forward pass, at least 1.

    Raises:
        ValueError: `batch_size` is below 1.
    """

    def __init__(self, model: str, batch_size: int = 16) -> None:
        check_at_least(1, batch_size=batch_size)
        self.model = model
        self.batch_size = batch_size
        self._decode: Callable[[Sequence[int]], str] | None = None
        self._network: Any = None
        self._tokenizer: Any = None

    @property
    @override
    def name(self) -> str:
        return self.model

    @override
    def check_requirements(self) -> None:
        require_package("transformers", "critic", "`samples.critic` is HubCritic")

    @override
    def load(self) -> None:
        if self._network is not None:
            return
        self.check_requirements()
        transformers = importlib.import_module("transformers")
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(self.model)
            self._network = transformers.AutoModelForCausalLM.from_pretrained(self.model).eval()
        except Exception as error:  # errors of the library and of the network share no base class
            raise InputError(
                f"`samples.critic`: the model `{self.model}` cannot be loaded ({type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''}); name a causal language model of the hub or a "
                "local folder that contains one."
            ) from error

    @override
    def fit(self, text: CriticText) -> None:
        self._decode = text.decode
        self.load()

    @override
    @torch.no_grad()
    def score(self, tokens_BL: Tensor, counted_BL: Tensor) -> CriticScores:
        if self._decode is None or self._network is None:
            raise RuntimeError("The critic has no training text: call `fit` first.")
        rows = zip(tokens_BL.cpu(), counted_BL.cpu(), strict=True)
        texts = [self._decode(row_L[counted_L].tolist()) for row_L, counted_L in rows]
        network, device = self._network.to(tokens_BL.device), tokens_BL.device
        max_length = getattr(network.config, "max_position_embeddings", None)
        truncation = {"truncation": True, "max_length": int(max_length)} if max_length else {}
        encoded = self._tokenizer(texts, **truncation)["input_ids"] if texts else []
        lengths_B = torch.tensor([len(ids) for ids in encoded], dtype=torch.int64, device=device)
        width = max([2, *map(len, encoded)])  # at least one column of scored tokens, which may count nowhere
        ids_BM = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in encoded], device=device).view(-1, width)
        valid_BM = torch.arange(width, device=device) < lengths_B[:, None]
        nll_BM = torch.zeros(len(texts), width - 1, dtype=torch.float64, device=device)
        for rows_R in torch.split((lengths_B > 1).nonzero()[:, 0], self.batch_size):
            if not len(rows_R):  # no row has two tokens
                continue
            longest = int(lengths_B[rows_R].max())
            ids_RM, valid_RM = ids_BM[rows_R, :longest], valid_BM[rows_R, :longest]
            logits_RMV = network(ids_RM, attention_mask=valid_RM.long()).logits[:, :-1]
            nll_RM = torch.nn.functional.cross_entropy(
                logits_RMV.float().transpose(1, 2), ids_RM[:, 1:], reduction="none"
            )
            nll_BM[rows_R, : longest - 1] = nll_RM.double()
        return CriticScores(nll_BM, valid_BM[:, 1:])
