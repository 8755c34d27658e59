"""In which encoding a text is that is no UTF-8, and the command that converts it."""

import codecs
import re
import shlex
import unicodedata
from itertools import pairwise
from pathlib import Path

# Byte order marks; the longer ones first, since one begins like another.
MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
ESCAPES = b"\x1b$"  # begins Japanese in ISO-2022-JP, whose bytes are all ASCII

WESTERN = "éèêëàâäáãåæçîïíìñôöóòõøœùûüúßÿ’‘“”–—…€£°«»§¿¡·ºª©®"  # noqa: RUF001 quotes and dashes are meant
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

# By the name that `iconv` knows: letters that are frequent in what is written so, and whether they stand one by one
# between ASCII letters. Of two encodings that fit as well, the first one wins.
FREQUENT: dict[str, tuple[str, bool]] = {
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
PYTHON = {"MACINTOSH": "mac-roman"}  # where Python has another name
SPACES = b"\t\n\v\f\r"
LEAST = 0.25  # share of frequent letters that makes an encoding likely


def guess(sample: bytes) -> str | None:
    """The encoding of the beginning of a text, by the name that `iconv` knows; None where none of the usual ones fits.

    Args:
        sample: some kilobytes of a text that is no UTF-8, from a line's beginning.
    """
    for mark, name in MARKS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        return _wide(sample)
    if is_escaped(sample):
        return "ISO-2022-JP"
    if sum(byte < 32 and byte not in SPACES for byte in sample) > 0.02 * len(sample):
        return None  # no text at all
    best = max(FREQUENT, key=lambda name: _fit(sample, name))  # the first of several
    return best if _fit(sample, best) >= LEAST else None


def is_escaped(raw: bytes) -> bool:
    """Whether a text is Japanese in ISO-2022-JP, which would pass for ASCII."""
    return ESCAPES in raw and _decoded(raw, "ISO-2022-JP") is not None


def way_out(path: Path, name: str | None) -> str:
    """What to do with a file in the encoding `name`, or in an unknown one."""
    file, stem = shlex.quote(str(path)), path.name.split(".")[0]
    new = shlex.quote(str(path.with_name(f"{stem}_utf8{path.name.removeprefix(stem)}")))
    convert = f"iconv -f {name or 'ENCODING'} -t UTF-8"
    command = f"gzip -dc {file} | {convert} | gzip > {new}" if path.suffix == ".gz" else f"{convert} {file} > {new}"
    known = f"it reads like {name}; " if name else "its encoding is none of the usual ones; find it out, then "
    return f"{known}convert it with `{command}` and give the new file."


def _wide(sample: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: the bytes that are zero are those of one place in every two or four."""
    printable = sum(32 <= byte < 127 or byte in b"\t\n\r" for byte in sample if byte)
    if sample.count(0) < 0.2 * len(sample) and printable > 0.9 * (len(sample) - sample.count(0)):
        return None  # ASCII in which a zero stands here and there
    zeros = [sample[place::4].count(0) for place in range(4)]
    quarter = max(1, len(sample) // 4)
    if min(zeros[2:]) >= 0.9 * quarter:
        name = "UTF-32LE"
    elif min(zeros[:2]) >= 0.9 * quarter:
        name = "UTF-32BE"
    else:
        even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
        name = "UTF-16LE" if odd > even else "UTF-16BE"
    text = _decoded(sample, name)
    if not text:
        return None
    likely = sum(sign.isspace() or unicodedata.category(sign)[0] in "LMNPSZ" for sign in text)
    return name if likely > 0.95 * len(text) else None


def _fit(sample: bytes, name: str) -> float:
    """How well an encoding fits: the share of its frequent letters among those that are not ASCII, at most 1."""
    frequent, alone = FREQUENT[name]
    text = _decoded(sample, name)
    signs = [] if text is None else [sign for sign in text.lower() if ord(sign) > 127]
    if text is None or not signs:
        return 0.0
    runs = [match.group() for match in re.finditer(r"[^\x00-\x7f]+", text)]
    together = sum(len(run) for run in runs if len(run) > 1) / sum(map(len, runs))
    # in a wrong encoding of the right alphabet, capital letters stand inside words
    mixed = sum(a.islower() and b.isupper() and b > "\x7f" for a, b in pairwise(text))
    share = (sum(sign in frequent for sign in signs) - mixed) / len(signs)
    return share * (1.0 - together if alone else together)


def _decoded(sample: bytes, name: str) -> str | None:
    """The sample as text, without half a character at its end; None where it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(PYTHON.get(name, name))("strict").decode(sample)
    except UnicodeDecodeError:
        return None
