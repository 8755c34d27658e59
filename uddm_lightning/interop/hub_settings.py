"""Read the settings in a `config.json` from an untrusted source."""

import math
from collections.abc import Callable, Collection
from typing import Any

from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.hub_folder import CONFIG, shown

LARGEST = 1e9  # of a number; no setting of a model is larger


class HubSettings:
    """Settings in a `config.json`, and a record of the keys that are missing from it.

    A key is a path with dots: `process.schedule.eps` is an entry of a section of a section.

    Args:
        content: content of the file.
        refusal: returns the error for a reason.

    Attributes:
        assumed: keys that the file lacks and that were read with their usual values, in the order of the first reading.
    """

    def __init__(self, content: dict[str, Any], refusal: Callable[[str], InputError]) -> None:
        self.content, self.refusal = content, refusal
        self.assumed: list[str] = []

    def value(self, key: str, usual: Any = None) -> Any:
        """Return the value of a key; a missing one, or null, has its usual value."""
        found: Any = self.content
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None and usual is not None:
            if key not in self.assumed:
                self.assumed.append(key)
            return usual
        return found

    def number(self, key: str, usual: float | None = None) -> float:
        """Return a number.

        Raises:
            InputError: it is no finite number, larger than 1e9, or missing without a usual value.
        """
        value = self.value(key, usual)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or math.isnan(value) or abs(value) > LARGEST:
            raise self.refusal(f"its `{CONFIG}` says `{key}` = {shown(value)}, and a number is needed")
        return float(value)

    def switch(self, key: str, usual: bool) -> bool:
        """Return whether a setting is on.

        Raises:
            InputError: it is neither true nor false.
        """
        value = self.value(key, usual)
        if not isinstance(value, bool):
            raise self.refusal(f"its `{CONFIG}` says `{key}` = {shown(value)}, and not true or false")
        return value

    def choice(self, key: str, known: Collection[str], usual: str | None = None) -> str:
        """Return a name.

        Raises:
            InputError: it is not one of the known names.
        """
        value = self.value(key, usual)
        if not isinstance(value, str) or value not in known:
            raise self.refusal(f"its `{CONFIG}` says `{key}` = {shown(value)}; known values: {', '.join(known)}")
        return value
