"""Everything that `uddm probe` finds out about a model: entropies, verdict and evidence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from uddm_lightning.audit.audit import without_nan
from uddm_lightning.audit.calibration import Calibration
from uddm_lightning.audit.own_samples import TIMES, Evidence, T, measure_own_samples
from uddm_lightning.audit.verdict import Facts, TextEvidence, Verdict, facts_of, judge_evidence
from uddm_lightning.runs.run import Run


class Probed(NamedTuple):
    """A model with its verdict.

    Attributes:
        model: path, step, weights and SHA-256 of the checkpoint.
        facts: size of the model.
        records: entropies by t, on own samples or on the text, with the columns of measurements.csv.
        verdict: the verdict.
        evidence: from own samples.
        text: measurements on the text; None without a text.
        calibration: of the verdict.
        tokens_SL: ids of the own samples.
        entropy_SL: entropy of their tokens at the reference t; NaN where none is predicted.
        pieces: text of each id; None if the tokenizer is not known.
    """

    model: dict[str, Any]
    facts: Facts
    records: list[dict[str, Any]]
    verdict: Verdict
    evidence: Evidence
    text: TextEvidence | None
    calibration: Calibration
    tokens_SL: Tensor
    entropy_SL: Tensor
    pieces: list[str] | None

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain data; NaN becomes None."""
        verdict = self.verdict._asdict() | {"outside": list(self.verdict.outside)}
        found: dict[str, Any] = without_nan(
            {
                "model": self.model,
                "facts": self.facts._asdict(),
                "verdict": verdict,
                "evidence": self.evidence._asdict()
                | {"curve": dict(zip(map(str, TIMES), self.evidence.curve, strict=True))},
                "text": self.text and self.text._asdict(),
                "entropy": self.records,
                "calibration": self.calibration.to_json(),
            }
        )
        return found


def probe_model(
    run: Run,
    calibration: Calibration,
    records: Sequence[dict[str, Any]],
    text: Path | None = None,
    num_rows: int | None = None,
    seed: int | None = None,
) -> Probed:
    """Measure the evidence on a model and judge it.

    Args:
        run: the model.
        calibration: probabilities of the regimes.
        records: entropies by t, as `Run.entropy` returns them.
        text: file with one text a line, which is measured besides; it does not change the verdict.
        num_rows: samples, or rows of the text; None takes 256 samples and all rows.
        seed: of samples and noise; None takes the run's.
    """
    measured = measure_own_samples(run, 256 if text or num_rows is None else num_rows, seed)
    facts = facts_of(run)
    verdict = judge_evidence(measured.evidence, calibration, facts)
    on_text = None
    if text is not None:
        entropy = run.entropy(text, T, num_rows, seed)["entropy"][0].as_py()
        [recovered] = run.recovery(text, T, num_rows).to_pylist()
        ratio = entropy / max(measured.evidence.entropy, 1e-9)
        on_text = TextEvidence(entropy, recovered["recovery"], ratio, recovered["clean_change_rate"])
    tokenizer = run.model.tokenizer(fetch=False)
    pieces = None
    if tokenizer is not None:
        pieces = [tokenizer.decode_token(number) for number in range(run.model.task.process.vocab_size)]
    model = {"path": str(run.folder), "step": run.step, "weights": run.weights, "checkpoint": run.model.digest}
    return Probed(
        model,
        facts,
        list(records),
        verdict,
        measured.evidence,
        on_text,
        calibration,
        measured.tokens_SL,
        measured.entropy_SL,
        pieces,
    )
