"""Membership: how well each score separates members from nonmembers, beside a baseline that sees only the text.

Shapes: N sequences, K scores.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.audit.blind import blind_scores, document_folds, ngram_nll
from uddm_lightning.audit.permutation import permutation_test
from uddm_lightning.audit.roc import Separation, roc_curve, separation
from uddm_lightning.audit.scores import SIGNS, residual
from uddm_lightning.audit.sequences import Joined

FLOAT = NDArray[np.float64]
NO_REFERENCE, REFERENCE, NGRAM = "", " minus reference", " given n-grams"


def audit_membership(
    scores: Mapping[str, FLOAT],
    joined: Joined,
    vocab_size: int,
    seed: int = 0,
    reference: Mapping[str, FLOAT] | None = None,
) -> dict[str, Any]:
    """Return the separation by every score, the baseline without the model and the dataset-level test, as plain data.

    Each score is taken as it is, minus the score under the reference model, and as the residual of a line in the NLL of
    an n-gram model of the same text (see `ngram_nll`). A missing value counts as the median.

    Args:
        scores: scores (N,) of the model, by name.
        joined: members and nonmembers.
        vocab_size: V.
        seed: of folds, resamples and permutations.
        reference: the same scores of a reference model.
    """
    sequences, member_N = joined.sequences, joined.member_N
    documents_N = sequences.documents_N.numpy()
    folds_N = document_folds(member_N, documents_N, seed)
    text = (sequences.tokens_NL, sequences.counted_NL, vocab_size)
    oriented = {name: SIGNS[name] * values for name, values in scores.items()}
    compared = {name + NO_REFERENCE: values for name, values in oriented.items()}
    if reference is not None:
        compared |= {name + REFERENCE: values - SIGNS[name] * reference[name] for name, values in oriented.items()}
    blind = None
    if folds_N is not None:
        frequency_N = ngram_nll(*text, folds_N)
        compared |= {name + NGRAM: residual(values, frequency_N) for name, values in oriented.items()}
        blind = _entry(blind_scores(*text, member_N, folds_N), member_N, documents_N, seed)
    compared = {name: _complete(values) for name, values in compared.items()}
    p_K = permutation_test(np.stack(list(compared.values()), 1), member_N, documents_N, seed)
    found = {
        name: {**_entry(values, member_N, documents_N, seed), "p_value": p}
        for (name, values), p in zip(compared.items(), p_K.tolist(), strict=True)
    }
    best = min(found, key=lambda name: (found[name]["p_value"], -found[name]["auc"]["value"]))
    return {
        "blind_baseline": blind,
        "confounded": None if blind is None else blind["auc"]["low"] > 0.5,
        "scores": found,
        "dataset_test": {"p_value": min(1.0, len(found) * found[best]["p_value"]), "score": best, "tests": len(found)},
    }


def _entry(values_N: FLOAT, member_N: NDArray[np.bool_], documents_N: NDArray[np.int64], seed: int) -> dict[str, Any]:
    apart: Separation = separation(values_N, member_N, documents_N, seed)
    curve = roc_curve(values_N, member_N)
    return {
        "auc": apart.auc._asdict(),
        "tpr_at_fpr": {f"{fpr:g}": interval._asdict() for fpr, interval in apart.tpr.items()},
        "roc": {"fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()},
    }


def _complete(values_N: FLOAT) -> FLOAT:
    """Return the values with the median, which favours no group, in place of NaN."""
    unknown_N = np.isnan(values_N)
    if unknown_N.all():
        return np.zeros_like(values_N)
    complete_N: FLOAT = np.where(unknown_N, np.median(values_N[~unknown_N]), values_N)
    return complete_N
