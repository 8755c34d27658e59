"""Reads a pickle without running it: what it names stays a name, and what it wants called stays uncalled.

A pickle is a program. It names functions and classes of any module and has them called; whoever "loads" it runs it.
Here nobody does: its opcodes are followed one by one, containers and numbers are put together as they say, and
everything else becomes a placeholder that remembers what was asked for. Nothing is imported and nothing is called, so
that a file can be read although the packages it names are not installed, and although nobody knows who made it.

The opcodes are those of `pickletools`, Python's own description of the format, which only parses.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Scalar = str | bytes | int | float | bool | None


class DamagedError(ValueError):
    """The bytes are not what they claim to be."""


@dataclass(frozen=True)
class Name:
    """Something that a pickle names: a class, a function, a constant. Nobody looks it up."""

    module: str
    name: str


@dataclass(eq=False)
class OpaqueObject:
    """An object that was not made.

    Attributes:
        made_by: what would have been called to make it.
        arguments: with which arguments.
        state: what it would have been given afterwards: its attributes, as a rule.
        items: what would have been appended or added to it; of what it would have been given by key, (key, value).
    """

    made_by: Any
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)

    def is_a(self, module: str, name: str) -> bool:
        """Whether it would have been an object of that class or a result of that function."""
        return bool(self.made_by == Name(module, name))

    def attributes(self) -> dict[str, Any]:
        """Its attributes, as far as they were given as such."""
        state = self.state
        if isinstance(state, tuple) and len(state) == 2:  # attributes in a dictionary, and those in slots
            state = {**(state[0] or {}), **(state[1] or {})}
        return state if isinstance(state, dict) else {}


@dataclass(frozen=True)
class Reference:
    """Something that lies outside the pickle; a checkpoint's storages do."""

    to: Any


Builder = Callable[..., Any]


def _mapping(items: Any = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in items}


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise DamagedError(f"bytes in an encoding {encoding!r}")
    return text.encode("latin1")


# The only calls that are answered, each by a plain container of our own making.
PLAIN: dict[Name, Builder] = {
    Name("collections", "OrderedDict"): _mapping,
    Name("collections", "defaultdict"): lambda *_: {},
    Name("torch", "Size"): tuple,
    Name("_codecs", "encode"): _bytes,
    Name("__builtin__", "bytes"): lambda: b"",  # as old protocols write none
    Name("builtins", "bytes"): lambda: b"",
}


def read(data: bytes, builders: dict[Name, Builder] | None = None) -> Any:
    """What the pickle describes, in plain containers, `Name`, `OpaqueObject` and `Reference`.

    Args:
        data: the pickle, of any protocol.
        builders: further calls that are answered, by what is called.

    Raises:
        DamagedError: this is no pickle, or one that leans on the state of the process that reads it.
    """
    machine = _Machine({**PLAIN, **(builders or {})})
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.do(opcode.name, argument)
        return machine.result()
    except DamagedError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        # a stack that runs empty, an argument of the wrong kind, a text that is no UTF-8
        raise DamagedError(f"its pickle is no sound one: {type(error).__name__}") from error


class _Machine:
    """The stack machine that the opcodes are written for, with the calls left out."""

    def __init__(self, builders: dict[Name, Builder]) -> None:
        self.builders = builders
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # what lies under each mark
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        (value,) = self.stack
        if self.below:
            raise DamagedError("its pickle ends too early")
        return value

    def do(self, opcode: str, argument: Any) -> None:
        if opcode in VALUES:
            self.push(argument)
        elif opcode in EMPTY:
            self.push(EMPTY[opcode]())
        elif opcode in MEMO_IN:
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif opcode in MEMO_OUT:
            self.push(self.memo[argument])
        elif opcode in STEPS:
            STEPS[opcode](self, argument)
        elif opcode not in NOTHING:
            raise DamagedError(f"its pickle holds {opcode}, which means something to its own program only")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self, _: Any = None) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def take(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise DamagedError("its pickle takes more than it has put down")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return tuple(items)

    def call(self, called: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise DamagedError("its pickle calls something with arguments that are no tuple")
        builder = self.builders.get(called) if isinstance(called, Name) else None
        self.push(builder(*arguments) if builder else OpaqueObject(called, arguments))

    def name(self, argument: Any) -> None:
        module, name = argument.split(" ", 1)
        self.push(Name(module, name))

    def stack_name(self, _: Any) -> None:
        module, name = self.take(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise DamagedError("its pickle names something with a name that is no text")
        self.push(Name(module, name))

    def reduce(self, _: Any) -> None:
        self.call(*self.take(2))

    def make(self, _: Any) -> None:
        (made_by, *arguments) = self.since_mark()
        self.call(made_by, tuple(arguments))

    def make_named(self, argument: Any) -> None:
        arguments = tuple(self.since_mark())
        self.name(argument)
        self.call(self.stack.pop(), arguments)

    def make_with_names(self, _: Any) -> None:
        made_by, arguments, named = self.take(3)
        self.call(made_by, (*arguments, *named.items()))

    def build(self, _: Any) -> None:
        (state,) = self.take(1)
        if isinstance(self.stack[-1], OpaqueObject):  # a plain container keeps its contents only
            self.stack[-1].state = state

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, OpaqueObject):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise DamagedError("its pickle adds items to what holds none")

    def set_items(self, items: Any) -> None:
        keys, values, target = items[::2], items[1::2], self.stack[-1]
        pairs = [(_key(key), value) for key, value in zip(keys, values, strict=True)]
        if isinstance(target, dict):
            target.update(pairs)
        else:
            self.extend(pairs)

    def to_dict(self, _: Any) -> None:
        items = self.since_mark()
        self.push({})
        self.set_items(items)


def _key(key: Any) -> Any:
    """A key as it is, unless it is of a kind of which no harmless file has any: those may be deep without end."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, Scalar | Name | OpaqueObject) for part in parts):
        raise DamagedError("its pickle has a dictionary whose keys are neither text nor numbers")
    return key


# `NEWOBJ` makes an object of a class, `REDUCE` calls a function; where neither happens they are the same.
STEPS: dict[str, Callable[[_Machine, Any], object]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.since_mark,
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(machine.take(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.take(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.take(3)),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "FROZENSET": lambda machine, _: machine.push(machine.since_mark()),  # what is in it need not be looked for
    "DICT": _Machine.to_dict,
    "APPEND": lambda machine, _: machine.extend(list(machine.take(1))),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.make_with_names,
    "OBJ": _Machine.make,
    "INST": _Machine.make_named,
    "BUILD": _Machine.build,
    "BINPERSID": lambda machine, _: machine.push(Reference(*machine.take(1))),
}
EMPTY: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
MEMO_IN = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
MEMO_OUT = frozenset(("GET", "BINGET", "LONG_BINGET"))
NOTHING = frozenset(("PROTO", "FRAME", "STOP"))
