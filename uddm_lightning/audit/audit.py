"""The audit of a trained model: membership, canaries and extraction."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from uddm_lightning.audit.exposure import audit_canaries
from uddm_lightning.audit.extraction import MASKS, attempt, summarize_attempts
from uddm_lightning.audit.membership import audit_membership
from uddm_lightning.audit.scores import DEFAULT_NOISE, NAMES, ScoreSettings, score
from uddm_lightning.audit.sequences import Joined, Sequences, join, planted_canaries, read_sequences
from uddm_lightning.core.errors import InputError
from uddm_lightning.runs.manifest import read_manifest
from uddm_lightning.runs.run import Run

PROBABILITIES = (0.1, 0.5, 0.9)  # values of p of (n, p)-extraction


class AuditSettings(NamedTuple):
    """Settings of an audit.

    Attributes:
        rows: largest number of sequences of each group.
        scores: names of the scores.
        noise: reference time, draws and seed of the scores.
        extraction_rows: sequences of each group to extract; 0 for none.
        attempts: attempts to extract each sequence.
        hidden_share: share of a sequence that is hidden, in (0, 1].
        alternatives: rows with which canaries are compared; 0 leaves canaries out.
    """

    rows: int = 1024
    scores: Sequence[str] = NAMES
    noise: ScoreSettings = DEFAULT_NOISE
    extraction_rows: int = 64
    attempts: int = 8
    hidden_share: float = 0.5
    alternatives: int = 1023


DEFAULT_SETTINGS = AuditSettings()


def audit(
    run: Run, members: str, nonmembers: str, reference: Run | None = None, settings: AuditSettings = DEFAULT_SETTINGS
) -> dict[str, Any]:
    """Return the results of an audit as plain data for JSON.

    Args:
        run: the model.
        members: a file with one text a line that the model was trained on, or "train" for rows of the run's subset.
        nonmembers: a file of texts that it was not trained on, "pool" for rows behind the subset, or "test".
        reference: a model with the same tokenizer that was not trained on the members.
        settings: numbers of sequences and draws.

    Raises:
        InputError: a text cannot be read, or the reference has another tokenizer.

    Example:
        >>> from uddm_lightning import load_run
        >>> found = audit(load_run("runs/quickstart-n32-s0"), "train", "pool")  # doctest: +SKIP
        >>> found["membership"]["scores"]["loss"]["auc"]["value"]  # doctest: +SKIP
        0.99
    """
    torch.set_num_threads(run.model.threads)
    if reference is not None:
        _check_same_ids(run, reference)
    task, denoiser, noise = run.model.task, run.denoiser, settings.noise
    groups = [
        read_sequences(run.model, given, settings.rows, option)
        for given, option in ((members, "--members"), (nonmembers, "--nonmembers"))
    ]
    canaries = planted_canaries(run.model) if settings.alternatives else None
    joined = join(*groups)
    sequences = joined.sequences
    scores = score(task, denoiser, sequences, settings.scores, noise)
    theirs = None
    if reference is not None:
        theirs = score(
            reference.model.task, reference.denoiser, sequences, settings.scores, noise, "scores of the reference"
        )
    vocab_size = task.process.vocab_size
    found: dict[str, Any] = {
        "model": {"path": str(run.folder), "step": run.step, "weights": run.weights, "checkpoint": run.model.digest},
        "reference": None if reference is None else {"path": str(reference.folder), "step": reference.step},
        "members": _about(groups[0]),
        "nonmembers": {**_about(sequences.select(torch.from_numpy(~joined.member_N))), "name": groups[1].name},
        "duplicates_left_out": joined.duplicates,
        "settings": {**settings._asdict(), "scores": list(settings.scores), "noise": noise._asdict()},
        "t_range": [task.objective.t_min, task.objective.t_max],
        "membership": audit_membership(scores, joined, vocab_size, noise.seed, theirs),
        "canaries": None,
        "extraction": None,
        "sequences": [
            {"group": "members" if member else "nonmembers", "row": row, **dict(zip(scores, values, strict=True))}
            for member, row, *values in zip(
                joined.member_N.tolist(), sequences.rows_N.tolist(), *map(list, scores.values()), strict=True
            )
        ],
    }
    if canaries is not None:
        found["canaries"] = audit_canaries(task, denoiser, canaries, settings.alternatives, noise)
    if settings.extraction_rows:
        found["extraction"] = _extraction(run, joined, settings)
    plain: dict[str, Any] = without_nan(found)
    return plain


def _extraction(run: Run, joined: Joined, settings: AuditSettings) -> dict[str, Any]:
    """Return the rates of extraction of members and nonmembers, by mask."""
    found: dict[str, Any] = {kind: {} for kind in MASKS}
    attempts, seed = settings.attempts, settings.noise.seed
    for name, group_N in (("members", joined.member_N), ("nonmembers", ~joined.member_N)):
        part = joined.sequences.select(torch.from_numpy(group_N))
        number = min(settings.extraction_rows, len(part))
        part = part.select(torch.arange(number) * len(part) // number)
        for kind, by_group in found.items():
            tried = attempt(run.model.task, run.denoiser, part, kind, settings.hidden_share, attempts, seed)
            by_group[name] = summarize_attempts(tried, part.documents_N.numpy(), attempts, PROBABILITIES)
    return found


def _about(sequences: Sequences) -> dict[str, Any]:
    documents = len(torch.unique(sequences.documents_N))
    return {"name": sequences.name, "sequences": len(sequences), "documents": documents}


def _check_same_ids(run: Run, reference: Run) -> None:
    sizes = [(one.model.task.process.vocab_size, one.model.length) for one in (run, reference)]
    hashes = [read_manifest(one.folder).get("tokenizer") for one in (run, reference)]
    if sizes[0] != sizes[1] or (all(hashes) and hashes[0] != hashes[1]):
        raise InputError(
            f"`--reference {reference.folder}` has another tokenizer or row length than the model: {sizes[1][0]:,} ids "
            f"and {sizes[1][1]} positions, where the model has {sizes[0][0]:,} and {sizes[0][1]}. Scores of the same "
            "sequences are compared, so train the reference with the same tokenizer and packing."
        )


def without_nan(value: Any) -> Any:
    """Return plain data with None in place of numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {name: without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
