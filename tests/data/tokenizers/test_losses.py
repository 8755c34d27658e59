"""Characters that a tokenizer cannot encode are counted and reported; invalid tokenizers are refused."""

import json
import random
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers

from tests.support.texts import LETTERS, ListSource, sentences
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import (
    BPETokenizer,
    CharacterTokenizer,
    Corpus,
    DocumentPacking,
    Packing,
    PretrainedTokenizer,
    TextDataModule,
    TextFiles,
    Tokenizer,
    WordPieceTokenizer,
    WrappedPacking,
    prepare_corpus,
)
from uddm_lightning.data.text_rows import TextRows
from uddm_lightning.data.tokenizers.losses import TokenizationLosses, loss_message

UNKNOWN = "[UNK]"
SPECIAL = ["[SEP]", "[CLS]", "[PAD]", "[MASK]"]
WORDS = ["the", "state", "of", "union", "a", "b", "t", "h", "e", "s", "o", "f", "u", "n", "i"]
PIECES = [*WORDS, *(f"##{letter}" for letter in "abtehsofuni")]
STRANGE = ["😀", "👩\u200d👩\u200d👧", "漢字", "é", "e\u0301", "[", "x" * 120]
TEXT = st.lists(st.sampled_from([*WORDS, *SPECIAL, *STRANGE, "[UNK]", " ", "  "])).map("".join)
QUIET = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def vocabulary(pieces: list[str], unknown: bool) -> dict[str, int]:
    names = [*pieces, *SPECIAL, *(["[UNK]"] if unknown else [])]
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def word_level(unknown: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary(WORDS, unknown), unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def word_piece(unknown: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary(PIECES, unknown), unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def pairs(unknown: bool, **options: object) -> tokenizers.Tokenizer:
    words = ["th", "st", *WORDS]
    merges = [("t", "h"), ("th", "e"), ("o", "f")]
    model = models.BPE(vocabulary(words, unknown), merges, unk_token=UNKNOWN if unknown else None, **options)
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def unigram(unknown: bool) -> tokenizers.Tokenizer:
    names = vocabulary([*WORDS, "▁"], unknown)
    scores = [(name, 0.0 if name in SPECIAL else -1.0 - number / 50) for name, number in names.items()]
    backend = tokenizers.Tokenizer(models.Unigram(scores, names["[UNK]"] if unknown else None))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return backend


def byte_level(unknown: bool) -> tokenizers.Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = models.BPE(vocabulary([*alphabet, "th", "the"], unknown), [("t", "h"), ("th", "e")], ignore_merges=True)
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return backend


BACKENDS: dict[str, Callable[[bool], tokenizers.Tokenizer]] = {
    "WordLevel": word_level,
    "WordPiece": word_piece,
    "BPE": pairs,
    "BPE, fused unknown": lambda unknown: pairs(unknown, fuse_unk=True),
    "BPE, whole words": lambda unknown: pairs(unknown, ignore_merges=True),
    "Unigram": unigram,
    "byte-level BPE": byte_level,
}
MARKS = ["none", "special", "added"]  # whether names of special tokens are marked as special


def loaded(folder: Path, kind: str, unknown: bool, marks: str = "none") -> PretrainedTokenizer:
    backend = BACKENDS[kind](unknown)
    if marks != "none":
        backend.add_tokens([AddedToken(name, special=marks == "special") for name in SPECIAL])
    path = folder / "tokenizer.json"
    path.write_text(backend.to_str(), encoding="utf-8")
    return PretrainedTokenizer(str(path))


def lost_of(tokenizer: Tokenizer, lines: list[str]) -> TokenizationLosses:
    losses = TokenizationLosses()
    tokenizer.count_losses(lines, tokenizer.encode(lines), losses)
    return losses


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize("kind", BACKENDS)
def test_text_has_no_special_id_and_lost_characters_are_counted(
    tmp_path: Path, kind: str, unknown: bool, marks: str
) -> None:
    tokenizer = loaded(tmp_path, kind, unknown, marks)
    roles = {tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id}
    assert None not in roles
    forbidden = roles | ({tokenizer.backend.token_to_id("[MASK]")} if marks == "special" else set())
    unk = tokenizer.backend.token_to_id("[UNK]") if unknown else None

    @given(st.lists(TEXT, max_size=5))
    @example(["[MASK] [SEP]the"])  # a word that is one token, and a word whose characters are dropped
    @QUIET
    def property_of_lines(lines: list[str]) -> None:
        try:
            encoded = tokenizer.encode(lines)
        except InputError:
            assert not unknown
            assert kind in ("WordLevel", "WordPiece", "Unigram"), "pairs leave out what they do not know"
            return
        losses = TokenizationLosses()
        tokenizer.count_losses(lines, encoded, losses)
        for line, ids in zip(lines, encoded, strict=True):
            assert not forbidden & set(ids)
            assert tokenizer.encode([line]) == [ids]
        text = "".join(lines)
        assert losses.characters == sum(not sign.isspace() for sign in text)
        written = written_by(tokenizer, encoded, unk)
        left = Counter(sign for sign in text if not sign.isspace() and not unicodedata.combining(sign))
        if kind != "byte-level BPE":
            assert left == written + losses.dropped + losses.unknown
        else:
            assert not losses.unknown
            assert set(losses.dropped) <= set("".join(SPECIAL)), "every other text is bytes"
        assert unknown or not losses.unknown

    property_of_lines()


def written_by(tokenizer: Tokenizer, encoded: list[list[int]], unknown: int | None) -> Counter[str]:
    """Return the characters of the ids."""
    pieces = [str(tokenizer.backend.id_to_token(number)) for ids in encoded for number in ids if number != unknown]
    return Counter("".join(piece.removeprefix("##").replace("▁", "") for piece in pieces))


@pytest.mark.parametrize("kind", ["WordLevel", "WordPiece", "Unigram"])
def test_text_that_cannot_be_encoded_gives_one_message(tmp_path: Path, kind: str) -> None:
    tokenizer = loaded(tmp_path, kind, unknown=False)
    texts = ["the state of the union 😀" for _ in range(9)]
    with pytest.raises(InputError, match=r"`data\.tokenizer`: .* cannot encode the text \(.*BPETokenizer"):
        prepare_corpus(ListSource([*texts, "the"]), tokenizer, WrappedPacking(8), 0.3, str(tmp_path / "cache"))


def test_without_an_unknown_token_characters_are_dropped_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = loaded(tmp_path, "BPE", unknown=False)
    texts = [f"{'the state of the union ' * 3}😀漢 {'a' * number}" for number in range(20)]
    for _ in range(2):  # built, and from the cache
        corpus = prepare_corpus(ListSource(texts), tokenizer, WrappedPacking(8), 0.3, str(tmp_path / "cache"))
        lost = corpus.meta["lost"]
        assert lost["characters"] == sum(len(text) - text.count(" ") for text in texts)
        assert (lost["dropped"], lost["unknown"]) == (40, 0)
        assert lost["dropped_examples"] == ["漢", "😀"]
        share = f"{100 * 40 / lost['characters']:.2g} %"
        said = f"uddm: `data.tokenizer` drops {share} of the characters of the text ('漢', '😀').\n"
        assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("make", "text", "said"),
    [
        (lambda: CharacterTokenizer(LETTERS, True), "Yes, no.", "the alphabet of `data.tokenizer` drops 29 % of"),
        (lambda: CharacterTokenizer(LETTERS), "Yes no", "the alphabet of `data.tokenizer` drops 20 % of the"),
        (lambda: CharacterTokenizer(LETTERS, True), "déjà e\u0301 ﬁ", ""),
        (lambda: CharacterTokenizer("aé "), "é e\u0301 b", "drops 25 % of the characters of the text ('b')"),
        (CharacterTokenizer, "known x", "`data.tokenizer` encodes as unknown 17 % of the characters of the"),
        (lambda: WordPieceTokenizer(100), "known 漢 \u200b", "drops 14 %"),
        (
            lambda: WordPieceTokenizer(100),
            "known 漢",
            "encodes as unknown 17 % of the characters of the text ('漢')",
        ),
        (lambda: BPETokenizer(300), "known 漢 😀\0\u200b[SEP]", ""),
    ],
)
def test_loss_messages(make: Callable[[], Tokenizer], text: str, said: str) -> None:
    tokenizer = make()
    tokenizer.fit(["known"] * 3)
    found = loss_message(lost_of(tokenizer, [text]).to_dict(), tokenizer.lossy_key, "the text")
    assert said in found if said else not found


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=4), st.booleans())
@example(["\uf900"], False)  # is written as U+8C48
@example(["e", "\u0301"], False)  # an accent without a letter in its line
@settings(max_examples=200, deadline=None)
def test_an_alphabet_drops_other_characters(lines: list[str], lowercase: bool) -> None:
    tokenizer = CharacterTokenizer(LETTERS, lowercase)
    losses = lost_of(tokenizer, lines)
    text = unicodedata.normalize("NFC", "\n".join(lines))  # as the tokenizer reads it
    for sign, number in losses.dropped.items():
        assert tokenizer.encode([sign]) == [[]]
        assert number == text.count(sign)
    for sign in set(text) - set(losses.dropped):
        assert sign.isspace() or unicodedata.combining(sign) or tokenizer.encode([sign]) != [[]]


