from itertools import combinations, product

import numpy as np
import pytest

from uddm_lightning.audit.permutation import permutation_test


def difference(scores, member):
    ranks = np.array([(scores < one).sum() + (scores == one).sum() / 2 for one in scores])
    return ranks[member].mean() - ranks[~member].mean()


def share(scores, labels, member):
    observed = difference(scores, member)
    return np.mean([difference(scores, np.array(one)) >= observed - 1e-9 for one in labels])


def test_p_is_the_share_of_all_labels_with_as_large_a_difference():
    scores, member = np.array([4.0, 3.0, 3.0, 2.0, 1.0, 0.0, 2.5]), np.array([1, 1, 0, 1, 0, 0, 0]) > 0
    labels = [[place in chosen for place in range(7)] for chosen in combinations(range(7), 3)]
    found = permutation_test(scores[:, None], member, np.arange(7), permutations=20000)[0]
    assert found == pytest.approx(share(scores, labels, member), abs=0.01)


def test_labels_move_within_documents_of_both_groups_and_between_documents_of_one():
    scores = np.array([9.0, 1.0, 5.0, 7.0, 2.0, 3.0, 8.0, 4.0])
    documents = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    member = np.array([1, 0, 0, 1, 1, 0, 0, 0]) > 0
    labels = []
    for place, document in product(range(3), range(1, 5)):  # member of document 0, and document of members
        labels.append([row == place for row in range(3)] + [one == document for one in documents[3:]])
    found = permutation_test(scores[:, None], member, documents, permutations=20000)[0]
    assert found == pytest.approx(share(scores, labels, member), abs=0.01)


def test_p_is_uniform_if_members_are_chosen_at_random():
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(20), 4)
    values = []
    for seed in range(150):
        scores = rng.standard_normal(20)[documents] + rng.standard_normal(80)
        values.append(permutation_test(scores[:, None], rng.random(80) < 0.3, documents, seed, 199)[0])
    # Kolmogorov-Smirnov at the level 1e-3
    assert np.abs(np.sort(values) - (np.arange(150) + 0.5) / 150).max() < 1.95 / np.sqrt(150)


def test_documents_of_their_own_level_do_not_count_as_many_rows():
    documents = np.repeat(np.arange(4), 50)
    scores, member = documents.astype(float), documents >= 2
    by_document = permutation_test(scores[:, None], member, documents, permutations=999)[0]
    by_row = permutation_test(scores[:, None], member, np.arange(200), permutations=999)[0]
    assert by_document > 0.1  # 1 of 6 assignments
    assert by_row == 0.001
