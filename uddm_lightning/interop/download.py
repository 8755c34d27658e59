"""Download a model folder from the Hugging Face hub, after its size was printed."""

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.constants import HF_HUB_OFFLINE

from uddm_lightning.core.errors import InputError, first_line
from uddm_lightning.interop.hub_folder import CONFIG, INDEX, PICKLES, TOKENIZER, TOKENIZER_CONFIG, VOCABULARIES

NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
SAFETENSORS = ".safetensors"
# Files beside the weights; nothing else is downloaded.
FILES = (CONFIG, INDEX, TOKENIZER, TOKENIZER_CONFIG, *VOCABULARIES, "special_tokens_map.json", "generation_config.json")
TIMEOUT = 10.0  # seconds


class Downloaded(NamedTuple):
    """A model folder of the hub.

    Attributes:
        folder: of the files, in the hub's cache.
        origin: repository and commit, for the manifest.
    """

    folder: Path
    origin: dict[str, Any]


def is_hub_name(given: str) -> bool:
    """Return whether a text is a name OWNER/NAME and no path that exists."""
    return not Path(given).exists() and NAME.fullmatch(given) is not None and ".." not in given


def download(name: str, revision: str | None = None, code: bool = False) -> Downloaded:
    """Return the folder of a model on the hub, downloaded if it is not in the hub's cache.

    `config.json`, safetensors and the tokenizer are downloaded, code only if asked for, pickles never. The size is
    written to the standard error first. With `HF_HUB_OFFLINE=1` the cache alone is used.

    Args:
        name: OWNER/NAME.
        revision: branch, tag or commit; None is the main branch.
        code: download Python files, too.

    Raises:
        InputError: the model is not there, cannot be reached, is not in the cache when offline, or has no safetensors.
    """
    shown = f"`{name}`" + (f" at `{revision}`" if revision else "")
    if HF_HUB_OFFLINE:
        try:
            folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{shown} is neither a path nor in the hub's cache, and `HF_HUB_OFFLINE` forbids a download. Give a "
                "folder, or unset it."
            ) from error
        return Downloaded(folder, {"repository": name, "revision": folder.name})
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=TIMEOUT)
        wanted = wanted_files(name, info, code)
        sys.stderr.write(f"{name} at {info.sha}: {len(wanted)} files, {sum(wanted.values()) / 1e6:,.1f} MB\n")
        folder = Path(snapshot_download(name, revision=info.sha, allow_patterns=sorted(wanted)))
    except InputError:
        raise
    except Exception as error:  # errors of network and hub share no base class
        raise InputError(
            f"{shown} is no path, and the hub does not give a model of this name ({first_line(error)}). Check the name "
            "and the network, or give a folder."
        ) from error
    return Downloaded(folder, {"repository": name, "revision": info.sha})


def wanted_files(name: str, info: Any, code: bool) -> dict[str, int]:
    """Return the sizes in bytes of the files that are downloaded.

    Args:
        name: OWNER/NAME.
        info: of the model, from the hub, with the metadata of files.
        code: download Python files, too.

    Raises:
        InputError: the model has no safetensors.
    """
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or []}
    wanted = {file: size for file, size in sizes.items() if _is_wanted(file, code)}
    if not any(file.endswith(SAFETENSORS) for file in wanted):
        pickles = [file for file in sizes if Path(file).suffix in PICKLES]
        why = "only pickles, which may run code when they are read" if pickles else "no weights"
        raise InputError(f"`{name}` has no safetensors, {why}; nothing was downloaded.")
    return wanted


def _is_wanted(file: str, code: bool) -> bool:
    """Return whether a file of the repository is downloaded: those of the top folder that are read."""
    return "/" not in file and (file in FILES or file.endswith((SAFETENSORS, *([".py"] if code else []))))
