"""Downloads from the Hugging Face hub that a component declares."""

from typing import Literal, NamedTuple


class Download(NamedTuple):
    """Files of one repository.

    Attributes:
        kind: repository type of the hub.
        repo: name of the repository.
        revision: commit, tag or branch.
        patterns: shell patterns; a file whose name matches one of them is downloaded.
    """

    kind: Literal["dataset", "model"]
    repo: str
    revision: str
    patterns: tuple[str, ...]