@given(st.lists(TEXT, max_size=4))
@QUIET
def test_learned_tokenizers_count_lost_characters(lines: list[str]) -> None:
    for tokenizer in LEARNED:
        losses = lost_of(tokenizer, lines)
        if isinstance(tokenizer, BPETokenizer):
            assert not losses.dropped
            assert not losses.unknown
        ids = {number for one in tokenizer.encode(lines) for number in one}
        assert (1 in ids) <= bool(losses.unknown), "only a tokenizer that reports an unknown token writes its id"


LEARNED: list[Tokenizer] = [BPETokenizer(280), WordPieceTokenizer(150)]
for one in LEARNED:
    one.fit([f"the state of the union {number}" for number in range(9)])


def test_normalizers_and_pre_tokenizers_that_remove_text(tmp_path: Path) -> None:
    backend = pairs(True)
    backend.normalizer = normalizers.Replace("state", "")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("of", "removed")]
    )
    (tmp_path / "a.json").write_text(backend.to_str(), encoding="utf-8")
    losses = lost_of(PretrainedTokenizer(str(tmp_path / "a.json")), ["the state of the union"])
    assert losses.dropped == Counter("stateof")


# Randomness of a tokenizer file.


def test_dropout_is_disabled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backend = pairs(True, dropout=0.5)
    (tmp_path / "a.json").write_text(backend.to_str(), encoding="utf-8")
    tokenizer = PretrainedTokenizer(str(tmp_path / "a.json"))
    assert "uddm: `data.tokenizer` drops merges at random (`dropout`)" in capsys.readouterr().err
    assert len({str(tokenizer.encode(["the the the of the"])) for _ in range(20)}) == 1
    assert json.loads(tokenizer.to_json())["model"]["dropout"] is None
    calm = pairs(True)
    (tmp_path / "b.json").write_text(calm.to_str(), encoding="utf-8")
    assert PretrainedTokenizer(str(tmp_path / "b.json")).spec() == tokenizer.spec()
    assert not capsys.readouterr().err
    copy = PretrainedTokenizer(str(tmp_path / "b.json"))
    copy.from_json(backend.to_str())
    assert copy.encode(["the the"]) == tokenizer.encode(["the the"])


