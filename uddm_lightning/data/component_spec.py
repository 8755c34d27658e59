"""Plain data that describe a component, for cache keys and manifests."""

from typing import Any

PLAIN = (str, int, float, type(None), list, tuple, dict)


def component_spec(component: object) -> dict[str, Any]:
    """Return the class path and the public attributes of a component, in the layout of a config.

    A component stores the arguments of its constructor under their own names, and all other attributes under names that
    begin with an underscore. Nested components are described in the same way.
    """
    arguments = {
        name: value if isinstance(value, PLAIN) else component_spec(value)
        for name, value in vars(component).items()
        if not name.startswith("_")
    }
    return {"class_path": f"{type(component).__module__}.{type(component).__qualname__}", "init_args": arguments}
