"""A causal language model of the Hugging Face hub as critic.

Shapes: B rows, M tokens of the critic.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.critics.base import Critic, Judged, Reading
from uddm_lightning.errors import InputError


class HubCritic(Critic):
    """Reads rows as text and judges them in its own tokens, the first of which has no past and is not counted.

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
    def fit(self, reading: Reading) -> None:
        self._decode = reading.decode
        if self._network is not None:
            return
        try:
            transformers = importlib.import_module("transformers")
        except ImportError as error:
            raise InputError(
                "`samples.critic` is HubCritic, which needs `transformers`: pip install 'uddm-lightning[critic]'."
            ) from error
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(self.model)
            self._network = transformers.AutoModelForCausalLM.from_pretrained(self.model).eval()
        except Exception as error:  # the library's own errors are many, and so are those of the network
            raise InputError(
                f"`samples.critic`: the model `{self.model}` cannot be loaded ({type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''}); name a causal language model of the hub, or a "
                "folder that holds one."
            ) from error
        if self._tokenizer.pad_token is None:  # which is masked, whatever it is
            self._tokenizer.pad_token = self._tokenizer.eos_token

    @override
    @torch.no_grad()
    def judge(self, tokens_BL: Tensor, counted_BL: Tensor) -> Judged:
        if self._decode is None or self._network is None:
            raise RuntimeError("The critic has read nothing yet: call `fit` first.")
        rows = zip(tokens_BL.cpu(), counted_BL.cpu(), strict=True)
        texts = [self._decode(row_L[counted_L].tolist()) for row_L, counted_L in rows]
        network = self._network.to(tokens_BL.device)
        parts = []
        for start in range(0, len(texts), self.batch_size):
            read = self._tokenizer(
                texts[start : start + self.batch_size],
                return_tensors="pt",
                padding=True,
                padding_side="right",
                truncation=self._longest is not None,
                max_length=self._longest,
            ).to(tokens_BL.device)
            logits_BMV = network(read.input_ids, attention_mask=read.attention_mask).logits[:, :-1]
            nll_BM = torch.nn.functional.cross_entropy(
                logits_BMV.float().transpose(1, 2), read.input_ids[:, 1:], reduction="none"
            )
            parts.append((nll_BM.double(), read.attention_mask[:, 1:].bool()))
        # every batch is as long as its longest text
        width = max((nll_BM.shape[1] for nll_BM, _ in parts), default=0)
        nll_BM, judged_BM = (
            torch.cat([torch.nn.functional.pad(part_BM, (0, width - part_BM.shape[1])) for part_BM in column])
            for column in zip(*parts, strict=True)
        )
        return Judged(nll_BM, judged_BM)

    @property
    def _longest(self) -> int | None:
        """Tokens that the network can take; what follows them is not judged."""
        longest = getattr(self._network.config, "max_position_embeddings", None)
        return int(longest) if longest else None
