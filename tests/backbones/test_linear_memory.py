"""Linear memories: fields, asymmetry and energy, for spins and for more than two ids."""

import pytest
import torch

from uddm_lightning.backbones import HebbMemory, LinearMemory, PseudoInverseMemory, PseudoLikelihoodMemory
from uddm_lightning.backbones import TextStatistics as Statistics
from uddm_lightning.backbones.linear_memory import spin_code
from uddm_lightning.core.errors import InputError


def random_rows(rows: int, length: int, ids: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randint(ids, (rows, length), generator=torch.Generator().manual_seed(seed))


def learned(length: int = 6, ids: int = 2, symmetric: bool = False) -> PseudoLikelihoodMemory:
    backbone = PseudoLikelihoodMemory(ids, length, symmetric).double()
    generator = torch.Generator().manual_seed(1)
    backbone.weight.data.normal_(generator=generator)
    return backbone


@pytest.mark.parametrize("ids", [2, 3, 5])
def test_codes_are_the_corners_of_a_simplex(ids: int) -> None:
    code = spin_code(ids)
    torch.testing.assert_close(code @ code.T, ids * torch.eye(ids).double() - 1)


def test_logits_of_spins_are_plus_and_minus_the_field_without_the_own_spin() -> None:
    """The judge is a loop over pairs of spins."""
    backbone, rows = learned(), random_rows(4, 6)
    logits = backbone.head(backbone(rows, torch.zeros(4)))
    weight = backbone.weight.tolist()
    for b, i in [(0, 0), (1, 3), (3, 5)]:
        field = sum(weight[i][m] * (2 * int(rows[b, m]) - 1) for m in range(6) if m != i)
        assert logits[b, i].tolist() == pytest.approx([-field, field])
        other = rows.clone()
        other[b, i] = 1 - other[b, i]
        assert torch.equal(backbone.head(backbone(other, torch.ones(4)))[b, i], logits[b, i])


def test_the_asymmetry_is_the_share_of_the_antisymmetric_part() -> None:
    backbone = learned(40)
    assert backbone.asymmetry() == pytest.approx(0.5, abs=0.05)
    assert learned(40, symmetric=True).asymmetry() == 0.0
    weight = backbone.weight.data
    backbone.weight.data = weight - weight.T
    assert backbone.asymmetry() == pytest.approx(1.0)
    backbone.weight.data = torch.zeros_like(weight)
    assert backbone.asymmetry() == 0.0


@pytest.mark.parametrize("ids", [2, 3])
def test_the_energy_falls_by_the_difference_of_logits(ids: int) -> None:
    """Changing one token changes the energy by the difference of its two logits."""
    backbone, rows = learned(6, ids, symmetric=True), random_rows(5, 6, ids)
    logits = backbone.head(backbone(rows, torch.zeros(5)))
    changed = rows.clone()
    changed[:, 2] = (rows[:, 2] + 1) % ids
    difference = logits[:, 2].gather(1, rows[:, 2:3]) - logits[:, 2].gather(1, changed[:, 2:3])
    torch.testing.assert_close(backbone.energy(changed) - backbone.energy(rows), difference[:, 0])


def test_asymmetric_couplings_have_no_energy() -> None:
    with pytest.raises(ValueError, match=r"There is no energy: the couplings are not symmetric \(asymmetry 0\.\d+\)"):
        learned().energy(random_rows(1, 6))


def test_rows_of_another_length_are_refused() -> None:
    message = r"PseudoLikelihoodMemory for rows of 6 tokens, but the rows have 7; .*`data.packing.length`"
    with pytest.raises(InputError, match=message):
        learned()(random_rows(1, 7), torch.zeros(1))
    with pytest.raises(InputError, match=r"`length` must be at least 2, got 1\."):
        PseudoLikelihoodMemory(2, 1)


@pytest.mark.parametrize("cls", [HebbMemory, PseudoInverseMemory])
def test_a_temperature_is_positive(cls: type[LinearMemory]) -> None:
    with pytest.raises(InputError, match=r"`beta` must be in \(0, 1e6\), got 0"):
        cls(2, beta=0)


def test_hebb_s_rule_is_the_sum_over_pairs() -> None:
    rows = random_rows(3, 5)
    backbone = HebbMemory(2, beta=2.0)
    backbone.prepare(Statistics(lambda: rows, torch.ones(2)))
    spins = (2 * rows - 1).tolist()
    for i in range(5):
        for m in range(5):
            expected = 0.0 if i == m else 2.0 * sum(one[i] * one[m] for one in spins) / 5
            assert float(backbone.couplings()[i, m]) == pytest.approx(expected)
    assert backbone.asymmetry() == 0.0


@pytest.mark.parametrize("ids", [2, 3])
def test_the_pseudo_inverse_keeps_every_pattern_below_full_load(ids: int) -> None:
    rows = random_rows(15, 20, ids)
    backbone = PseudoInverseMemory(ids)
    backbone.prepare(Statistics(lambda: rows, torch.ones(ids)))
    spins = backbone.spins(rows)
    inverse = torch.linalg.pinv(spins.T) @ torch.eye(spins.shape[1]).double()
    projection = spins.T @ inverse
    torch.testing.assert_close(backbone.couplings(), projection * backbone.off_diagonal(20))
    assert torch.equal(backbone.head(backbone(rows, torch.zeros(15))).argmax(-1), rows)
    full = random_rows(60, 20, ids)
    backbone.prepare(Statistics(lambda: full, torch.ones(ids)))
    assert backbone.couplings().abs().max() < 1e-9
