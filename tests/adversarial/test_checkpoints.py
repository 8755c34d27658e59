"""A damaged or hostile checkpoint is loaded as it was written, or refused with its name, and never runs code."""

import builtins
import copy
import functools
import io
import os
import pickle
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adversarial.conftest import QUIET, Home, check_line, one_message, uddm
from uddm_lightning.core.errors import InputError, sanitize_message
from uddm_lightning.runs import checkpoints


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@functools.cache
def written(path: Path) -> tuple[bytes, dict[str, Any]]:
    return path.read_bytes(), torch.load(path, weights_only=True)


def refused(path: Path, home: Home, to_resume: bool = True) -> bool:
    """Return whether the package refuses the file with one line that names it; other exceptions fail the test."""
    try:
        checkpoints.load(path, to_resume)
        checkpoints.check_fits(path, home.task, to_resume)
    except InputError as error:
        message = sanitize_message(str(error))
    else:
        return False
    check_line(message)
    assert f"`--ckpt_path {path}`" in message
    return True


# --- damage ---------------------------------------------------------------------------------------------------------


@given(share=st.floats(0, 1, exclude_max=True))
@settings(QUIET, max_examples=100)
def test_a_checkpoint_that_was_cut_off_is_refused(home: Home, share: float) -> None:
    data, _ = written(home.checkpoint)
    path = home.folder / "cut.ckpt"
    path.write_bytes(data[: int(share * len(data))])
    assert refused(path, home)


@given(share=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255), length=st.sampled_from([1, 1, 1, 8, 4096]))
@settings(QUIET, max_examples=120)
def test_a_flipped_bit_is_refused_or_changes_nothing(home: Home, share: float, bits: int, length: int) -> None:
    data, content = written(home.checkpoint)
    path = home.folder / "flipped.ckpt"
    start = int(share * len(data))
    changed = bytes(byte ^ bits for byte in data[start : start + length])
    path.write_bytes(data[:start] + changed + data[start + length :])
    if not refused(path, home):
        assert same(checkpoints.load(path), content)


def test_a_flipped_bit_in_the_weights_is_refused(home: Home) -> None:
    data, content = written(home.checkpoint)
    weights = content["state_dict"]["ema.backbone.vocab_embed.embedding"].numpy().tobytes()
    start = data.index(weights)
    path = home.folder / "weights.ckpt"
    path.write_bytes(data[:start] + bytes([data[start] ^ 1]) + data[start + 1 :])
    with pytest.raises(InputError, match=r"weights\.ckpt` cannot be read .* record '.*/data/\d+' is not as it was"):
        checkpoints.load(path)
    changed = torch.load(path, weights_only=True)["state_dict"]["ema.backbone.vocab_embed.embedding"]
    assert changed.shape == content["state_dict"]["ema.backbone.vocab_embed.embedding"].shape, "torch takes it"


