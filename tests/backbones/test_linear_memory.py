"""Linear memories: fields, asymmetry and energy, for spins and for more than two ids."""

from itertools import combinations

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


def restored(backbone: LinearMemory, row: torch.Tensor, flipped: tuple[int, ...]) -> bool:
    """Whether one parallel step from the row with these spins flipped gives the row."""
    weight, x = backbone.couplings().tolist(), [2 * int(spin) - 1 for spin in row]
    y = [-spin if place in flipped else spin for place, spin in enumerate(x)]
    return all(spin * sum(w * other for w, other in zip(weight[i], y, strict=True)) > 0 for i, spin in enumerate(x))


def radius(backbone: LinearMemory, row: torch.Tensor) -> int:
    """Return the largest d for which every set of at most d flipped spins is restored; -1 without a fixed point."""
    places = range(len(row))
    wrong = [d for d in range(len(row) + 1) if not all(restored(backbone, row, s) for s in combinations(places, d))]
    return min(wrong) - 1


def margins(backbone: LinearMemory, rows: torch.Tensor) -> torch.Tensor:
    logp = backbone.head(backbone(rows, torch.zeros(len(rows)))).log_softmax(-1)
    return (logp.gather(2, rows[..., None]) - logp.gather(2, 1 - rows[..., None]))[..., 0]


def test_guaranteed_flips_are_a_lower_bound_of_the_radius_by_enumeration() -> None:
    rows = random_rows(4, 8)
    hebb = HebbMemory(2).double()
    hebb.prepare(Statistics(lambda: rows[:2], torch.ones(2) / 2))
    found = {}
    for name, backbone in {"random": learned(8), "hebb": hebb}.items():
        bounds, exact = backbone.guaranteed_flips(margins(backbone, rows)).tolist(), [radius(backbone, r) for r in rows]
        assert all(low <= high for low, high in zip(bounds, exact, strict=True)), name
        assert [low < 0 for low in bounds] == [high < 0 for high in exact], "fixed points are told from others"
        found[name] = bounds
    assert max(found["hebb"]) > 0


def test_guaranteed_flips_are_exact_without_frustration() -> None:
    """In the memory of a single pattern no two effects cancel: the bound is the radius."""
    rows = random_rows(1, 7)
    spins = 2.0 * rows[0].double() - 1
    backbone = learned(7)
    backbone.weight.data = spins[:, None] * backbone.weight.data.abs() * spins
    bounds = backbone.guaranteed_flips(margins(backbone, rows))
    assert bounds.tolist() == [radius(backbone, rows[0])] == [1]


def test_only_spins_are_flipped() -> None:
    with pytest.raises(ValueError, match="the memory has 3 ids, not 2"):
        learned(4, ids=3).guaranteed_flips(torch.ones(1, 4))
