"""A causal language model of the Hugging Face hub as critic.

Shapes: B rows, M tokens of the critic.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import InputError, require_package
from uddm_lightning.critics.base import Critic, CriticScores, CriticText


class HubCritic(Critic):
    """Reads rows as text and judges them in its own tokens, the first of which has no past and is not counted.

    A row whose text is empty, or one token, adds nothing.

    Perplexities of two critics cannot be compared: neither their tokens nor their knowledge are the same.

    Args:
        model: name on the hub, or a folder.
        batch_size: rows that are judged at a time.
    """

    def __init__(self, model: str, batch_size: int = 16) -> None:
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
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
    def check(self) -> None:
        require_package("transformers", "critic", "`samples.critic` is HubCritic")

    @override
    def load(self) -> None:
        if self._network is not None:
            return
        self.check()
        transformers = importlib.import_module("transformers")
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(self.model)
            self._network = transformers.AutoModelForCausalLM.from_pretrained(self.model).eval()
        except Exception as error:  # the library's own errors are many, and so are those of the network
            raise InputError(
                f"`samples.critic`: the model `{self.model}` cannot be loaded ({type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''}); name a causal language model of the hub, or a "
                "folder that holds one."
            ) from error

    @override
    def fit(self, reading: CriticText) -> None:
        self._decode = reading.decode
        self.load()

    @override
    @torch.no_grad()
    def judge(self, tokens_BL: Tensor, counted_BL: Tensor) -> CriticScores:
        if self._decode is None or self._network is None:
            raise RuntimeError("The critic has read nothing yet: call `fit` first.")
        rows = zip(tokens_BL.cpu(), counted_BL.cpu(), strict=True)
        texts = [self._decode(row_L[counted_L].tolist()) for row_L, counted_L in rows]
        network, device = self._network.to(tokens_BL.device), tokens_BL.device
        cut = {"truncation": True, "max_length": self._longest} if self._longest else {}
        encoded = self._tokenizer(texts, **cut)["input_ids"] if texts else []
        lengths_B = torch.tensor([len(ids) for ids in encoded], dtype=torch.int64, device=device)
        width = max([2, *map(len, encoded)])  # a column of tokens that are judged, be it empty
        ids_BM = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in encoded], device=device).view(-1, width)
        read_BM = torch.arange(width, device=device) < lengths_B[:, None]
        nll_BM = torch.zeros(len(texts), width - 1, dtype=torch.float64, device=device)
        for rows_R in torch.split((lengths_B > 1).nonzero()[:, 0], self.batch_size):
            if not len(rows_R):  # no row has two tokens
                continue
            longest = int(lengths_B[rows_R].max())
            ids_RM, read_RM = ids_BM[rows_R, :longest], read_BM[rows_R, :longest]
            logits_RMV = network(ids_RM, attention_mask=read_RM.long()).logits[:, :-1]
            nll_RM = torch.nn.functional.cross_entropy(
                logits_RMV.float().transpose(1, 2), ids_RM[:, 1:], reduction="none"
            )
            nll_BM[rows_R, : longest - 1] = nll_RM.double()
        return CriticScores(nll_BM, read_BM[:, 1:])

    @property
    def _longest(self) -> int | None:
        """Tokens that the network can take; what follows them is not judged."""
        longest = getattr(self._network.config, "max_position_embeddings", None)
        return int(longest) if longest else None
