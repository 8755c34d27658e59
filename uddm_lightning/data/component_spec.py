"""What an injected object is, as plain data for cache keys and manifests."""

from hashlib import blake2b
from typing import Any

PLAIN = (str, int, float, type(None), list, tuple, dict)


def describe(component: object) -> dict[str, Any]:
    """Class path and public attributes, in the shape in which a config names them.

    A component keeps its constructor's arguments under their own names, and everything else under names that begin with
    an underscore. Components that it was made with are described in the same way.
    """
    arguments = {
        name: value if isinstance(value, PLAIN) else describe(value)
        for name, value in vars(component).items()
        if not name.startswith("_")
    }
    return {"class_path": f"{type(component).__module__}.{type(component).__qualname__}", "init_args": arguments}


def digest(data: bytes) -> str:
    """Content hash, hex."""
    return blake2b(data, digest_size=16).hexdigest()
