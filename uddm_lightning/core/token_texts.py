"""Texts of tokens as a reader of running text sees them."""

import re
from collections.abc import Collection

MARK = "\N{MIDDLE DOT}"  # in place of a special token
_SPECIAL = re.compile(r"\[(?:CLS|SEP|PAD|BOS|EOS)\]|<(?:s|/s|pad|bos|eos|\|endoftext\|)>")
_CONTINUATION = re.compile(r"##(?=.)", re.DOTALL)
_CLOSING = re.compile(r"[.,;:!?%)\]}\N{RIGHT SINGLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}]+")
_SPACED = 0.1  # share of tokens with a space at an end, from which on a tokenizer keeps the spaces of its text


def readable(texts: Collection[str]) -> dict[str, str]:
    """Return the text to show for each text of a token, such that tokens side by side read as running text.

    Special tokens become a dot. If the tokenizer does not keep spaces, a word begins with one; a word piece (`##ing`)
    and a closing punctuation mark continue the text before them.

    Args:
        texts: texts of the tokens, each as its tokenizer decodes it alone.

    Example:
        >>> shown = readable({"[CLS]", "restor", "##ing", "words", "."})
        >>> "".join(shown[text] for text in ("[CLS]", "restor", "##ing", "words", "."))
        ' · restoring words.'
    """
    distinct = set(texts)
    words = {text for text in distinct if not _SPECIAL.fullmatch(text)}
    spaced = sum(text != text.strip() for text in words) > _SPACED * len(words)
    if spaced or max(map(len, words), default=1) <= 1:
        return {text: text if text in words else MARK for text in distinct}
    shown = {text: " " + text for text in words} | dict.fromkeys(distinct - words, " " + MARK)
    for text in words:
        if _CONTINUATION.match(text):
            shown[text] = text[2:]
        elif _CLOSING.fullmatch(text):
            shown[text] = text
    return shown


def without_special(text: str) -> str:
    """Return a decoded text with a dot for special tokens inside it, and without those at its ends.

    Example:
        >>> without_special("[CLS] one row [SEP] and one more [SEP]")
        'one row · and one more'
    """
    parts = (part.strip() for part in _SPECIAL.split(text))
    return f" {MARK} ".join(part for part in parts if part) if _SPECIAL.search(text) else text
