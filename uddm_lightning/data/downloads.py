"""What a component would fetch from the Hugging Face hub."""

from typing import Literal, NamedTuple


class Download(NamedTuple):
    """Files of one repository.

    Attributes:
        kind: what the hub calls the repository.
        repo: its name.
        revision: commit, tag or branch.
        patterns: names of the files as in a shell; a file is fetched if one of them fits.
    """

    kind: Literal["dataset", "model"]
    repo: str
    revision: str
    patterns: tuple[str, ...]
