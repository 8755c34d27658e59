"""Made-up corpora in the form of the published ones, with matching tokenizers.

Files have the names, columns and splits of those on the hub, so that a config only needs another path.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

SPECIAL = ("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "president", "said", "that", "a", "new", "law", "of", "peace", "was", "near", "people", "would", "vote")
ENDS = (" .", " ?", " , he said .", " ( again ) .", ' , " it \'s over . "')


def lm1b(folder: Path) -> list[str]:
    """Write LM1B in the form of the hub's Parquet files."""
    return _written(folder, {f"plain_text/{split}/0000.parquet": _sentences(*of) for split, of in _SPLITS.items()})


def text8(folder: Path) -> list[str]:
    """Write text8: one text per split."""
    letters = "abcdefghijklmnopqrstuvwxyz "
    texts = {
        split: "".join(sign for sign in " ".join(_sentences(*of)) if sign in letters) for split, of in _SPLITS.items()
    }
    return _written(folder, {f"data/{split}-00000-of-00001.parquet": [text] for split, text in texts.items()})


def wikitext103(folder: Path) -> list[str]:
    """Write WikiText: headings, paragraphs and empty lines, one record each."""
    records = {
        split: [part for one in _sentences(*of) for part in ("", f" = {one[:5]} = \n", f" {one} 1 @,@ 0 \n")]
        for split, of in _SPLITS.items()
    }
    return _written(
        folder, {f"wikitext-103-raw-v1/{split}-00000-of-00001.parquet": lines for split, lines in records.items()}
    )


def openwebtext(folder: Path) -> list[str]:
    """Write OpenWebText: documents of several paragraphs in one split, the last ones held out."""
    documents = ["\n\n".join(_sentences(8, seed)) for seed in range(400)]
    halves = {f"plain_text/train-{k:05}-of-00002.parquet": documents[k::2] for k in (0, 1)}
    cut = ["--data.source.init_args.split", "train[:-200]", "--data.source.init_args.test_split", "train[-200:]"]
    return [*_written(folder, halves), *cut]


CORPORA: dict[str, Callable[[Path], list[str]]] = {
    "configs/corpora/openwebtext.yaml": openwebtext,
    "configs/corpora/text8.yaml": text8,
    "configs/corpora/wikitext103.yaml": wikitext103,
    **{f"configs/paper/lm1b_{name}.yaml": lm1b for name in ("tiny", "small", "medium")},
}


def config_of(path: Path) -> str | None:
    """Return the config with a stand-in of a file or of the config under an overlay; None if none is needed."""
    name = "/".join(path.parts[-3:])
    return "configs/paper/lm1b_small.yaml" if "/distributed/" in name else name if name in CORPORA else None


def options(config: str, folder: Path) -> list[str]:
    """Write the text and the tokenizer of a config into a folder and return the options that name them."""
    source = plain = "--data.source.init_args."
    if config.rpartition("/")[2].startswith(("lm1b", "wikitext")):
        source += "source.init_args."
    words = [f"{source}path", str(folder), f"{source}revision", "null"]
    words += [word.replace(plain, source) for word in CORPORA[config](folder)]
    if "lm1b" in config:
        words += ["--data.tokenizer.init_args.path", str(vocabulary(folder / "vocab.txt"))]
    elif "text8" not in config:
        words += ["--data.tokenizer.init_args.path", str(byte_pairs(folder / "tokenizer.json"))]
    return words


SMALL = (  # options for a small network and few measurements on a CPU
    *("--model.backbone.init_args.hidden_size", "16", "--model.backbone.init_args.n_blocks", "1"),
    *("--model.backbone.init_args.n_heads", "2", "--model.backbone.init_args.cond_dim", "8"),
    *("--model.sampler.init_args.steps", "4", "--data.batch_size", "4", "--data.eval_batch_size", "4"),
    *(
        "--data.num_train_rows",
        "4",
        "--data.num_test_rows",
        "4",
        "--data.num_sample_rows",
        "4",
        "--data.num_random_rows",
        "4",
    ),
    *("--trainer.precision", "32-true", "--trainer.accelerator", "cpu", "--threads", "1"),
)


def vocabulary(path: Path) -> Path:
    """Write a vocabulary of an uncased BERT: special tokens, letters, and the words."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!:;()\"'$-"
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *WORDS]
    path.write_text("\n".join(dict.fromkeys(pieces)) + "\n", encoding="utf-8")
    return path


def byte_pairs(path: Path) -> Path:
    """Write a tokenizer like that of GPT-2: byte pairs and one special token for all purposes."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    backend.train_from_iterator(_sentences(200, 0), trainer)
    backend.save(str(path))
    return path


_SPLITS = {"train": (600, 1), "test": (600, 2)}


def _sentences(number: int, seed: int) -> list[str]:
    generator = random.Random(seed)  # noqa: S311 no secret is made here
    return [
        " ".join(generator.choices(WORDS, k=generator.randint(6, 20))) + generator.choice(ENDS) for _ in range(number)
    ]


def _written(folder: Path, tables: dict[str, list[str]]) -> list[str]:
    for name, texts in tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"text": texts}), folder / name)
    return []


ROOT = Path(__file__).parents[2]
PAPER = ROOT / "configs" / "paper"
# overlays and options of the sweep; `test_paper.py` and `sweeps/test_variant.py` test them
PARTS = (
    *(PAPER / name for name in ("data/lm1b.yaml", "lm1b.yaml", "sweep.yaml", "fp16.yaml")),
    PAPER.parent / "corpora/small.yaml",
    *sorted((PAPER.parent / "ablations").glob("*.yaml")),
)
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path not in PARTS)
QUICKSTART = ROOT / "configs" / "quickstart.yaml"


def as_options(path: Path) -> list[object]:
    """Return the options of a complete config; configs of a backbone or of distributed launches are overlays."""
    if path.name in ("hidden8.yaml", "hidden16.yaml"):
        return ["-c", PAPER.parent / "capacity.yaml", "-c", path]
    if path.parent.name == "backbones":
        return ["-c", QUICKSTART, "-c", path]
    if path.parent.name == "distributed":
        return ["-c", PAPER / "lm1b_small.yaml", "-c", path]
    return ["-c", path]


def standin(path: Path, folder: Path) -> list[str]:
    """Return options that replace a large text and a large network; none for the small configs."""
    config = config_of(path)
    if config is None:
        return []
    alone = ["--trainer.devices", "1", "--trainer.num_nodes", "1"]  # of the fragments for many GPUs
    return [*options(config, folder / "text"), *alone]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))