def rewritten(path: Path, records: Iterator[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records:
            archive.writestr(name, data)


@pytest.mark.slow
@given(
    number=st.integers(0, 10**6),
    what=st.sampled_from(["remove", "rename", "empty", "shorten", "lengthen", "compress"]),
)
@settings(QUIET, max_examples=100)
def test_missing_or_truncated_records_are_refused(home: Home, number: int, what: str) -> None:
    _, content = written(home.checkpoint)
    path = home.folder / "records.ckpt"
    with zipfile.ZipFile(home.checkpoint) as archive:
        names = archive.namelist()
        victim = names[number % len(names)]

        def records() -> Iterator[tuple[str, bytes]]:
            for name in names:
                data = archive.read(name)
                if name == victim and what == "remove":
                    continue
                if name == victim:
                    changes = {"empty": b"", "shorten": data[: len(data) // 2], "lengthen": data + b"\0"}
                    yield name + "x" * (what == "rename"), changes.get(what, data)
                else:
                    yield name, data

        rewritten(path, records(), zipfile.ZIP_DEFLATED if what == "compress" else zipfile.ZIP_STORED)
    if not refused(path, home):
        assert same(checkpoints.load(path), content)


# --- another content ------------------------------------------------------------------------------------------------

REPLACEMENTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda old: None,
    "integer": lambda old: 3,
    "text": lambda old: "x",
    "list": lambda old: [],
    "dict": lambda old: {},
    "a number more": lambda old: torch.zeros(old.numel() + 1),
    "integers": lambda old: old.long(),
    "complex": lambda old: old.to(torch.complex64),
    "without data": lambda old: old.to("meta"),
    "sparse": lambda old: old.to_sparse(),
    "NaN": lambda old: torch.full_like(old, torch.nan),
    "one NaN": lambda old: old.clone().index_put([torch.tensor(0)] * old.dim(), torch.tensor(torch.nan)),
    "infinite": lambda old: torch.full_like(old, -torch.inf),
}


@given(number=st.integers(0, 10**6), how=st.sampled_from(["missing", *REPLACEMENTS]), both=st.booleans())
@settings(QUIET, max_examples=60)
def test_invalid_weights_are_refused(home: Home, number: int, how: str, both: bool) -> None:
    _, content = written(home.checkpoint)
    names = list(content["state_dict"])
    name = names[number % len(names)]
    state = dict(content["state_dict"])
    for victim in {name, name.replace("ema.", "")} if both else {name}:
        state.pop(victim)
        if how != "missing":
            state[victim] = REPLACEMENTS[how](content["state_dict"][victim])
    path = home.folder / "weights.ckpt"
    torch.save({**content, "state_dict": state}, path)
    assert refused(path, home)


@given(
    key=st.sampled_from(sorted(checkpoints.KEYS_TO_RESUME)),
    value=st.sampled_from([KeyError, None, "3", 0.5, [], {}, (), {"a": 1}, {1: torch.zeros(2)}, torch.zeros(3)]),
)
@settings(QUIET, max_examples=80)
def test_missing_or_invalid_entries_are_refused(home: Home, key: str, value: object) -> None:
    _, content = written(home.checkpoint)
    path = home.folder / "part.ckpt"
    torch.save({name: part for name, part in {**content, key: value}.items() if part is not KeyError}, path)
    # only the reader of a dict can check its content
    assert refused(path, home) or (type(value) is checkpoints.KEYS_TO_RESUME[key] and value)


def test_another_vocabulary_and_another_network_are_named(home: Home) -> None:
    _, content = written(home.checkpoint)
    path = home.folder / "other.ckpt"
    torch.save({**content, "hyper_parameters": {"vocab_size": 22}}, path)
    with pytest.raises(InputError, match=r"other\.ckpt` has a vocabulary of 22 ids, the configured data one of 21"):
        checkpoints.check_fits(path, home.task)
    state = {**content["state_dict"], "ema.backbone.gate": torch.zeros(2)}
    torch.save({**content, "state_dict": state}, path)
    with pytest.raises(InputError, match=r"another network .* `ema\.backbone\.gate` is \(2,\) there and None here"):
        checkpoints.check_fits(path, home.task)
    name = "ema.backbone.output_layer.linear.bias"
    torch.save({**content, "state_dict": {**content["state_dict"], name: torch.full((21,), torch.nan)}}, path)
    with pytest.raises(InputError, match=r"other\.ckpt`: `ema.*linear\.bias` holds NaN or infinity"):
        checkpoints.check_fits(path, home.task)


def test_weights_of_any_precision_are_loaded(home: Home) -> None:
    _, content = written(home.checkpoint)
    path = home.folder / "half.ckpt"
    torch.save(
        {**content, "state_dict": {name: value.bfloat16() for name, value in content["state_dict"].items()}}, path
    )
    assert not refused(path, home)


def test_a_checkpoint_without_the_optimizer_can_be_measured_but_not_trained(home: Home) -> None:
    _, content = written(home.checkpoint)
    path = home.folder / "lean.ckpt"
    torch.save({name: content[name] for name in checkpoints.KEYS_TO_MEASURE}, path)
    assert not refused(path, home, to_resume=False)
    assert "holds no `epoch`" in one_message(uddm("fit", "-c", home.config, "--ckpt_path", path, "--out", "lean"))
    outcome = uddm("validate", "-c", home.config, "--ckpt_path", path)
    assert outcome.status == 0, outcome.err


# --- code -----------------------------------------------------------------------------------------------------------

SENTINEL = "executed"


class Call:
    """Object that calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def pickled_call() -> bytes:
    return pickle.dumps(Call(Path.touch, Path(SENTINEL)))


TOUCH = f"touch {SENTINEL}"
WRITE = f"open({SENTINEL!r}, 'w').close()"
PAYLOADS: dict[str, Callable[[], Any]] = {
    "os.system": lambda: Call(os.system, TOUCH),
    "os.mkdir": lambda: Call(os.mkdir, SENTINEL),
    "Path.touch": lambda: Call(Path.touch, Path(SENTINEL)),
    "exec": lambda: Call(builtins.exec, WRITE),
    "eval": lambda: Call(builtins.eval, WRITE),
    "open": lambda: Call(builtins.open, SENTINEL, "w"),
    "subprocess": lambda: Call(subprocess.check_call, ["touch", SENTINEL]),
    "shutil": lambda: Call(shutil.copy, __file__, SENTINEL),
    "partial": lambda: functools.partial(Path.touch, Path(SENTINEL)),
    "torch.save": lambda: Call(torch.save, torch.zeros(1), SENTINEL),
    "torch.load": lambda: Call(torch.load, io.BytesIO(pickled_call())),
    "torch.storage": lambda: Call(torch.storage._load_from_bytes, legacy(pickled_call)),
    "pickle": lambda: Call(pickle.loads, pickled_call()),
}
PLACES: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "alone": lambda content, payload: payload,
    "beside": lambda content, payload: {**content, "more": payload},
    "state_dict": lambda content, payload: {**content, "state_dict": payload},
    "weight": lambda content, payload: {**content, "state_dict": {**content["state_dict"], "ema.backbone.x": payload}},
    "hyper_parameters": lambda content, payload: {**content, "hyper_parameters": {"vocab_size": 21, "a": [payload]}},
    "optimizer": lambda content, payload: {**content, "optimizer_states": [payload]},
    "callbacks": lambda content, payload: {**content, "callbacks": {"ModelCheckpoint": {"a": (payload,)}}},
}


def legacy(make: Callable[[], Any]) -> bytes:
    stream = io.BytesIO()
    torch.save(make(), stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def torch_zip(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def tar(value: Any) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(0 if name != "pickle" else value)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


CONTAINERS: dict[str, Callable[[Any], bytes]] = {
    "zip": torch_zip,
    "legacy": lambda value: legacy(lambda: value),
    "pickle": pickle.dumps,
    "tar": tar,
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_checkpoint_never_runs_code(home: Home, payload: str, place: str, container: str) -> None:
    _, content = written(home.checkpoint)
    content = {**content, "state_dict": {"ema.backbone.x": torch.zeros(1)}, "optimizer_states": []}
    path = home.folder / "hostile.ckpt"
    path.write_bytes(CONTAINERS[container](PLACES[place](content, PAYLOADS[payload]())))
    assert refused(path, home)
    assert not Path(SENTINEL).exists()


RAW = {  # all ways in which a pickle calls a function
    "global": b"cposix\nsystem\n(Vtouch executed\ntR.",
    "stack": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0etouch executed\x85R.",
    "inst": b"(Vtouch executed\niposix\nsystem\n.",
    "obj": b"(cposix\nsystem\nVtouch executed\no.",
    "inside": b"}Vstate_dict\n}Vema.backbone.x\ncposix\nsystem\n(Vtouch executed\ntRss.",
    "state": b"ctorch\nnn\n}Vexecuted\nI1\nsb.",
}


@pytest.mark.parametrize("raw", RAW)
def test_no_opcode_calls_a_function(home: Home, raw: str) -> None:
    path = home.folder / "raw.ckpt"
    for data in (RAW[raw], b"\x80\x02" + RAW[raw].removeprefix(b"\x80\x04")):
        path.write_bytes(data)
        assert refused(path, home)
        with zipfile.ZipFile(home.checkpoint) as archive:
            names = archive.namelist()
            rewritten(path, ((name, data if name.endswith("/data.pkl") else archive.read(name)) for name in names))
        assert refused(path, home)
        assert not Path(SENTINEL).exists()
        assert not hasattr(torch.nn, "executed")


@pytest.mark.parametrize("raw", [raw for raw in RAW if raw != "state"])
def test_the_same_file_runs_code_in_pickle(home: Home, raw: str) -> None:
    pickle.loads(RAW[raw])  # noqa: S301 this test must run the code
    assert Path(SENTINEL).exists(), "the payloads of these tests work"
    Path(SENTINEL).unlink()


@given(place=st.floats(0, 1, exclude_max=True), new=st.binary(min_size=1, max_size=4))
@settings(QUIET, max_examples=100)
def test_a_forged_pickle_with_a_valid_checksum_is_data_or_refused(home: Home, place: float, new: bytes) -> None:
    path = home.folder / "forged.ckpt"
    with zipfile.ZipFile(home.checkpoint) as archive:

        def records() -> Iterator[tuple[str, bytes]]:
            for name in archive.namelist():
                data = archive.read(name)
                start = int(place * len(data)) if name.endswith("/data.pkl") else len(data)
                yield name, data[:start] + new * (start < len(data)) + data[start + len(new) :]

        rewritten(path, records())
    refused(path, home)
    assert not Path(SENTINEL).exists()


# --- the real command -----------------------------------------------------------------------------------------------


def wrong_checkpoints(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in checkpoints.KEYS_TO_RESUME:
        yield f"no {key}", {name: part for name, part in content.items() if name != key}
    yield "no callbacks", {name: part for name, part in content.items() if name != "callbacks"}
    for how in ("integer", "NaN", "integers"):
        state = copy.copy(content["state_dict"])
        state["backbone.vocab_embed.embedding"] = REPLACEMENTS[how](state["backbone.vocab_embed.embedding"])
        yield how, {**content, "state_dict": state}
    yield "a call", {**content, "more": Call(Path.touch, Path(SENTINEL))}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_every_command_refuses_with_one_line(home: Home, command: str) -> None:
    _, content = written(home.checkpoint)
    text = home.folder / "text.txt"
    text.write_text("the war of the people\n", encoding="utf-8")
    more = {"predict": ("--text", text), "fit": ("--trainer.max_steps", 6)}.get(command, ())
    writes = command in ("fit", "predict")  # the others write into the run of the checkpoint
    every = list(enumerate(wrong_checkpoints(content)))
    for number, (what, wrong) in every if command in ("fit", "validate") else every[1::3]:  # one loader
        path, out = home.folder / f"wrong{number}.ckpt", home.folder / f"{command}{number}"
        torch.save(wrong, path)
        folder = ("--out", out) if writes else ()
        outcome = uddm(command, "-c", home.config, "--ckpt_path", path, *folder, *more)
        needed = checkpoints.KEYS_TO_RESUME if command == "fit" else checkpoints.KEYS_TO_MEASURE
        if what == "no callbacks" or (what.startswith("no ") and what.removeprefix("no ") not in needed):
            assert outcome.status == 0, (what, outcome.err)
        else:
            assert str(path) in one_message(outcome), what
            assert not list(out.rglob("*.csv")), what
    assert not Path(SENTINEL).exists()