# Sizes.


@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=9), min_size=1))
@settings(max_examples=60, deadline=None)
def test_the_smallest_vocabulary_is_named_and_is_the_smallest(lines: list[str]) -> None:
    def fitted(size: int) -> Tokenizer:
        tokenizer = WordPieceTokenizer(size)
        tokenizer.fit(lines)
        return tokenizer

    try:
        found = fitted(5)
    except InputError as error:
        message = str(error)
    else:
        assert found.vocab_size <= 5
        return
    start = "`data.tokenizer.init_args.vocab_size` is 5, but the characters of the training text need "
    assert message.startswith(start)
    smallest = int(message.removeprefix(start).partition(" ids;")[0])
    assert f"choose at least {smallest}, or use BPETokenizer, which encodes any text with 260 ids" in message
    assert fitted(smallest).vocab_size == smallest
    with pytest.raises(InputError, match=f"is {smallest - 1}, .* need {smallest} ids; choose at least {smallest}"):
        fitted(smallest - 1)


def test_a_vocabulary_is_at_most_vocab_size() -> None:
    lines = [f"{chr(1000 + number)}{chr(2000 + number)} the state" for number in range(100)]
    for size in (260, 300, 500):
        for tokenizer in (BPETokenizer(size), WordPieceTokenizer(size)):
            try:
                tokenizer.fit(lines)
            except InputError:
                assert isinstance(tokenizer, WordPieceTokenizer)
            else:
                assert tokenizer.vocab_size <= size


