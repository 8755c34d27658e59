"""A file of `torch.save` is read without running or importing anything that it names; damage is detected."""

import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.foreign import described, zipped
from uddm_lightning.interop import safe_load as module
from uddm_lightning.interop.safe_load import DamagedError, OpaqueObject, safe_load

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=12,
)


def load(folder: Path, data: bytes) -> Any:
    return safe_load(zipped(folder / "x.pt", data, {}))


@settings(deadline=None, derandomize=True, database=None, max_examples=30)
@given(value=values)
def test_plain_data_equals_that_of_torch(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("saved") / "x.pt"
    torch.save(value, path)
    assert safe_load(path) == value


def test_dictionaries_of_all_types_keep_their_items(tmp_path: Path) -> None:
    torch.save({"ordered": OrderedDict(a=1), "default": defaultdict(dict, b={"c": 2})}, tmp_path / "x.pt")
    assert safe_load(tmp_path / "x.pt") == {"ordered": {"a": 1}, "default": {"b": {"c": 2}}}


def test_shared_objects_stay_shared_and_cycles_end(tmp_path: Path) -> None:
    inner: list[Any] = []
    inner.append(inner)
    torch.save((inner, inner), tmp_path / "x.pt")
    outer = safe_load(tmp_path / "x.pt")
    assert outer[0] is outer[1] is outer[0][0]


class Call:
    """Object that is pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

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
        "torch.load": Call(torch.load, str(canary)),
    }


@pytest.mark.parametrize("name", sorted(attacks(Path("x"))))
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_attack_that_works_on_pickle_has_no_effect(tmp_path: Path, name: str, protocol: int) -> None:
    canary = tmp_path / "canary"
    data = pickle.dumps(attacks(canary)[name], protocol)
    with suppress(DamagedError):  # torch reads protocol 2 only and no names of `posix`
        assert isinstance(load(tmp_path, data), OpaqueObject)
    assert not canary.exists()
    if name != "torch.load":
        pickle.loads(data)  # noqa: S301 shows that the attack works
        assert canary.exists()


# opcodes that no pickler writes: c GLOBAL, i INST, o OBJ, R REDUCE, b BUILD, \x81 NEWOBJ, \x92 NEWOBJ_EX, \x93 by stack
BY_HAND = {
    "reduce": b"cposix\nsystem\n(VCOMMAND\ntR.",
    "reduce_2": b"\x80\x02cposix\nsystem\n(X\x07\x00\x00\x00COMMANDtR.",
    "inst": b"(VCOMMAND\niposix\nsystem\n.",
    "obj": b"(cposix\nsystem\nVCOMMAND\no.",
    "newobj": b"\x80\x02csubprocess\nPopen\n(X\x07\x00\x00\x00COMMANDt\x81.",
    "newobj_ex": b"\x80\x04csubprocess\nPopen\n(VCOMMAND\nt}\x92.",
    "stack_global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93(VCOMMAND\ntR.",
    "dotted": b"\x80\x04\x8c\x08builtins\x8c\x0dstr.__class__\x93(VCOMMAND\ntR.",
    "build": b"\x80\x02cos\nenviron\n}X\x04\x00\x00\x00PATHX\x07\x00\x00\x00COMMANDsb.",
    "build_class": b"\x80\x02cuddm_lightning.interop.safe_load\nOpaqueObject\n"
    b"}X\x04\x00\x00\x00pathX\x01\x00\x00\x00xsb.",
    "setstate": b"\x80\x02csubprocess\nPopen\n)\x81}X\x09\x00\x00\x00__class__X\x07\x00\x00\x00COMMANDsb.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\n(csubprocess\nPopen\n"
    b"X\x08\x00\x00\x00__call__tR(X\x07\x00\x00\x00COMMANDtR.",
    "partial": b"\x80\x02cfunctools\npartial\n(csubprocess\nPopen\nX\x07\x00\x00\x00COMMANDtR)R.",
    "from_type": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(csubprocess\nPopen\nNX\x07\x00\x00\x00COMMANDNtR.",
    "extension": b"\x80\x02\x82\x4d(Vtrue\ntR.",
    "dict_of_module": b"\x80\x02cshutil\n__dict__\nX\x06\x00\x00\x00systemX\x07\x00\x00\x00COMMANDs.",
}
READ = ("newobj", "setstate")  # a placeholder takes the arguments and the state


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_no_opcode_runs_or_imports_anything(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    command = f"touch {canary}".encode()
    data = BY_HAND[name].replace(b"\x07\x00\x00\x00COMMAND", len(command).to_bytes(4, "little") + command)
    path = zipped(tmp_path / "x.pt", data.replace(b"COMMAND", command), {})
    torch.save({}, tmp_path / "warm.pt")
    safe_load(tmp_path / "warm.pt")  # torch itself imports modules on first use
    before, environment = set(sys.modules), dict(os.environ)
    if name in READ:
        assert isinstance(safe_load(path), OpaqueObject)
    else:
        with pytest.raises(DamagedError, match="cannot be read as data"):
            safe_load(path)
    assert not canary.exists()
    assert set(sys.modules) == before
    assert dict(os.environ) == environment
    assert OpaqueObject.path == ""


def test_names_attributes_and_slots_are_kept(tmp_path: Path) -> None:
    thing = load(tmp_path, b"\x80\x02cmissing.module\nThing\n(K\x01K\x02t\x81}X\x01\x00\x00\x00aK\x02sb.")
    assert thing.path == "missing.module.Thing"
    assert thing.attributes() == {"a": 2}
    slots = load(tmp_path, b"\x80\x02cmissing.module\nThing\n)\x81N}X\x01\x00\x00\x00aK\x02s\x86b.")
    assert slots.attributes() == {"a": 2}
    number = load(tmp_path, b"\x80\x02cmissing.module\nThing\n)\x81K\x01b.")
    assert (number.state, number.attributes()) == (1, {})


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(data=st.binary(max_size=60), cut=st.integers(0, 80))
def test_any_bytes_give_a_value_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    whole = pickle.dumps({"a": [1, (2, "x")], "b": OrderedDict(c=b"d")}, 2)
    for some in (data, whole[:cut] + data, whole[:cut] + data + whole[cut:]):
        with suppress(DamagedError):
            load(folder, some)


def storage(key: Any = "0", numbers: Any = 6, kind: Any = torch.FloatStorage) -> Any:
    return ("storage", kind, key, "cpu", numbers)


def test_every_dtype_view_and_shape_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    dtypes = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    saved = {str(dtype): torch.arange(5).to(dtype) for dtype in dtypes}
    saved |= {"rows": base[1:3], "columns": base[:, 2:4], "turned": base.t(), "one": torch.tensor(3.0)}
    saved |= {"none": torch.empty(0, 3), "weight": torch.nn.Parameter(torch.randn(2, 2))}
    path = tmp_path / "saved.pt"
    torch.save(saved, path)
    found = safe_load(path)
    assert list(found) == list(saved)
    for name, value in saved.items():
        assert torch.equal(found[name], value), name
        assert found[name].dtype == value.dtype


def test_a_handwritten_tensor_is_read(tmp_path: Path) -> None:
    numbers = torch.arange(6.0)
    path = zipped(tmp_path / "x.pt", described(storage(), 1, (2, 2), (2, 1)), {"0": numbers.numpy().tobytes()})
    assert torch.equal(safe_load(path), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (True, (2,), (1,)),
        (2**62, (1,), (1,)),
        (0.0, (2,), (1,)),
        (0, (7,), (1,)),
        (5, (2,), (1,)),
        (6, (1,), (1,)),
        (0, (2,), (6,)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path: Path, offset: Any, shape: Any, stride: Any) -> None:
    path = zipped(tmp_path / "x.pt", described(storage(), offset, shape, stride), {"0": bytes(24)})
    with pytest.raises(DamagedError, match="cannot be read as data"):
        safe_load(path)


@pytest.mark.parametrize(
    "place",
    [
        storage(key="1"),
        storage(key="../../../../etc/passwd"),
        storage(key="../data.pkl"),
        storage(numbers=5),
        storage(numbers=-6),
        storage(kind=print),
        storage(kind=storage()),
        ("storage",),
        "0",
    ],
)
def test_a_wrong_storage_is_refused(tmp_path: Path, place: Any) -> None:
    path = zipped(tmp_path / "x.pt", described(place, 0, (6,), (1,)), {"0": bytes(24)})
    with pytest.raises(DamagedError, match="cannot be read as data"):
        safe_load(path)


@pytest.mark.parametrize("numbers", [10**4, 2**61])
def test_a_storage_ends_with_the_file(tmp_path: Path, numbers: int) -> None:
    data = described(storage(numbers=numbers), 0, (10**4,), (1,))
    with pytest.raises(DamagedError, match="not resizable"):
        safe_load(zipped(tmp_path / "x.pt", data, {"0": bytes(24)}))


def other_format(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)


def no_pickle(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "x")


def compressed(path: Path) -> None:
    zipped(path, b"N.", {"0": bytes(1000)}, zipfile.ZIP_DEFLATED)


def same_name(path: Path) -> None:
    zipped(path, b"N.", {})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/byteorder", "big")


def byte_order(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("a/version", "3\n")
        archive.writestr("a/byteorder", "middle")


def changed_header(path: Path) -> None:
    zipped(path, b"N.", {})
    data = path.read_bytes()
    path.write_bytes(b"PK\x03\x05" + data[4:])


def changed_record(path: Path) -> None:
    zipped(path, b"N.", {"0": b"text"})
    path.write_bytes(path.read_bytes().replace(b"text", b"tent"))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (other_format, r"written before torch 1\.6"),
        (no_pickle, r"holds no `data\.pkl`"),
        (compressed, "compressed"),
        (same_name, "the same name"),
        (byte_order, "endianness"),
        (changed_header, "does not match its checksum"),
        (changed_record, "does not match its checksum"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    write(tmp_path / "x.pt")
    with pytest.raises(DamagedError, match=message):
        safe_load(tmp_path / "x.pt")


def test_a_pickle_of_any_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PICKLE_BYTES", 3)
    with pytest.raises(DamagedError, match="larger than 3 bytes"):
        load(tmp_path, b"NNN0.")


def test_every_flipped_bit_and_truncation_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    saved = {"a": torch.arange(50.0), "b": torch.arange(7), "c": "text"}
    torch.save(saved, path)
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 7):
        path.unlink()  # tensors of the previous file may still be mapped
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            found = safe_load(path)
        except DamagedError:
            noticed += 1
        else:  # the bit was in the padding between the records
            assert found["c"] == "text"
            assert all(torch.equal(found[name], saved[name]) for name in ("a", "b"))
    assert noticed > len(whole) // 7 // 3
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(DamagedError):
            safe_load(path)
