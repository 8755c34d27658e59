"""Read and write YAML such that the config parser and PyYAML agree on every value."""

from enum import Enum
from typing import Any

import yaml
from jsonargparse import get_loader, set_dumper, set_loader

FOLDED = "\x85\u2028\u2029"  # line ends of YAML 1.1, which only double quotes keep

_parsed = get_loader("yaml")


def _load(text: str) -> Any:
    """Load like the parser's own loader, but take no value of the command line for a comment or an empty mapping."""
    try:
        value = _parsed(text)
    except (TypeError, ValueError):  # for `?` the loader sees a key without a name, for `._` a number
        return text
    if isinstance(value, str) and not text.lstrip().startswith(("'", '"', "|", ">")):
        return text  # YAML folds the unusual line ends of a plain text
    nothing = value is None and text.strip().startswith(("#", "&", "!")) and len(text.splitlines()) == 1
    return text if nothing else value


class _Dumper(yaml.SafeDumper):
    """Quotes a string that would be read as something else: the parser takes 1e3 for a number, PyYAML does not."""

    def text(self, value: str) -> yaml.ScalarNode:
        """Return the node of a string."""
        try:
            same = isinstance(_parsed(value), str)
        except (yaml.YAMLError, TypeError, ValueError):
            same = False
        style = '"' if set(value) & set(FOLDED) else None if same else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _Dumper.text)
# Lightning has arguments whose defaults are members of an enumeration of strings; the parser would not write them down.
_Dumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))


def from_yaml(text: str) -> Any:
    """Return the content of a YAML text as the parser reads it.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return _parsed(text)


def to_yaml(content: Any) -> str:
    """Return a YAML text that both the parser and PyYAML read as `content`."""
    text: str = yaml.dump(content, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
    return text


# of the whole process: jsonargparse has no loader or dumper per parser
set_loader("yaml", _load, (yaml.YAMLError,))
set_dumper("yaml", to_yaml)
