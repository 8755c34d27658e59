"""A folder of links to the TensorBoard events of a sweep: TensorBoard shows its runs by names that sort.

TensorBoard orders runs by the characters of their names, so that `n128` would stand before `n8`.
"""

import os
from contextlib import suppress
from pathlib import Path

BOARD = "tensorboard"  # in the folder of a sweep


def link(path: Path, target: Path) -> None:
    """Make a relative link to a folder, which need not exist yet; a file system without links gets none."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(target, path.parent), target_is_directory=True)


def board_folder(folder: Path) -> Path:
    """Return the folder that TensorBoard should show: that of the links if there are any, else the sweep's."""
    links = folder / BOARD
    return links if links.is_dir() and any(links.iterdir()) else folder
