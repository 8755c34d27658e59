"""Parts of TensorBoard's page: values and pictures with descriptions, histograms, and HPARAMS."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto.summary_pb2 import (  # type: ignore[import-untyped]  # it ships no types
    DATA_CLASS_BLOB_SEQUENCE,
    DATA_CLASS_SCALAR,
    Summary,
)
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams, image, scalar

from uddm_lightning.probes.base import Histogram
from uddm_lightning.results.declarations import BEHIND, Scalar
from uddm_lightning.results.tables import Record


def add_scalar(writer: SummaryWriter, tag: str, value: float, description: str, step: int) -> None:
    """Write a scalar with its description, in Markdown."""
    summary = scalar(tag, value)  # type: ignore[no-untyped-call]  # torch has no types here
    _add(writer, summary, "scalars", DATA_CLASS_SCALAR, description, step)


def add_image(writer: SummaryWriter, tag: str, picture: npt.NDArray[np.uint8], description: str, step: int) -> None:
    """Write a picture (height, width, 3) with its description, in Markdown."""
    summary = image(tag, picture, dataformats="HWC")  # type: ignore[no-untyped-call]  # torch has no types here
    _add(writer, summary, "images", DATA_CLASS_BLOB_SEQUENCE, description, step)


def add_histograms(writer: SummaryWriter, records: Iterable[Record], step: int) -> None:
    """Write the histograms of records, behind all other tags."""
    for record in records:
        for tag, histogram in record.get("_histograms", {}).items():
            name = BEHIND + Scalar("", tag).name(record)
            if isinstance(histogram, Histogram):
                _add_histogram(writer, name, *histogram, step)
            else:
                writer.add_histogram(name, np.array(histogram, np.float32), step)


def add_settings(writer: SummaryWriter, settings: Mapping[str, Any], scalars: Mapping[str, float]) -> None:
    """Write the row of HPARAMS, which refers to the scalars of the run and adds none."""
    for summary in hparams(dict(settings), dict(scalars)):  # type: ignore[no-untyped-call]  # torch has no types here
        _file(writer).add_summary(summary)


def _add(writer: SummaryWriter, summary: Summary, plugin: str, data_class: Any, description: str, step: int) -> None:
    for value in summary.value:
        value.metadata.plugin_data.plugin_name = plugin
        value.metadata.data_class = data_class
        value.metadata.summary_description = description
    _file(writer).add_summary(summary, step)


def _file(writer: SummaryWriter) -> Any:
    return writer._get_file_writer()  # type: ignore[no-untyped-call]  # torch has no types here


def _add_histogram(writer: SummaryWriter, tag: str, edges: Tensor, counts: Tensor, step: int) -> None:
    if not int(counts.sum()):
        return
    counts, edges = counts.double().cpu(), edges.double().cpu()
    centres = (edges[1:] + edges[:-1]) / 2
    filled = counts.nonzero()[:, 0]
    writer.add_histogram_raw(
        tag,
        min=float(edges[filled[0]]),
        max=float(edges[filled[-1] + 1]),
        num=int(counts.sum()),
        sum=float((counts * centres).sum()),
        sum_squares=float((counts * centres**2).sum()),
        bucket_limits=edges[1:].tolist(),
        bucket_counts=counts.tolist(),
        global_step=step,
    )
