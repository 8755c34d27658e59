"""A trained model in Python: restore text, draw samples, measure entropy and recovery.

Shapes: B rows, L positions.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import torch
from pyarrow import csv
from torch import Tensor

from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.progress import progress
from uddm_lightning.data.eval_dataset import RowReader, draw_keys
from uddm_lightning.data.module import SAMPLES, TEXT
from uddm_lightning.data.noise_rows import NoiseRows, uniform_rows
from uddm_lightning.data.text_rows import TextRows
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.probes import Probe, RecoveryProbe
from uddm_lightning.probes.entropy import EntropyProbe, entropy_caveat
from uddm_lightning.probes.measured_batch import MeasuredBatch
from uddm_lightning.runs.load import LoadedModel, load
from uddm_lightning.training.batch_notes import BatchNotes
from uddm_lightning.training.task import Weights

BATCH = 64  # rows that are measured at a time
ENTROPY_TIMES = (1e-5, 0.05, 0.1, 0.25, 0.5, 1.0)
Texts = Sequence[str] | Path


class Run:
    """A trained model with the settings of its run. It needs no training data and no trainer.

    All results are functions of the weights, the seed and the input; they do not depend on the batch size.

    Args:
        model: network, packing and config.
        weights: averaged ("ema") or raw weights.
        batch: rows that are measured at a time.

    Example:
        >>> run = load_run("runs/quickstart-n8192-s0")  # doctest: +SKIP
        >>> run.restore("the united stetes of amerika", t=0.1)  # doctest: +SKIP
        'the united states of america'
    """

    def __init__(self, model: LoadedModel, weights: Weights = "ema", batch: int = BATCH) -> None:
        self.model = model
        self.weights = weights
        self.batch = batch
        self.denoiser = model.task.denoiser(weights)
        self._drawn: dict[int, _DrawnRows] = {}  # by seed, so that two measurements draw samples once

    @property
    def config(self) -> dict[str, Any]:
        """Content of config.yaml, nested."""
        return self.model.config

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.model.folder

    @property
    def step(self) -> int:
        """Number of optimizer steps of the weights."""
        return self.model.step

    @overload  # a str is a Sequence[str], too; the first signature holds
    def restore(self, texts: str, t: float = 0.1) -> str: ...  # type: ignore[overload-overlap]  # str is a sequence of str; the first overload wins
    @overload
    def restore(self, texts: Sequence[str], t: float = 0.1) -> list[str]: ...
    def restore(self, texts: str | Sequence[str], t: float = 0.1) -> str | list[str]:
        """Run the reverse chain from texts that are taken as corrupted at time `t`, as `uddm predict` does.

        Args:
            texts: one text or several. A text longer than a row is cut into rows.
            t: corruption time in (0, 1].

        Raises:
            InputError: the tokenizer is not known, the texts are empty, or the process changes masked tokens only.
        """
        given = [texts] if isinstance(texts, str) else list(texts)
        rows = self._text_rows(given)
        ids: list[list[int]] = [[] for _ in given]
        for batch in self._batches(rows, len(rows), TEXT, self.model.seed):
            restored_BL = self.model.task.restore(batch, t, self.denoiser).cpu()
            places_B = batch.rows_B.cpu()
            kept_BL = rows.valid(places_B)
            assert kept_BL is not None
            if (special_BL := rows.special(places_B)) is not None:
                kept_BL = kept_BL & ~special_BL
            for row, restored_L, kept_L in zip(places_B.tolist(), restored_BL, kept_BL, strict=True):
                ids[rows.lines[row] - 1] += restored_L[kept_L].tolist()
        restored = [self._tokenizer().decode(one) for one in ids]
        return restored[0] if isinstance(texts, str) else restored

    def sample(self, n: int, seed: int | None = None) -> list[str] | list[list[int]]:
        """Draw rows from pure noise. Row i is a function of weights, seed and i alone, as in `uddm sample`.

        Args:
            n: number of rows.
            seed: of the samples; None takes the run's.

        Returns:
            Texts; ids if the tokenizer is not known.
        """
        ids = self.draw_ids(n, seed)
        tokenizer = self.model.tokenizer(fetch=False)
        return [row.tolist() for row in ids] if tokenizer is None else [tokenizer.decode(row.tolist()) for row in ids]

    def draw_ids(self, n: int, seed: int | None = None) -> Tensor:
        """Return the ids (n, L) of samples, int64, on the CPU; `sample` returns their texts.

        Args:
            n: number of rows.
            seed: of the samples; None takes the run's.
        """
        rows = self._drawn_rows(seed)
        parts = [
            rows.tokens(torch.arange(start, min(start + self.batch, n))).cpu() for start in range(0, n, self.batch)
        ]
        return torch.cat(parts)

    def special_positions(self) -> Tensor | None:
        """Return True (L,) at special positions; None if there are none or the tokenizer is not known."""
        special_1L = self._drawn_rows(None).special(torch.zeros(1, dtype=torch.int64))
        return None if special_1L is None else special_1L[0]

    def sample_ids(self, numbers_B: Tensor, seed: int) -> Tensor:
        """Draw rows (B, L) from pure noise at t = 1; each is a function of weights, seed and its number.

        With the seed of the run these are the rows that its probes measure.

        Args:
            numbers_B: numbers of the samples.
            seed: of the samples.
        """
        task, device = self.model.task, self.model.task.device
        noise_BL = uniform_rows(task.process.vocab_size, self.model.length, seed, numbers_B).to(device)
        keys_B = draw_keys(seed, SAMPLES, numbers_B, torch.zeros_like(numbers_B)).to(device)
        return task.sampler.sample(self.denoiser, noise_BL, keys_B)

    def entropy(
        self,
        texts: Texts | None = None,
        t: float | Sequence[float] = ENTROPY_TIMES,
        num_rows: int | None = None,
        seed: int | None = None,
    ) -> pa.Table:
        """Measure the conditional entropy of the leave-one-out predictions, in nats per token, as `uddm probe` does.

        Args:
            texts: texts, or the path of a file with one text a line; None measures samples of the model.
            t: corruption times in (0, 1].
            num_rows: rows to measure; None takes 256 samples or all texts.
            seed: of samples and noise; None takes the run's.

        Returns:
            A row for each t with the columns of measurements.csv: `t`, `n_rows`, `entropy`, `entropy_low` and
            `entropy_high` (95 % interval), and others.

        Raises:
            InputError: the tokenizer is not known, or the texts are empty.
            ValueError: a time is outside (0, 1].
        """
        probe = EntropyProbe(_times(t), weights=[self.weights])
        return self._measure(probe, texts, num_rows, self.model.seed if seed is None else seed)

    def entropy_caveat(self, t: float) -> str:
        """Return why an entropy at time `t` is not reliable: "extrapolated", "ill-conditioned", or ""."""
        return entropy_caveat(self.model.task, t)

    def recovery(self, texts: Texts, t: float | Sequence[float] = 0.1, num_rows: int | None = None) -> pa.Table:
        """Corrupt texts, run the reverse chain and measure the share of corrupted tokens that are restored.

        Args:
            texts: texts, or the path of a file with one text a line.
            t: corruption times in (0, 1].
            num_rows: rows to measure; None takes all.

        Returns:
            A row for each t with the columns of measurements.csv: `t`, `n_rows`, `recovery`, `recovery_low` and
            `recovery_high` (95 % interval), `chance`, `clean_change_rate` and others. `chance` and `coincidence` are
            NaN if the prepared corpus of the run is not in the cache.

        Raises:
            InputError: the tokenizer is not known, or the texts are empty.
            ValueError: a time is outside (0, 1].
        """
        probe = RecoveryProbe(_times(t), weights=[self.weights])
        if corpus := self.model.corpus():
            probe.unigram_V = corpus.unigram_frequencies()
        return self._measure(probe, texts, num_rows, self.model.seed)

    def results(self) -> pa.Table:
        """Return measurements.csv of the run with typed columns; `.to_pandas()` converts it.

        Raises:
            InputError: the run has no measurements.
        """
        path = self.folder / "measurements.csv"
        if not path.exists():
            raise InputError(f"`{path}` does not exist: the run was not measured. Measure it with `uddm validate`.")
        return csv.read_csv(path)

    def _measure(self, probe: Probe, texts: Texts | None, num_rows: int | None, seed: int) -> pa.Table:
        torch.set_num_threads(self.model.threads)
        task, rows = self.model.task, self._drawn_rows(seed) if texts is None else self._text_rows(texts)
        split, code = ("samples", SAMPLES) if texts is None else ("text", TEXT)
        number = num_rows or 256 if isinstance(rows, _DrawnRows) else min(num_rows or len(rows), len(rows))
        for batch in self._batches(rows, number, code, seed):
            notes = BatchNotes(task.sampler if texts is None else None)
            counted_BL = probe.count_mask(batch)
            probe.measure(MeasuredBatch(task, self.denoiser, batch, counted_BL, split, self.weights, notes))
        records = [
            {name: value for name, value in record.items() if not name.startswith("_")}
            for record in probe.compute_records(task)
        ]
        return pa.Table.from_pylist(records)

    def _batches(self, rows: RowReader, number: int, code: int, seed: int) -> Iterator[TokenBatch]:
        device = self.model.task.device

        def moved(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.to(device)

        for start in progress(range(0, number, self.batch), "measuring", "batches"):
            ids_B = torch.arange(start, min(start + self.batch, number))
            yield TokenBatch(
                tokens_BL=rows.tokens(ids_B).to(device),
                rows_B=ids_B.to(device),
                places_B=ids_B.to(device),
                keys_B=draw_keys(seed, code, ids_B, torch.zeros_like(ids_B)).to(device),
                quantiles_B=(ids_B / number).double().to(device),
                valid_BL=moved(rows.valid(ids_B)),
                special_BL=moved(rows.special(ids_B)),
                seed=0,
                step=0,
                documents_B=moved(rows.documents(ids_B)),
            )

    def _drawn_rows(self, seed: int | None) -> "_DrawnRows":
        seed = self.model.seed if seed is None else seed
        return self._drawn.setdefault(seed, _DrawnRows(self, seed))

    def _text_rows(self, texts: Texts) -> TextRows:
        tokenizer, packing = self._tokenizer(), self.model.packing
        if isinstance(texts, Path):
            return TextRows.from_file(str(texts), tokenizer, packing)
        return TextRows(texts, tokenizer, packing)

    def _tokenizer(self) -> Tokenizer:
        tokenizer = self.model.tokenizer(fetch=True)
        if tokenizer is None:
            raise InputError(
                f"The tokenizer of `{self.folder}` was learned from its text, which is not in the cache ($UDDM_CACHE), "
                "so that text cannot be converted to ids. Measure samples of the model instead."
            )
        return tokenizer


class _DrawnRows:
    """Rows that the model draws; those of special positions are known only with the tokenizer."""

    def __init__(self, run: Run, seed: int) -> None:
        self.run = run
        self.seed = seed
        tokenizer = run.model.tokenizer(fetch=False)
        self.layout = NoiseRows(run.model.packing, tokenizer, 0) if tokenizer else None
        self._known: dict[tuple[int, int], Tensor] = {}  # by first and last number

    def tokens(self, ids: Tensor) -> Tensor:
        place = int(ids[0]), int(ids[-1])
        if place not in self._known:
            self._known[place] = self.run.sample_ids(ids, self.seed)
        return self._known[place]

    def special(self, ids: Tensor) -> Tensor | None:
        return self.layout.special(ids) if self.layout else None

    def valid(self, ids: Tensor) -> None:
        return None

    def documents(self, ids: Tensor) -> None:
        return None


def load_run(
    path: str | Path,
    ckpt: str = "last",
    weights: Weights = "ema",
    device: str | None = None,
    steps: int | None = None,
) -> Run:
    """Load the model of a run.

    Args:
        path: folder of the run, or its config.yaml.
        ckpt: "last", "previous" or the path of a checkpoint.
        weights: averaged ("ema") or raw weights.
        device: such as "cpu" or "cuda:1"; None takes a GPU if there is one.
        steps: of the reverse chain; None takes the run's.

    Raises:
        InputError: the folder holds no run, or config and checkpoint do not fit each other.
    """
    return Run(load(Path(path), ckpt, steps, device), weights)


def _times(t: float | Sequence[float]) -> list[float]:
    return [float(t)] if isinstance(t, int | float) else [float(one) for one in t]
