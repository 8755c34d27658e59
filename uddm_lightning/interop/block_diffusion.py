"""DiffusionGemma of `transformers`: a denoiser of uniform noise on a canvas behind a prompt, and its own sampler.

Shapes: B rows, L positions of the canvas, P of the prompt, N tokens, V ids, D features.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.core.progress import progress
from uddm_lightning.interop.pretrained_backbone import PretrainedBackbone, import_transformers, quiet
from uddm_lightning.samplers import Observer, Sampler
from uddm_lightning.samplers.denoiser import Denoiser


class BlockDiffusion(PretrainedBackbone):
    """`DiffusionGemmaForBlockDiffusion`: a causal encoder of a prompt, and a decoder of one canvas behind it.

    The decoder sees all ids of the canvas and is given no noise level. Its logits parameterize the posterior
    p(x_0 | x_t), which conditions on the token at the same position. Self-conditioning is off: each evaluation is that
    of a first step.

    Args:
        vocab_size: V.
        path: folder with `config.json` and safetensors.
        prompt: ids of the prompt, at least one.
        device: as in `PretrainedBackbone`.
        trust_remote_code: as in `PretrainedBackbone`.
    """

    auto_class = "DiffusionGemmaForBlockDiffusion"
    parameterization = Parameterization.POSTERIOR
    prompt_P: Tensor

    def __init__(
        self,
        vocab_size: int,
        path: str,
        prompt: Sequence[int],
        device: str = "cpu",
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__(vocab_size, path, device, trust_remote_code)
        self.register_buffer("prompt_P", torch.tensor(prompt), persistent=False)
        self._encoded: tuple[int, Any] = (0, None)  # the prompt for a number of rows

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        shown = None
        if valid_BL is not None:
            shown = torch.cat([valid_BL.new_ones(len(valid_BL), len(self.prompt_P)), valid_BL], 1)
            shown = shown.to(self._mask_device(shown.device))
        output = self.network.model(
            cache=self._encode(len(tokens_BL)), decoder_input_ids=tokens_BL, decoder_attention_mask=shown
        )
        hidden_BLD: Tensor = output.last_hidden_state
        return hidden_BLD.to(tokens_BL.device)

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        logits_NV: Tensor = self.network.lm_head(hidden_ND).to(hidden_ND.device).float()
        cap = float(self.network.final_logit_softcapping)
        return logits_NV.div_(cap).tanh_().mul_(cap)

    def generate(self, canvas_L: Tensor, seed: int, steps: int) -> Tensor:
        """Return the ids (L,) that the network's own `generate` makes of a noisy canvas.

        Args:
            canvas_L: int64 ids.
            seed: of its random numbers.
            steps: largest number of denoising steps; it may stop earlier.
        """
        device, prompt = canvas_L.device, len(self.prompt_P)
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), quiet(import_transformers("`generate`")):
            torch.manual_seed(seed)
            found = self.network.generate(
                input_ids=self.prompt_P[None],
                decoder_input_ids=canvas_L[None],
                max_new_tokens=len(canvas_L),
                max_denoising_steps=steps,
            )
        ids_L: Tensor = getattr(found, "sequences", found)[0, prompt : prompt + len(canvas_L)]
        return ids_L.to(device)

    def _mask_device(self, device: torch.device) -> torch.device:
        """Return the device on which the decoder makes its masks: that of its embeddings after self-conditioning.

        Args:
            device: of the tokens; the answer where the weights are read from memory or the disk on use.
        """
        found: torch.device = next(self.network.model.decoder.self_conditioning.parameters()).device
        return device if found.type == "meta" else found

    @torch.no_grad()
    def _encode(self, rows: int) -> Any:
        """Return the keys and values of the prompt. The decoder reads them and does not change them."""
        if self._encoded[0] != rows:
            prompt_BP = self.prompt_P[None].expand(rows, -1)
            self._encoded = rows, self.network.model.encoder(input_ids=prompt_BP).cache
        return self._encoded[1]


class GenerateSampler(Sampler):
    """The network's own sampler, `generate` with the settings of its folder, from a noisy canvas at any t.

    DiffusionGemma accepts ids of low entropy, redraws the others, uses self-conditioning and a temperature below 1, and
    stops when the canvas is stable. Rows are drawn one by one: each is a function of its key and its canvas.

    Args:
        steps: largest number of denoising steps, at least 1.
    """

    name = "generate"

    def __init__(self, steps: int = 48) -> None:
        super().__init__(steps)

    @override
    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoiser,
        xt_BL: Tensor,
        t: float | Tensor,
        keys_B: Tensor,
        valid_BL: Tensor | None = None,
        clean_BL: Tensor | None = None,
        observe: Observer | None = None,
    ) -> Tensor:
        backbone = denoiser.backbone
        if not isinstance(backbone, BlockDiffusion):
            raise InputError(
                "`model.sampler` is GenerateSampler, the sampler of DiffusionGemma, and `model.backbone` is "
                f"{type(backbone).__name__}; use AncestralSampler."
            )
        pairs = list(zip(xt_BL, keys_B.tolist(), strict=True))
        made = [backbone.generate(row_L, key, self.steps) for row_L, key in progress(pairs, "generate", "rows")]
        made_BL = torch.stack(made) if made else xt_BL.clone()
        return made_BL if valid_BL is None else made_BL.where(valid_BL, xt_BL)
