"""A TensorBoard run over the size of the training subset: its step axis is log2 N."""

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter

from uddm_lightning.core.errors import InputError
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.results.study import Study

Scalar = tuple[str, int, float]  # tag, size, value


def write_summary(folder: Path, study: Study, verdict: Estimates, backbone: str, pictures: Mapping[str, Path]) -> None:
    """Write the TensorBoard run of one backbone under a temporary name, and replace the old one.

    Args:
        folder: the run's folder.
        study: the measurements.
        verdict: gaps between train and test rows.
        backbone: whose curves to write.
        pictures: PNG files to show beside them, by name.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise InputError(f"Cannot write `{folder}`: {error.strerror or error}.") from error
    old = new.with_name(new.name + ".old")
    try:
        _write(new, study, verdict, backbone, pictures)
        new.chmod(0o755)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        raise InputError(f"Cannot write `{folder}`: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def axis(sizes: Sequence[int]) -> tuple[str, dict[int, int]]:
    """Return a sentence that describes the step axis, and the step of each size."""
    if all(size & (size - 1) == 0 for size in sizes):
        return "The step is log2 N, N being the number of training rows.", {n: n.bit_length() - 1 for n in sizes}
    words = "The step is 100 log2 N, rounded, N being the number of training rows."
    return words, {n: round(100 * math.log2(n)) for n in sizes}


def scalars(study: Study, verdict: Estimates, backbone: str) -> list[Scalar]:
    """Return every curve of a backbone, averaged over seeds."""
    found: list[Scalar] = []
    for kind in ("recovery", "entropy"):
        for t in study.times(kind):
            for split in ("train", "test", "random", "samples"):
                means = study.means(kind, backbone, split, t)
                found += [(f"{kind}/{split}/t={t:g}", mean.size, mean.value) for mean in means]
    for t in study.times("recovery"):
        gaps = [gap for gap in verdict.gaps(backbone, "recovery", t) if gap.size in study.sizes]
        found += [(f"gap/t={t:g}", gap.size, gap.value) for gap in gaps]
        for split, name in product(("train", "test"), ("errors_before", "errors_after")):
            shares = study.column(name, "recovery", backbone, split, t)
            found += [(f"{name}/{split}/t={t:g}", mean.size, mean.value) for mean in shares]
    for split in ("train", "test", "random"):
        means = study.column("critical_t", "basin", backbone, split)
        found += [(f"critical_t/{split}", mean.size, mean.value) for mean in means]
        for name in ("fixed_tokens", "fixed_rows"):
            shares = study.column(name, "recovery", backbone, split, study.reference)
            found += [(f"{name}/{split}", mean.size, mean.value) for mean in shares]
    for split in ("train", "test"):
        for kind in ("nelbo", "nelbo_extrapolated"):
            for mean in study.column("nelbo", kind, backbone, split):
                row = mean.points[0].row
                found.append((f"{kind}/{split}/t={row['t_min']}-{row['t_max']}", mean.size, mean.value))
    for one in study.declared:
        if one.figure:
            for (column, split, time), means in study.curves(one, backbone).items():
                at = "" if time is None else f"/t={time:g}"
                found += [(f"{column}/{split}{at}", mean.size, mean.value) for mean in means]
    return found


def _write(folder: Path, study: Study, verdict: Estimates, backbone: str, pictures: Mapping[str, Path]) -> None:
    words, steps = axis(study.sizes)
    writer = SummaryWriter(str(folder))
    try:
        listing = ", ".join(f"{steps[size]} is {size:,} rows" for size in study.sizes)
        writer.add_text("step axis", f"{words} {listing}.")
        for tag, size, value in scalars(study, verdict, backbone):
            writer.add_scalar(tag, value, steps[size])
        for name, path in pictures.items():
            writer.add_image(name, imread(path)[..., :3], dataformats="HWC")
    finally:
        writer.close()
