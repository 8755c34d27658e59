"""A pickle that is read runs nothing, imports nothing, and says what it holds."""

import copyreg
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uddm_lightning.interop.safe_pickle import DamagedError, Name, OpaqueObject, Reference, read

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(deadline=None, derandomize=True, database=None, max_examples=15)
@given(value=values)
def test_plain_data_is_what_pickle_says_it_is(protocol: int, value: Any) -> None:
    data = pickle.dumps(value, protocol)
    assert read(data) == pickle.loads(data)  # noqa: S301 written one line above


def test_ordered_dictionaries_are_plain_ones() -> None:
    for protocol in PROTOCOLS:
        assert read(pickle.dumps(OrderedDict(a=1, b=[2]), protocol)) == {"a": 1, "b": [2]}
    assert read(pickle.dumps(frozenset(["a"]), 4)) == ["a"]
    assert read(pickle.dumps({"a"}, 4)) == ["a"]


def test_what_is_shared_stays_shared_and_cycles_end() -> None:
    inner: list[Any] = []
    inner.append(inner)
    outer = read(pickle.dumps((inner, inner)))
    assert outer[0] is outer[1] is outer[0][0]


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any, **state: Any) -> None:
        self.call = (function, arguments, *([state] if state else []))

    def __reduce__(self) -> Any:
        return self.call


def attacks(canary: Path) -> dict[str, Any]:
    """Objects whose unpickling touches a file."""
    write = f"open({str(canary)!r}, 'w').close()"
    return {
        "system": Call(os.system, f"touch {canary}"),
        "eval": Call(eval, write),
        "exec": Call(exec, write),
        "method": Call(Path.touch, canary),
        "popen": Call(subprocess.check_call, ["touch", str(canary)]),
        "nested": {"deep": [(Call(os.system, f"touch {canary}"),)]},
    }


@pytest.mark.parametrize("name", sorted(attacks(Path("x"))))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_attack_that_works_on_pickle_does_nothing_here(tmp_path: Path, name: str, protocol: int) -> None:
    canary = tmp_path / "canary"
    data = pickle.dumps(attacks(canary)[name], protocol)
    found = read(data)
    assert not canary.exists()
    while isinstance(found, dict | list | tuple):
        found = next(iter(found.values() if isinstance(found, dict) else found))
    assert isinstance(found, OpaqueObject)
    pickle.loads(data)  # noqa: S301 to see that it is an attack
    assert canary.exists()  # so it was one


# opcodes that no pickler writes: c GLOBAL, i INST, o OBJ, R REDUCE, b BUILD, \x81 NEWOBJ, \x92 NEWOBJ_EX, \x93 by stack
BY_HAND = {
    "reduce": b"cposix\nsystem\n(VCOMMAND\ntR.",
    "inst": b"(VCOMMAND\niposix\nsystem\n.",
    "obj": b"(cposix\nsystem\nVCOMMAND\no.",
    "newobj": b"\x80\x02csubprocess\nPopen\n(VCOMMAND\nt\x81.",
    "newobj_ex": b"\x80\x04csubprocess\nPopen\n(VCOMMAND\nt}\x92.",
    "stack_global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93(VCOMMAND\ntR.",
    "dotted": b"\x80\x04\x8c\x08builtins\x8c\x0dstr.__class__\x93(VCOMMAND\ntR.",
    "build": b"cos\nenviron\n}VPATH\nVCOMMAND\nsb.",
    "build_slots": b"cuddm_lightning.interop.inert\nread\n(N}V__code__\nVCOMMAND\nstb.",
    "setstate": b"cuddm_lightning.interop.inert\nInert\n(Vx\nt\x81}V__class__\nVCOMMAND\nsb.",
    "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nV__call__\ntR(VCOMMAND\ntR.",
    "partial": b"cfunctools\npartial\n(cos\nsystem\nVCOMMAND\ntR)R.",
    "from_type": b"ctorch._utils\n_rebuild_from_type_v2\n(cos\nsystem\nNVCOMMAND\nNtR.",
    "dict_of_module": b"cos\n__dict__\nVsystem\nVCOMMAND\ns.",
}


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_no_opcode_runs_anything(tmp_path: Path, name: str) -> None:
    canary, before = tmp_path / "canary", set(sys.modules)
    data = BY_HAND[name].replace(b"COMMAND", f"touch {canary}".encode())
    if name == "dict_of_module":
        with pytest.raises(DamagedError, match="adds items"):
            read(data)
    else:
        assert isinstance(read(data), OpaqueObject | Name)
    assert not canary.exists()
    assert set(sys.modules) == before
    assert read.__code__.co_name == "read"


def test_what_was_asked_for_is_remembered() -> None:
    data = b"\x80\x02cmodule.of.nobody\nThing\n(K\x01Vx\nt\x81}Va\nK\x02sb."
    thing = read(data)
    assert thing.is_a("module.of.nobody", "Thing")
    assert thing.arguments == (1, "x")
    assert thing.attributes() == {"a": 2}
    slots = read(b"\x80\x02cmodule.of.nobody\nThing\n)\x81N}Va\nK\x02s\x86b.")
    assert slots.attributes() == {"a": 2}
    filled = read(b"\x80\x02cm\nT\n)\x81(K\x01K\x02e(Va\nK\x03u.")
    assert filled.items == [1, 2, ("a", 3)]
    assert read(b"\x80\x02Vkey\nQ.") == Reference("key")


def test_extensions_of_the_process_are_refused_even_where_it_knows_them(tmp_path: Path) -> None:
    copyreg.add_extension("os", "system", 77)
    try:
        for opcode in (b"\x82\x4d", b"\x83\x4d\x00", b"\x84\x4d\x00\x00\x00"):
            with pytest.raises(DamagedError, match="EXT"):
                read(b"\x80\x02" + opcode + b"(Vtrue\ntR.")
    finally:
        copyreg.remove_extension("os", "system", 77)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no sound one"),
        (b".", "no sound one"),
        (b"N", "no sound one"),
        (b"(N.", "ends too early"),
        (b"cos\nsystem\nNR.", "no tuple"),
        (b"\x80\x04NN\x93.", "no text"),
        (b"\x80\x02)Vk\nNs.", "adds items"),
        (b"}N\x85\x85Ns.", "neither text nor numbers"),
        (b"}]Ns.", "neither text nor numbers"),
        (b"Pid\n.", "PERSID"),
        (b"\x86.", "takes more"),
        (b"c_codecs\nencode\n(Va\nVrot13\ntR.", "encoding 'rot13'"),
        (b"ctorch\nSize\n(K\x01tR.", "no sound one"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
    ],
)
def test_a_broken_pickle_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DamagedError, match=message):
        read(data)


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(data=st.binary(max_size=60), cut=st.integers(0, 80))
def test_any_bytes_give_a_value_or_one_kind_of_error(data: bytes, cut: int) -> None:
    whole = pickle.dumps({"a": [1, (2, "x")], "b": OrderedDict(c=b"d")})
    for some in (data, whole[:cut] + data, whole[:cut] + data + whole[cut:]):
        with suppress(DamagedError):
            read(some)
