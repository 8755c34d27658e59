"""The data module: from injected source, tokenizer and packing to batches.

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
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from typing_extensions import override

from uddm_lightning import __version__
from uddm_lightning.config.ranges import check_interval
from uddm_lightning.core import keyed_random
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.data.component_spec import describe
from uddm_lightning.data.corpus import Corpus, prepare
from uddm_lightning.data.eval_dataset import EvalDataset, RowReader
from uddm_lightning.data.noise_rows import NoiseRows
from uddm_lightning.data.packing.base import Packing
from uddm_lightning.data.sources.base import Source
from uddm_lightning.data.subset import Subset, check_size, hash_key, rows_of
from uddm_lightning.data.text_rows import TextRows
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.train_dataset import TrainDataset
from uddm_lightning.stats.markov_chain import MarkovChain

TRAIN, TEST, TEXT, SAMPLES, RANDOM = 0, 1, 2, 3, 4  # numbers of the splits in noise keys


class TextDataModule(LightningDataModule):
    """Text as rows of tokens: a nested subset to train on, and fixed draws to measure on.

    Args:
        source: where the text comes from.
        tokenizer: what an id stands for.
        packing: how text is laid into rows.
        train_size: training rows: an integer counts them, a float in (0, 1] is a fraction of the pool.
        batch_size: rows of an optimizer step, of all ranks and accumulated micro-batches together.
        eval_batch_size: rows that one rank measures at a time.
        num_train_rows: draws of training rows to measure on.
        num_test_rows: draws of held-out rows to measure on; `test` takes every held-out row once instead.
        num_sample_rows: rows that the model itself is to draw and be measured on, of its own making; 0 is none.
        num_random_rows: rows of uniform random tokens to measure on, which are no text at all; 0 is none.
        test_fraction: share of documents that are held out, where the source has no official split.
        seed: of subset, order and noise.
        num_workers: processes that read rows; 0 reads in the training process, which costs little.
        cache_dir: where prepared corpora are kept; default `$UDDM_CACHE`, or `~/.cache/uddm_lightning`.
        text: UTF-8 file whose lines `predict` restores.

    Attributes:
        splits: names of the validation and test dataloaders, in order. The rows of "samples" are pure noise, from which
            the model draws; those of "random" are other pure noise, taken for text.
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
    ) -> None:
        super().__init__()
        check_size(train_size)
        for name, value, smallest in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_train_rows", num_train_rows, 1),
            ("num_test_rows", num_test_rows, 1),
            ("num_sample_rows", num_sample_rows, 0),
            ("num_random_rows", num_random_rows, 0),
            ("seed", seed, 0),
            ("num_workers", num_workers, 0),
        ):
            if value < smallest:
                raise InputError(f"`data.{name}` must be at least {smallest}, got {value}.")
        if not 0.0 < test_fraction < 1.0:
            raise InputError(f"`data.test_fraction` must lie strictly between 0 and 1, got {test_fraction}.")
        self.source = source
        self.packing = packing
        self.train_size = train_size
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_train_rows = num_train_rows
        self.num_test_rows = num_test_rows
        self.num_sample_rows = num_sample_rows
        self.num_random_rows = num_random_rows
        without_text = (("samples", num_sample_rows), ("random", num_random_rows))
        self.splits = ("train", "test", *(split for split, draws in without_text if draws))
        self.test_fraction = test_fraction
        self.seed = seed
        self.num_workers = num_workers
        self.cache_dir = cache_dir
        self.text = text
        self._tokenizer = tokenizer

    @cached_property
    def corpus(self) -> Corpus:
        """The prepared corpus; built when it is first asked for."""
        return prepare(self.source, self._tokenizer, self.packing, self.test_fraction, self.cache_dir)

    @cached_property
    def subset(self) -> Subset:
        """The rows to train on."""
        return Subset(len(self.corpus.train), self.train_size, self.seed, self.corpus.hash)

    @property
    def subset_size(self) -> int:
        """Number of rows to train on."""
        return len(self.subset)

    def rows_of(self, size: int | float, key: str = "data.train_size") -> int:
        """Return the number of rows of a size, which counts rows (int) or is a fraction of the pool (float).

        Args:
            size: the size.
            key: where it was given, for the error message.

        Raises:
            InputError: the pool does not hold it.
        """
        return rows_of(size, len(self.corpus.train), key)

    @property
    def tokenizer(self) -> Tokenizer:
        """The fitted tokenizer."""
        return self.corpus.tokenizer

    @property
    def vocab_size(self) -> int:
        """V."""
        return int(self.corpus.meta["vocab_size"])

    @property
    def length(self) -> int:
        """L."""
        return self.packing.length

    @property
    def chain(self) -> MarkovChain | None:
        """The law of a row in terms of ids, where the source knows it and tokenizer and packing keep it."""
        law = self.source.distribution
        if law is None or law.length % self.length:
            return None
        ids = self.tokenizer.encode(list(law.letters))
        told_apart = {tuple(one) for one in ids if len(one) == 1}
        return law.chain.relabel([one[0] for one in ids], self.vocab_size) if len(told_apart) == len(ids) else None

    def training_rows(self) -> Tensor:
        """Ids (N, L), int64, of all N rows to train on."""
        return self.corpus.train.tokens(self.subset.rows(torch.arange(len(self.subset))))

    @property
    def unigram(self) -> Tensor:
        """Frequencies (V,) of ids in the whole pool, add-one smoothed, float64."""
        return self.corpus.unigram_frequencies()

    @property
    def unigram_entropy(self) -> float:
        """Entropy of the frequencies of ids in the whole pool, as they are, in nats: what a token costs by itself."""
        counts = self.corpus.unigram.double()
        return float(torch.special.entr(counts / counts.sum()).sum())

    @override
    def prepare_data(self) -> None:
        _ = self.corpus

    @override
    def train_dataloader(self) -> DataLoader[TokenBatch]:
        """The endless stream, from the optimizer step at which the trainer stands."""
        start, accumulation = 0, 1
        rank, world_size = self._place()
        if self.trainer is not None:
            start, accumulation = self.trainer.global_step, self.trainer.accumulate_grad_batches
            interval = self.trainer.val_check_interval
            if isinstance(interval, int) and not isinstance(interval, bool):
                check_interval(interval, accumulation)
        check_divides(self.batch_size, world_size, accumulation)
        stream = TrainDataset(
            self.corpus.train, self.subset, self.batch_size, self.seed, start, accumulation, rank, world_size
        )
        return self._loader(stream)

    @override
    def val_dataloader(self) -> list[DataLoader[TokenBatch]]:
        """Draws of the first rows of the subset; of held-out rows, the same for every size and seed; and of no text."""
        train = self.subset.rows(torch.arange(min(len(self.subset), self.num_train_rows)))
        pool, text = len(self.corpus.test), hash_key(self.corpus.hash)
        test = keyed_random.permutation(torch.arange(min(pool, self.num_test_rows)), pool, Stream.MEASURING, text)
        return [
            self._measured(self.corpus.train, train, self.num_train_rows, TRAIN),
            self._measured(self.corpus.test, test, self.num_test_rows, TEST),
            *self._without_text(),
        ]

    @override
    def test_dataloader(self) -> list[DataLoader[TokenBatch]]:
        """As for validation, but with every held-out row once."""
        pool = len(self.corpus.test)
        every = self._measured(self.corpus.test, torch.arange(pool), pool, TEST)
        return [self.val_dataloader()[TRAIN], every, *self._without_text()]

    @override
    def predict_dataloader(self) -> DataLoader[TokenBatch]:
        """The lines of the file `text`."""
        rows = self.text_rows
        return self._measured(rows, torch.arange(len(rows)), len(rows), TEXT)

    @cached_property
    def text_rows(self) -> TextRows:
        """The rows to restore."""
        if self.text is None:
            raise InputError("There is no text to restore; give `--text FILE` (UTF-8, one passage per line).")
        return TextRows(self.text, self.tokenizer, self.packing)

    @override
    def transfer_batch_to_device(self, batch: TokenBatch, device: torch.device, dataloader_idx: int) -> TokenBatch:
        """As Lightning does it, for this one kind of batch and in a fraction of the time."""
        if device.type == "cpu":
            return batch
        fields: list[Any] = [v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for v in batch]
        return TokenBatch(*fields)

    def manifest(self) -> dict[str, Any]:
        """What decides which rows a run trains on and is measured on; JSON-able."""
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
            "splits": {split: meta[split] for split in ("train", "test")},
            "source": describe(self.source),
            "tokenizer_spec": meta["tokenizer"],
            "packing": meta["packing"],
            "versions": {
                "python": platform.python_version(),
                "uddm_lightning": __version__,
                **{name: version(name) for name in ("torch", "lightning", "tokenizers", "datasets")},
            },
        }

    def _place(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _without_text(self) -> list[DataLoader[TokenBatch]]:
        kinds = ((self.num_sample_rows, Stream.SAMPLES, SAMPLES), (self.num_random_rows, Stream.RANDOM, RANDOM))
        return [
            self._measured(NoiseRows(self.packing, self.tokenizer, self.seed, stream), torch.arange(draws), draws, code)
            for draws, stream, code in kinds
            if draws
        ]

    def _measured(self, rows: RowReader, row_ids: Tensor, draws: int, code: int) -> DataLoader[TokenBatch]:
        rank, world_size = self._place()
        return self._loader(EvalDataset(rows, row_ids, draws, self.eval_batch_size, self.seed, code, rank, world_size))

    def _loader(self, dataset: Dataset[TokenBatch]) -> DataLoader[TokenBatch]:
        # A measuring set holds the batches of this rank only. Lightning leaves a sampler alone that is distributed
        # already, so that no setting of the trainer can share them out once more.
        own = isinstance(dataset, EvalDataset)
        if self.num_workers > 0:
            # Workers never tokenize; unless told so, the library warns in each of them when it is forked.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        return DataLoader(
            dataset,
            batch_size=None,  # items are whole batches
            sampler=DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=False) if own else None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def check_divides(batch_size: int, world_size: int, accumulation: int) -> None:
    """Refuses a batch that cannot be shared out evenly.

    Raises:
        InputError: with the numbers and the way out.
    """
    if batch_size % (accumulation * world_size):
        raise InputError(
            f"`data.batch_size` is {batch_size}, the rows of a whole step, and does not divide among {world_size} "
            f"process(es) x {accumulation} accumulated micro-batch(es); choose a multiple of "
            f"{accumulation * world_size}."
        )
