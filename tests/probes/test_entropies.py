"""Entropies of single tokens, compared with one pass of the network for each."""

import pytest
import torch

from uddm_lightning.backbones import DiT
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.probes.entropies import sample_entropies
from uddm_lightning.processes import AbsorbingProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers.denoiser import Denoiser


def test_a_process_with_a_mask_has_the_entropy_of_masked_tokens():
    V, L = 5, 4
    process = AbsorbingProcess(V, LogLinearSchedule())
    torch.manual_seed(0)
    network = DiT(process.num_states, hidden_size=8, n_blocks=1, n_heads=2, cond_dim=4).double().eval()
    torch.nn.init.normal_(next(p for name, p in network.named_parameters() if "head" in name or "output" in name))
    rows = torch.randint(V, (3, L))
    t_B = torch.tensor([0.1], dtype=torch.float64)
    found = sample_entropies(Denoiser(process, network, Parameterization.LEAVE_ONE_OUT), rows, 0.1).entropy_BL
    for row, entropies in zip(rows, found, strict=True):
        for place in range(L):
            shown = row.clone()
            shown[place] = V
            with torch.no_grad():
                logits = network.head(network(shown[None], process.level(t_B).sigma)[0, place][None])[0, :V]
            assert entropies[place].item() == pytest.approx(
                torch.special.entr(logits.softmax(0)).sum().item(), abs=1e-12
            )