# Too little text.


def cyrillic(folder: Path) -> Path:
    words = ["президент", "народ", "республика", "война", "мир", "закон", "nato", "peace"]
    generator = random.Random(0)  # noqa: S311 no secret
    path = folder / "text.txt"
    path.write_text("\n".join(" ".join(generator.choices(words, k=5)) for _ in range(60)), encoding="utf-8")
    return path


def test_too_little_text_names_the_alphabet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = cyrillic(tmp_path)
    reason = r"too short .* the alphabet of `data\.tokenizer` drops \d\d % of the characters of the text"
    cache = str(tmp_path / "cache")
    with pytest.raises(InputError, match=reason):
        prepare_corpus(TextFiles(str(text)), CharacterTokenizer(LETTERS, True), WrappedPacking(400), 0.2, cache)
    data = TextDataModule(TextFiles(str(text)), CharacterTokenizer(LETTERS, True), WrappedPacking(8), 1000)
    manifest = TextDataModule(data.source, CharacterTokenizer(LETTERS, True), WrappedPacking(8), 2).manifest()
    assert manifest["lost"]["dropped"] > 0.8 * manifest["lost"]["characters"]
    with pytest.raises(InputError, match=r"`data\.train_size` is 1000 but .* only \d+ training rows"):
        _ = data.subset
    assert "the alphabet of `data.tokenizer` drops" in capsys.readouterr().err


@pytest.mark.parametrize("packing", [WrappedPacking(8), DocumentPacking(8)])
def test_an_alphabet_that_removes_everything_is_the_cause(tmp_path: Path, packing: Packing) -> None:
    source, tokenizer = TextFiles(str(cyrillic(tmp_path))), CharacterTokenizer("xyz ", lowercase=True)
    with pytest.raises(
        InputError,
        match=r"^The alphabet of `data\.tokenizer` drops every character of the text \(('.', ){5}\.\.\.\), "
        r"so no row is left; add these characters to it, or leave `alphabet` out",
    ):
        prepare_corpus(source, tokenizer, packing, 0.2, str(tmp_path / "cache"))


def test_losses_of_text_to_restore_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "given.txt").write_text("peace, war", encoding="utf-8")
    TextRows.from_file(str(tmp_path / "given.txt"), CharacterTokenizer(LETTERS), DocumentPacking(16))
    said = capsys.readouterr().err
    assert (
        said
        == f"uddm: the alphabet of `data.tokenizer` drops 11 % of the characters of `{tmp_path}/given.txt` (',').\n"
    )
    (tmp_path / "given.txt").write_text("мир", encoding="utf-8")
    with pytest.raises(InputError, match=r"contains no text \(the alphabet of `data\.tokenizer` drops 100 % of the"):
        TextRows.from_file(str(tmp_path / "given.txt"), CharacterTokenizer(LETTERS), DocumentPacking(16))


def test_no_message_without_losses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus: Corpus = prepare_corpus(
        ListSource(sentences(40)), CharacterTokenizer(LETTERS), WrappedPacking(8), 0.2, str(tmp_path / "cache")
    )
    assert corpus.meta["lost"]["dropped"] == corpus.meta["lost"]["unknown"] == 0
    assert not capsys.readouterr().err
