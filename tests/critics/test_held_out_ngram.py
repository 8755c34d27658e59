"""A critic that has seen no training row."""

import pytest
import torch

from tests.support.critics import L, V, critic_text, text
from uddm_lightning.core.errors import InputError
from uddm_lightning.critics import HeldOutNgramCritic, NgramCritic


def test_it_is_the_critic_of_the_held_out_rows_alone():
    held_out, pool, new_BL = (
        text(),
        text().flip(1),
        torch.randint(V, (10, L), generator=torch.Generator().manual_seed(1)),
    )
    given = critic_text(pool)._replace(held_out_size=len(held_out), held_out=lambda ids: held_out[ids])
    critic, same, other = HeldOutNgramCritic(order=3), NgramCritic(order=3), NgramCritic(order=3)
    critic.fit(given)
    same.fit(critic_text(held_out))
    other.fit(given)
    assert torch.equal(critic.nll(new_BL), same.nll(new_BL))
    assert not torch.allclose(critic.nll(new_BL), other.nll(new_BL))
    assert (critic.name, same.name) == ("held-out 3-gram", "3-gram")


def test_without_held_out_rows_the_way_out_is_named():
    for size, rows in ((0, lambda ids: ids), (3, None)):
        with pytest.raises(InputError, match=r"all held-out rows are measured: set a smaller `data.num_sample_rows`"):
            HeldOutNgramCritic().fit(critic_text(text())._replace(held_out_size=size, held_out=rows))
