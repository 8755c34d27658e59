"""The alphabet or vocabulary of any text, chosen from its characters."""

from collections import Counter
from typing import Any, NamedTuple

from uddm_lightning.data import CharacterTokenizer
from uddm_lightning.data.text_survey import TextSurvey
from uddm_lightning.data.tokenizers.losses import TokenizationLosses

RARE = 1e-4  # a character below this share of the text gets no id
COVERAGE = 0.995  # share that the alphabet covers, of a text that does not separate words by spaces
LARGEST_ALPHABET = 3000
VOCAB_SIZE = 4096  # of byte pairs, where an alphabet would be larger
SYMBOLS = 0.05  # share of digits and symbols from which a text counts as code
SPACED = 0.02  # share of white space from which spaces separate words
MARKS = 0.01  # share of combining marks from which they are kept
SHOWN = 100  # characters of an alphabet that are printed


class Tokens(NamedTuple):
    """A tokenizer for a text.

    Attributes:
        spec: class path and arguments.
        vocab_size: number of its ids, estimated.
        length: tokens of the text, estimated.
        reason: what was chosen, and why.
    """

    spec: dict[str, Any]
    vocab_size: int
    length: int
    reason: str


def choose_tokens(survey: TextSurvey) -> Tokens:
    """Return the tokenizer of a text.

    Prose is spelled in the lower-case letters that are not rare, and spaces. Code and numbers keep all characters that
    are not rare, and their case. A text without spaces, such as Chinese, keeps the characters that cover 99.5 % of it,
    with punctuation. A text with combining marks, such as Hindi, keeps all characters. Where more than 3,000 characters
    would be needed, byte pairs are learned instead.

    Example:
        >>> from collections import Counter
        >>> from uddm_lightning.data.text_survey import TextSurvey
        >>> from uddm_lightning.sweeps.text_tokens import choose_tokens
        >>> text = "Ночь, улица, фонарь, аптека, "
        >>> choose_tokens(TextSurvey(1, 1, 1, Counter(text), is_whole=True)).spec["init_args"]
        {'alphabet': 'аеиклнопртуфцчь ', 'lowercase': True}
    """
    counts = _in_lower_case(survey.counts)
    letters = Counter({character: count for character, count in counts.items() if character.isalpha()})
    if survey.mark_share > MARKS and len(counts) <= LARGEST_ALPHABET:
        reason = (
            f"all {len(counts):,} characters, in lower case: an alphabet would drop the combining marks of this text"
        )
        return Tokens(_characters(None, lowercase=True), len(counts) + 1, survey.characters, reason)
    is_code = survey.symbol_share > SYMBOLS or letters.total() < survey.characters / 2
    is_spaced = survey.space_share > SPACED
    if is_code:
        kind, alphabet = "the text has many symbols, as code", _frequent(survey.counts)
    elif is_spaced:
        kind, alphabet = "the text is prose", _frequent(letters)
    else:
        kind, alphabet = "the text has no spaces between words", _covering(counts)
    alphabet = alphabet.replace(" ", "") + " " * is_spaced
    if len(alphabet) > LARGEST_ALPHABET:
        reason = f"a vocabulary of {VOCAB_SIZE:,} byte pairs: an alphabet would need {len(alphabet):,} characters"
        spec = {"class_path": "BPETokenizer", "init_args": {"vocab_size": VOCAB_SIZE}}
        return Tokens(spec, VOCAB_SIZE, survey.characters // 2, reason)
    losses = _losses(CharacterTokenizer(alphabet, lowercase=not is_code), survey.counts)
    reason = (
        f"{len(alphabet):,} characters, {'upper and lower case' if is_code else 'lower case'}, because {kind}: "
        f"{alphabet[:SHOWN]!r}{'...' * (len(alphabet) > SHOWN)}; {_dropped(losses)}"
    )
    length = survey.characters - losses.dropped.total() - (0 if is_spaced else survey.counts[" "])
    return Tokens(_characters(alphabet, lowercase=not is_code), len(alphabet), length, reason)


def _characters(alphabet: str | None, lowercase: bool) -> dict[str, Any]:
    return {"class_path": "CharacterTokenizer", "init_args": {"alphabet": alphabet, "lowercase": lowercase}}


def _in_lower_case(counts: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for character, count in counts.items():
        lower = character.lower()
        found[lower if len(lower) == 1 else character] += count
    return found


def _frequent(counts: Counter[str]) -> str:
    """Return the characters that are not rare, sorted."""
    rare = RARE * counts.total()
    return "".join(sorted(character for character, count in counts.items() if count >= rare))


def _covering(counts: Counter[str]) -> str:
    """Return the fewest characters without white space that cover the text, sorted."""
    known = Counter({character: count for character, count in counts.items() if character != " "})
    left, chosen = COVERAGE * known.total(), []
    for character in sorted(known, key=lambda one: (-known[one], one)):
        if left <= 0:
            break
        chosen.append(character)
        left -= known[character]
    return "".join(sorted(chosen))


def _losses(tokenizer: CharacterTokenizer, counts: Counter[str]) -> TokenizationLosses:
    """Return what a tokenizer drops of a text with these counts."""
    total = TokenizationLosses()
    for character, count in counts.items():
        one = TokenizationLosses()
        tokenizer.count_losses([character], [], one)
        total.characters += one.characters * count
        if one.dropped:
            total.dropped[character] += count
    return total


def _dropped(losses: TokenizationLosses) -> str:
    if not losses.dropped:
        return "no character is dropped"
    examples = " ".join(character for character, _ in losses.dropped.most_common(5))
    share = losses.dropped.total() / losses.characters
    return f"{100 * share:.2g} % of the characters are dropped, such as {examples}"
