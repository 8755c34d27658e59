"""Lightning data module of text.

Shapes: B rows of a batch, L positions of a row, V ids.
"""

import os
import platform
from functools import cached_property
from importlib.metadata import version
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler
from typing_extensions import override

from uddm_lightning import __version__
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError, check_at_least, check_within
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.core.markov_chain import MarkovChain
from uddm_lightning.data.canaries import Canaries, PlantedRows, PlantedSubset, check_repetitions
from uddm_lightning.data.component_spec import component_spec
from uddm_lightning.data.corpus import Corpus, prepare_corpus
from uddm_lightning.data.eval_dataset import EvalDataset, RowReader, measured_order
from uddm_lightning.data.micro_batches import check_batch_size, check_interval
from uddm_lightning.data.noise_rows import NoiseRows
from uddm_lightning.data.packing.base import Packing
from uddm_lightning.data.sources.base import Source
from uddm_lightning.data.subset import Subset, check_train_size
from uddm_lightning.data.text_rows import TextRows
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.train_dataset import TrainDataset

TRAIN, TEST, TEXT, SAMPLES, RANDOM = 0, 1, 2, 3, 4  # codes of the splits in noise keys


class TextDataModule(LightningDataModule):
    """Data module of text: trains on a nested subset of rows and measures on fixed draws.

    Args:
        source: source of the text.
        tokenizer: tokenizer of the text.
        packing: packing of documents into rows.
        train_size: training rows: a number of rows (int), or a fraction of the pool in (0, 1] (float).
        batch_size: rows per optimizer step, over all ranks and accumulated micro-batches.
        eval_batch_size: rows per batch of one rank in a measurement.
        num_train_rows: number of draws of training rows in a measurement.
        num_test_rows: number of draws of held-out rows in a measurement; `test` measures each held-out row once.
        num_sample_rows: number of rows that the model samples and measures; 0 for none.
        num_random_rows: number of rows of uniform random tokens in a measurement; 0 for none.
        test_fraction: fraction of documents to hold out, in (0, 1), if the source has no official split.
        seed: seed of subset, order and noise.
        num_workers: number of worker processes that read rows; 0 reads in the training process, which is fast.
        cache_dir: cache of prepared corpora; null is `$UDDM_CACHE`, or `~/.cache/uddm_lightning`.
        text: UTF-8 file whose lines `predict` restores.
        canaries: repetitions of each canary, a row of random ids that is added to the training rows that many times, as
            in [0, 1, 4, 16]. `uddm audit` measures how well they are stored. They count neither in `train_size` nor in
            measurements.

    Attributes:
        splits: names of the validation and test dataloaders, in order. The rows of "samples" and "random" are uniform
            random tokens: initial states of the model's samples, and a control text.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: Tokenizer,
        packing: Packing,
        train_size: int | float = 1.0,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        num_train_rows: int = 1024,
        num_test_rows: int = 1024,
        num_sample_rows: int = 256,
        num_random_rows: int = 128,
        test_fraction: float = 0.1,
        seed: int = 0,
        num_workers: int = 0,
        cache_dir: str | None = None,
        text: str | None = None,
        canaries: list[int] | None = None,
    ) -> None:
        super().__init__()
        check_train_size(train_size)
        check_repetitions(canaries or ())
        check_at_least(1, "data.", batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_at_least(1, "data.", num_train_rows=num_train_rows, num_test_rows=num_test_rows)
        check_at_least(0, "data.", num_sample_rows=num_sample_rows, num_random_rows=num_random_rows)
        check_at_least(0, "data.", seed=seed, num_workers=num_workers)
        check_within("(0, 1)", "data.", test_fraction=test_fraction)
        self.source = source
        self.packing = packing
        self.train_size = train_size
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_train_rows = num_train_rows
        self.num_test_rows = num_test_rows
        self.num_sample_rows = num_sample_rows
        self.num_random_rows = num_random_rows
        noise_splits = (("samples", num_sample_rows), ("random", num_random_rows))
        self.splits = ("train", "test", *(split for split, draws in noise_splits if draws))
        self.test_fraction = test_fraction
        self.seed = seed
        self.num_workers = num_workers
        self.cache_dir = cache_dir
        self.text = text
        self.canaries = canaries
        self._tokenizer = tokenizer

    @cached_property
    def corpus(self) -> Corpus:
        """Prepared corpus; built at the first access."""
        return prepare_corpus(self.source, self._tokenizer, self.packing, self.test_fraction, self.cache_dir)

    @cached_property
    def subset(self) -> Subset:
        """Rows to train on."""
        return Subset(len(self.corpus.train), self.train_size, self.seed, self.corpus.hash)

    @property
    def subset_size(self) -> int:
        """Number of rows to train on."""
        return len(self.subset)

    @property
    def tokenizer(self) -> Tokenizer:
        """Fitted tokenizer."""
        return self.corpus.tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of ids V."""
        return int(self.corpus.meta["vocab_size"])

    @property
    def length(self) -> int:
        """Positions L of a row."""
        return self.packing.length

    @property
    def markov_chain(self) -> MarkovChain | None:
        """Distribution of a row over ids; None if the source, the tokenizer or the packing has no such distribution."""
        distribution = self.source.distribution
        if distribution is None or distribution.length % self.length:
            return None
        ids = self.tokenizer.encode(list(distribution.alphabet))
        distinct = {tuple(token) for token in ids if len(token) == 1}
        if len(distinct) < len(ids):
            return None
        return distribution.chain.relabel([token[0] for token in ids], self.vocab_size)

    def training_rows(self) -> Tensor:
        """Return the ids (N, L), int64, of all N training rows, including planted canaries."""
        rows, subset = self._trained()
        return rows.tokens(subset.rows(torch.arange(len(subset))))

    @property
    def unigram(self) -> Tensor:
        """Frequencies (V,) of ids in the whole pool with add-one smoothing, float64."""
        return self.corpus.unigram_frequencies()

    @property
    def unigram_entropy(self) -> float:
        """Entropy of the unsmoothed frequencies of ids in the whole pool, in nats per token."""
        counts = self.corpus.unigram.double()
        return float(torch.special.entr(counts / counts.sum()).sum())

    @override
    def prepare_data(self) -> None:
        _ = self.corpus

    @override
    def train_dataloader(self) -> DataLoader[TokenBatch]:
        """Return the endless training rows, from the optimizer step of the trainer."""
        start, accumulation = 0, 1
        rank, world_size = self._rank_and_world_size()
        if self.trainer is not None:
            start, accumulation = self.trainer.global_step, self.trainer.accumulate_grad_batches
            interval = self.trainer.val_check_interval
            if isinstance(interval, int) and not isinstance(interval, bool):
                check_interval(interval, accumulation)
        check_batch_size(self.batch_size, world_size, accumulation)
        rows, subset = self._trained()
        dataset = TrainDataset(rows, subset, self.batch_size, self.seed, start, accumulation, rank, world_size)
        return self._dataloader(dataset)

    @override
    def val_dataloader(self) -> list[DataLoader[TokenBatch]]:
        """Return draws of the first subset rows, of held-out rows (the same for all sizes and seeds) and of noise."""
        train = self.subset.rows(torch.arange(min(len(self.subset), self.num_train_rows)))
        test = measured_order(self.corpus, torch.arange(min(len(self.corpus.test), self.num_test_rows)))
        return [
            self._eval_dataloader(self.corpus.train, train, self.num_train_rows, TRAIN),
            self._eval_dataloader(self.corpus.test, test, self.num_test_rows, TEST),
            *self._noise_dataloaders(),
        ]

    @override
    def test_dataloader(self) -> list[DataLoader[TokenBatch]]:
        """Return the validation dataloaders, but with each held-out row once."""
        pool = len(self.corpus.test)
        test = self._eval_dataloader(self.corpus.test, torch.arange(pool), pool, TEST)
        return [self.val_dataloader()[TRAIN], test, *self._noise_dataloaders()]

    @override
    def predict_dataloader(self) -> DataLoader[TokenBatch]:
        """Return the lines of the file `text`."""
        rows = self.text_rows
        return self._eval_dataloader(rows, torch.arange(len(rows)), len(rows), TEXT)

    @cached_property
    def text_rows(self) -> TextRows:
        """Rows of the file `text`."""
        if self.text is None:
            raise InputError("There is no text to restore; set `--text FILE` (UTF-8, one passage per line).")
        return TextRows.from_file(self.text, self.tokenizer, self.packing)

    @override
    def transfer_batch_to_device(self, batch: TokenBatch, device: torch.device, dataloader_idx: int) -> TokenBatch:
        """Move a batch to a device, faster than Lightning's generic traversal of collections."""
        if device.type == "cpu":
            return batch
        fields: list[Any] = [v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for v in batch]
        return TokenBatch(*fields)

    def manifest(self) -> dict[str, Any]:
        """Return the data that determine the training and evaluation rows of a run, as plain data for JSON."""
        meta = self.corpus.meta
        return {
            "corpus": self.corpus.hash,
            "tokenizer": meta["tokenizer_hash"],
            "subset": self.subset.hash(),
            "train_size": len(self.subset),
            "seed": self.seed,
            "rule": "first `size` places of the keyed permutation of the pool (seed, corpus)",
            "fingerprint": meta["fingerprint"],
            "test_fraction": meta["test_fraction"],
            "vocab_size": meta["vocab_size"],
            "lost": meta["lost"],
            **({"canaries": self._canaries().manifest()} if self.canaries else {}),
            "splits": {split: meta[split] for split in ("train", "test")},
            "source": component_spec(self.source),
            "tokenizer_spec": meta["tokenizer"],
            "packing": meta["packing"],
            "versions": {
                "python": platform.python_version(),
                "uddm_lightning": __version__,
                **{name: version(name) for name in ("torch", "lightning", "tokenizers", "datasets")},
            },
        }

    def _canaries(self) -> Canaries:
        return Canaries(self.canaries or [], self.packing, self.tokenizer, self.seed)

    def _trained(self) -> tuple[RowReader, Subset]:
        """Return the rows to train on: those of the subset, and planted canaries."""
        if not self.canaries:
            return self.corpus.train, self.subset
        canaries = self._canaries()
        return PlantedRows(self.corpus.train, canaries), PlantedSubset(self.subset, canaries)

    def _rank_and_world_size(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _noise_dataloaders(self) -> list[DataLoader[TokenBatch]]:
        kinds = ((self.num_sample_rows, Stream.SAMPLES, SAMPLES), (self.num_random_rows, Stream.RANDOM, RANDOM))
        return [
            self._eval_dataloader(
                NoiseRows(self.packing, self.tokenizer, self.seed, stream), torch.arange(draws), draws, code
            )
            for draws, stream, code in kinds
            if draws
        ]

    def _eval_dataloader(self, rows: RowReader, row_ids: Tensor, draws: int, code: int) -> DataLoader[TokenBatch]:
        rank, world_size = self._rank_and_world_size()
        dataset = EvalDataset(rows, row_ids, draws, self.eval_batch_size, self.seed, code, rank, world_size)
        # The dataset has the batches of this rank only. Lightning keeps a `DistributedSampler`, whatever
        # `trainer.use_distributed_sampler` is.
        return self._dataloader(dataset, DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=False))

    def _dataloader(self, dataset: Dataset[TokenBatch], sampler: Sampler[int] | None = None) -> DataLoader[TokenBatch]:
        if self.num_workers > 0:
            # Workers do not tokenize. Without this variable, the tokenizers library warns in each forked worker.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        return DataLoader(
            dataset,
            batch_size=None,  # items are whole batches
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
