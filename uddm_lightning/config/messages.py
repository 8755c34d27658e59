"""Messages for errors of the parser: the key, the value, the nearest known name and the way out."""

import inspect
import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from typing import Any, get_args

from uddm_lightning.core.errors import InputError, sanitize_message, suggest

TRIED = "Does not validate against any of the Union subtypes"  # begins jsonargparse's list of all types that it tried
SIMILAR = 0.6  # least ratio of `SequenceMatcher` at which a name is suggested


def explain(message: str, options: Iterable[Any]) -> str:
    """Return the message of an error of the parser, on one line.

    Args:
        message: of jsonargparse.
        options: actions of the parser and of its subcommands.
    """
    text = sanitize_message(message)
    known = {option.dest: option for option in options}
    if found := re.match(r"unrecognized arguments: (\S+)", text):
        word = found[1]
        if not word.startswith("-"):
            return f"`{word}` stands alone in the command. A config is given by `-c {word}`."
        key = word.lstrip("-").partition("=")[0]
        return f"`--{key}` is not an option{_nearest(key, known)}"
    if found := re.match(r"(?:Subcommand '\w+'|Group '([\w.]+)') does not accept option '([^']+)'", text):
        key = ".".join(filter(None, found.groups()))
        return f"`{key}` is not a key of a config{_nearest(key, known)}"
    if found := re.match(r"Call to compute_fn of link .* failed: (.*)", text):
        return found[1]  # a value that others are computed from
    if not (found := re.match(r'Parser key "([^"]+)": (.*)', text)):
        return text
    key, problem = found[1], found[2]
    if problem.startswith(TRIED) and (inner := re.search(r" - (`\w+` is .*?; expected [^;]*?\.)(?: - |$)", problem)):
        return f"`{key}`: {inner[1]}"  # an argument of one of the classes
    classes = {kind.__name__: kind for kind in _known_classes(getattr(known.get(key), "_typehint", None))}
    if option := re.search(r"Option '([^']+)' is not accepted", problem):
        arguments = {name for kind in classes.values() for name in inspect.signature(kind).parameters}
        return f"`{key}` has no argument `{option[1]}`{_nearest(option[1], arguments)}"
    if re.match(r"Not a valid subclass of \w+\. Got value: None\b", problem):
        return f"`{key}` is missing; give one of the classes {_listed(classes)}, or the import path of your own."
    reason = re.search(r"(module '[^']+' has no attribute '[^']+'|No module named '[^']+')", problem)
    given = re.search(r"Expected a path but (\S+) either", problem)
    given = given or (reason and re.search(r"class_path[= ]'([^']+)'", problem))  # of a config file
    if classes and given:
        why = f" ({reason[1]})" if reason else ""
        near = suggest(given[1].rpartition(".")[2], classes)
        return (
            f"`{key}` is {given[1]}, which is not a known class{why}{near} There are {_listed(classes)}; give your own "
            "by its import path, such as my_module.MyClass."
        )
    value = re.search(r"(?:Given value|Got value): (.*)$", problem)
    types = re.findall(r"Expected an? <class '(\w+)'>", problem)
    if value and types:
        return f"`{key}` is {value[1]}; expected {' or '.join(dict.fromkeys(types))}."
    return f"`{key}`: {problem}"


def constructor_error(error: Exception) -> InputError:
    """Return the error of a class whose arguments are wrong, as one that the user can fix.

    Where a key takes one of several types, the parser hides the error behind a list of all types that it tried.

    Args:
        error: of the parser, while it makes the objects of a config.
    """
    while str(error).startswith(TRIED) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error if isinstance(error, InputError) else InputError(sanitize_message(str(error)))


def _nearest(key: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the most similar key, or a full stop; keys of one section are compared."""
    section, _, name = key.rpartition(".")
    names = [name for name in known if name != key]  # of another class, which does not suggest itself
    same = [one for one in names if one.rpartition(".")[0] == section]
    score, best = max(((_similarity(name, one.rpartition(".")[2]), one) for one in same), default=(0.0, ""))
    return f"; did you mean `{best}`?" if score >= SIMILAR else suggest(key, names)


def _similarity(name: str, known: str) -> float:
    """Return how similar a name is to a known one or to a long word of it, from 0 to 1."""
    words = [known, *(word for word in known.split("_") if len(word) > 3)]
    return max(SequenceMatcher(None, name, word).ratio() - 0.01 * (word != known) for word in words)


def _known_classes(typehint: Any) -> Iterator[type]:
    """Yield the concrete classes of this package that an option accepts."""
    if isinstance(typehint, type) and not get_args(typehint):
        if typehint.__module__.startswith("uddm_lightning") and not inspect.isabstract(typehint):
            yield typehint
        subclasses: list[type] = [] if typehint in (object, type) else typehint.__subclasses__()
        for kind in subclasses:
            yield from _known_classes(kind)
    else:
        for part in typehint if isinstance(typehint, list) else get_args(typehint):
            yield from _known_classes(part)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(name for name in names if not name.startswith("_")))
