"""Detection of the encoding of a text that is not UTF-8, and the command that converts it."""

import codecs
import re
import shlex
import unicodedata
from itertools import pairwise
from pathlib import Path

BYTE_ORDER_MARKS = (  # longest first: the mark of UTF-16 is a prefix of the mark of UTF-32
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
ESCAPE = b"\x1b$"  # starts Japanese text in ISO-2022-JP, whose bytes are all ASCII

WESTERN = "éèêëàâäáãåæçîïíìñôöóòõøœùûüúßÿ’‘“”–—…€£°«»§¿¡·ºª©®"  # noqa: RUF001 typographic quotes and dashes
CENTRAL = "ąćęłńóśźżěščřžýáíéůúťďňőűöüăâîșțđäôľĺŕ„”"
KANA = "".join(map(chr, (*range(0x3041, 0x3094), *range(0x30A1, 0x30F7)))) + "ー。、"
HANZI = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学"
    "如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将"
    "两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿。、"
)
HANZI_TAIWAN = (
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所然家種事成方多經麼去法學"
    "如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日軍者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將"
    "兩高間由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果加西斯月話合回特代內信表化老給世位次度門任常先海通教兒。、"
)

# By name for `iconv`: frequent letters of texts in the encoding, and whether they usually stand alone between ASCII
# letters. If two encodings have the same score, the first one is used.
ENCODINGS: dict[str, tuple[str, bool]] = {
    "WINDOWS-1252": (WESTERN, True),
    "ISO-8859-1": (WESTERN, True),
    "WINDOWS-1250": (CENTRAL, True),
    "ISO-8859-2": (CENTRAL, True),
    "WINDOWS-1254": ("çğıöşüâîİ", True),
    "MACINTOSH": (WESTERN, True),
    "CP850": (WESTERN, True),
    "WINDOWS-1251": ("оеаинтсрвлкмд", False),
    "KOI8-R": ("оеаинтсрвлкмд", False),
    "CP866": ("оеаинтсрвлкмд", False),
    "ISO-8859-5": ("оеаинтсрвлкмд", False),
    "WINDOWS-1253": ("αοιετσνηυρπκμλάίόέή", False),
    "WINDOWS-1255": ("יוהלאתרבמשנ", False),
    "WINDOWS-1256": ("اليمنترودبه", False),
    "EUC-JP": (KANA, False),
    "SHIFT_JIS": (KANA, False),
    "CP932": (KANA, False),
    "GBK": (HANZI, False),
    "GB18030": (HANZI, False),
    "BIG5": (HANZI_TAIWAN, False),
    "EUC-KR": ("이다는의에을가고하지은를서도로한사인기그나어", False),
}
PYTHON_NAMES = {"MACINTOSH": "mac-roman"}  # where Python and `iconv` differ
SPACES = b"\t\n\v\f\r"
MIN_SCORE = 0.25


def detect_encoding(sample: bytes) -> str | None:
    """Return the likely encoding of a text by its name for `iconv`; None if no common encoding fits.

    Args:
        sample: kilobytes of a text that is not UTF-8, from the beginning of a line.
    """
    for mark, name in BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        return _detect_wide_encoding(sample)
    if is_iso_2022_jp(sample):
        return "ISO-2022-JP"
    if sum(byte < 32 and byte not in SPACES for byte in sample) > 0.02 * len(sample):
        return None  # binary data
    best = max(ENCODINGS, key=lambda name: _score(sample, name))
    return best if _score(sample, best) >= MIN_SCORE else None


def is_iso_2022_jp(raw: bytes) -> bool:
    """Return whether a text is Japanese in ISO-2022-JP, which is also valid ASCII."""
    return ESCAPE in raw and _decode(raw, "ISO-2022-JP") is not None


def conversion_advice(path: Path, encoding: str | None) -> str:
    """Return advice on converting a file to UTF-8 from an encoding, or from an unknown one (None)."""
    file, stem = shlex.quote(str(path)), path.name.split(".")[0]
    new = shlex.quote(str(path.with_name(f"{stem}_utf8{path.name.removeprefix(stem)}")))
    convert = f"iconv -f {encoding or 'ENCODING'} -t UTF-8"
    command = f"gzip -dc {file} | {convert} | gzip > {new}" if path.suffix == ".gz" else f"{convert} {file} > {new}"
    finding = f"it looks like {encoding}; " if encoding else "its encoding is not a common one; identify it, then "
    return f"{finding}convert it with `{command}` and use the new file."


def _detect_wide_encoding(sample: bytes) -> str | None:
    """Detect UTF-16 or UTF-32 without a byte order mark by the positions of null bytes modulo 2 or 4."""
    printable = sum(32 <= byte < 127 or byte in b"\t\n\r" for byte in sample if byte)
    if sample.count(0) < 0.2 * len(sample) and printable > 0.9 * (len(sample) - sample.count(0)):
        return None  # ASCII with single null bytes
    zeros = [sample[position::4].count(0) for position in range(4)]
    quarter = max(1, len(sample) // 4)
    if min(zeros[2:]) >= 0.9 * quarter:
        name = "UTF-32LE"
    elif min(zeros[:2]) >= 0.9 * quarter:
        name = "UTF-32BE"
    else:
        even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
        name = "UTF-16LE" if odd > even else "UTF-16BE"
    text = _decode(sample, name)
    if not text:
        return None
    likely = sum(char.isspace() or unicodedata.category(char)[0] in "LMNPSZ" for char in text)
    return name if likely > 0.95 * len(text) else None


def _score(sample: bytes, name: str) -> float:
    """Return the fraction of frequent letters of the encoding among the non-ASCII characters, at most 1."""
    frequent, is_isolated = ENCODINGS[name]
    text = _decode(sample, name)
    characters = [] if text is None else [char for char in text.lower() if ord(char) > 127]
    if text is None or not characters:
        return 0.0
    runs = [match.group() for match in re.finditer(r"[^\x00-\x7f]+", text)]
    in_runs = sum(len(run) for run in runs if len(run) > 1) / sum(map(len, runs))
    # another encoding of the same alphabet gives capital letters inside words
    mixed_case = sum(a.islower() and b.isupper() and b > "\x7f" for a, b in pairwise(text))
    share = (sum(char in frequent for char in characters) - mixed_case) / len(characters)
    return share * (1.0 - in_runs if is_isolated else in_runs)


def _decode(sample: bytes, name: str) -> str | None:
    """Return the sample as text without an incomplete last character; None if it is not valid in this encoding."""
    try:
        return codecs.getincrementaldecoder(PYTHON_NAMES.get(name, name))("strict").decode(sample)
    except UnicodeDecodeError:
        return None
