"""A TensorBoard run over the size of the training subset: its step axis is log2 N.

No tag is that of a run, whose step axis counts optimizer steps: all begin with `transition/`, or with `zz_transition/`
for those that stand behind all others.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib.image import imread
from tensorboard.compat.proto.summary_pb2 import (  # type: ignore[import-untyped]  # it ships no types
    DATA_CLASS_BLOB_SEQUENCE,
    SummaryMetadata,
)
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import image

from uddm_lightning.core.errors import InputError
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.results.charts import charts_by_time
from uddm_lightning.results.study import Mean, Study

Scalar = tuple[str, int, float]  # name, size, value
_FRONT = ("front", "sentences", "recovery", "gap", "errors", "models", "entropy")  # pictures


def write_summary(
    folder: Path,
    study: Study,
    verdict: Estimates,
    backbone: str,
    pictures: Mapping[str, tuple[Path, str]],
) -> None:
    """Write the TensorBoard run of one backbone under a temporary name, and replace the old one.

    Args:
        folder: the run's folder.
        study: the measurements.
        verdict: gaps between train and test rows.
        backbone: whose curves to write.
        pictures: PNG files to show beside them and their captions, by name.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True) as temporary:
            new = Path(temporary, "new")
            _write(new, study, verdict, backbone, pictures)
            if folder.exists():
                folder.rename(new.with_name("old"))
            new.rename(folder)
    except OSError as error:
        raise InputError(f"Cannot write `{folder}`: {error.strerror or error}.") from error


def axis(sizes: Sequence[int]) -> tuple[str, dict[int, int]]:
    """Return a sentence that describes the step axis, and the step of each size."""
    if all(size & (size - 1) == 0 for size in sizes):
        return "The step is log2 N, N being the number of training rows.", {n: n.bit_length() - 1 for n in sizes}
    words = "The step is 100 log2 N, rounded, N being the number of training rows."
    return words, {n: round(100 * math.log2(n)) for n in sizes}


def scalars(study: Study, verdict: Estimates, backbone: str) -> list[Scalar]:
    """Return every curve of a backbone, averaged over seeds."""
    return [(tag, mean.size, mean.value) for tag, means in _curves(study, verdict, backbone) for mean in means]


def _curves(study: Study, verdict: Estimates, backbone: str) -> Iterator[tuple[str, list[Mean]]]:
    """Yield the tag and the means of every curve."""
    for kind in ("recovery", "entropy"):
        for t, split in product(study.times(kind), ("train", "test", "random", "samples")):
            yield f"{kind}/{split}/t={t:g}", study.means(kind, backbone, split, t)
    for t in study.times("recovery"):
        yield f"gap/t={t:g}", [gap for gap in verdict.gaps(backbone, "recovery", t) if gap.size in study.sizes]
        for split, name in product(("train", "test"), ("errors_before", "errors_after")):
            yield f"{name}/{split}/t={t:g}", study.column(name, "recovery", backbone, split, t)
    for split in ("train", "test", "random"):
        yield f"critical_t/{split}", study.column("critical_t", "basin", backbone, split)
        for name in ("fixed_tokens", "fixed_rows"):
            yield f"{name}/{split}", study.column(name, "recovery", backbone, split, study.reference)
    for split, kind in product(("train", "test"), ("nelbo", "nelbo_extrapolated")):
        for mean in study.column("nelbo", kind, backbone, split):
            row = mean.points[0].row
            yield f"{kind}/{split}/t={row['t_min']}-{row['t_max']}", [mean]
    for one in study.declared:
        if one.figure:
            for (column, split, time), means in study.curves(one, backbone).items():
                yield f"{column}/{split}{'' if time is None else f'/t={time:g}'}", means


def _write(
    folder: Path, study: Study, verdict: Estimates, backbone: str, pictures: Mapping[str, tuple[Path, str]]
) -> None:
    words, steps = axis(study.sizes)
    found = scalars(study, verdict, backbone)
    tags = {tag: _tag(tag, study) for tag, _, _ in found}
    writer = SummaryWriter(str(folder))
    try:
        listing = ", ".join(f"{steps[size]} is {size:,} rows" for size in study.sizes)
        writer.add_text("transition/step axis", f"{words} {listing}.")
        writer.add_custom_scalars(charts_by_time("Over log2 of the number of training rows", tags.values()))
        for tag, size, value in found:
            writer.add_scalar(tags[tag], value, steps[size])
        for name, (path, caption) in pictures.items():
            picture = imread(path)[..., :3]
            shown = image(_image_tag(name), picture, dataformats="HWC")  # type: ignore[no-untyped-call]  # torch has no types
            shown.value[0].metadata.CopyFrom(
                SummaryMetadata(
                    plugin_data=SummaryMetadata.PluginData(plugin_name="images"),
                    summary_description=caption,
                    data_class=DATA_CLASS_BLOB_SEQUENCE,
                )
            )
            writer._get_file_writer().add_summary(shown)  # type: ignore[no-untyped-call]  # torch has no types here
    finally:
        writer.close()


def _tag(name: str, study: Study) -> str:
    """Return the tag of a curve; recovery, its gap and entropy at the reference t and the NELBO stand in front."""
    kind, _, rest = name.partition("/")
    split, _, time = rest.rpartition("/") if kind != "gap" else ("test", "", rest)
    at = study.reference is not None and time == f"t={study.reference:g}"
    is_front = split in ("train", "test") and (kind == "nelbo" or (kind in ("recovery", "gap", "entropy") and at))
    return f"{'' if is_front else 'zz_'}transition/{name}"


def _image_tag(name: str) -> str:
    return f"{'' if name in _FRONT else 'zz_'}transition/{name}"
