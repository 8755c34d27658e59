import math

import numpy as np
import pytest
import torch

from tests.audit.conftest import V, drawn, generalizer, memory_of
from uddm_lightning.audit.exposure import audit_canaries, expected_exposure, exposure
from uddm_lightning.audit.scores import ScoreSettings
from uddm_lightning.data import Canaries, CharacterTokenizer, WrappedPacking


def canaries(repetitions):
    return Canaries(repetitions, WrappedPacking(12), CharacterTokenizer("abcdef"[:V]), seed=0)


def test_exposure_is_that_of_the_place_in_the_sorted_list():
    others = np.array([0.1, 0.4, 0.4, 0.9, 1.0, 2.0, 3.0])
    for own in (0.0, 0.2, 0.5, 5.0):
        place = sorted([own, *others]).index(own) + 1
        assert exposure([own], others)[0] == pytest.approx(math.log2(8 / place))
    assert exposure([0.4], others)[0] == pytest.approx(math.log2(8 / 3))  # behind one, level with two


def test_the_expected_exposure_is_the_mean_over_all_ranks():
    losses = np.arange(50.0)
    values = [exposure([losses[place]], np.delete(losses, place))[0] for place in range(50)]
    assert expected_exposure(49) == pytest.approx(np.mean(values))


def test_a_memory_exposes_planted_canaries_and_no_others():
    planted = canaries([0, 0, 0, 1, 1, 4, 4])
    ids = torch.tensor([3, 4, 5, 5, 5, 5, 6, 6, 6, 6])
    model = memory_of(torch.cat([drawn(0, 30).tokens_NL, planted.tokens(ids)]))
    found = audit_canaries(*model, planted, 127, ScoreSettings(draws=4))
    by_repetitions = {one["repetitions"]: one for one in found["by_repetitions"]}
    assert {number: one["canaries"] for number, one in by_repetitions.items()} == {0: 3, 1: 2, 4: 2}
    assert by_repetitions[1]["exposure"]["value"] == by_repetitions[4]["exposure"]["value"] == 7.0
    assert by_repetitions[0]["exposure"]["value"] < 5.0
    assert by_repetitions[4]["recovery"]["value"] > 0.9 > by_repetitions[0]["recovery"]["value"]
    assert found["highest_exposure"] == 7.0


def test_a_model_without_memory_has_the_exposure_of_chance():
    found = audit_canaries(*generalizer(), canaries([1] * 60), 255, ScoreSettings(draws=1))
    [mean] = [one["exposure"] for one in found["by_repetitions"]]
    assert mean["low"] < found["exposure_by_chance"] < mean["high"]


def test_alternatives_are_never_planted():
    planted = canaries([1, 2])
    rows = [tuple(row) for row in planted.tokens(torch.arange(500)).tolist()]
    assert len(set(rows)) == 500
