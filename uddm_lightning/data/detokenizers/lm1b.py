"""Detokenizer of the One Billion Word Benchmark, which has spaces around punctuation."""

from uddm_lightning.data.detokenizers.base import Detokenizer, Rule, attach_punctuation


class LM1BDetokenizer(Detokenizer):
    """Removes spaces by the rules with which SEDD, MDLM and Duo prepare LM1B.

    The rules keep the limitations of the originals, so that rows equal those of the published models: only every second
    of adjacent punctuation marks moves, a full stop moves only after a word, `do n't` stays unchanged, and text between
    two apostrophes counts as quoted. A second pass may therefore remove more spaces; the source applies one pass.

    Example:
        >>> LM1BDetokenizer()("He said it 's fine , and left .")
        "He said it's fine, and left."
    """

    rules = (
        Rule(" : / / ", r"(https?) : / / ", r"\1://"),
        Rule(" '", r" '(\w+)", r"'\1"),  # contractions: it 's
        Rule(" . ", r" (\w+) \. ", r" \1. "),
        Rule(" .", r" (\w+) \.$", r" \1."),
        attach_punctuation("?"),
        Rule(" ?", r" \?$", "?"),
        attach_punctuation("!"),
        Rule(" !", r" !$", "!"),
        attach_punctuation(","),
        attach_punctuation(":"),
        attach_punctuation(";"),
        Rule(" / ", " / ", "/"),
        Rule('" ', r'" ([^"]+) "', r'"\1"'),
        Rule("' ", r"' ([^']+) '", r"'\1'"),
        Rule("( ", r"\( ([^()]+) \)", r"(\1)"),
        Rule("[ ", r"\[ ([^\[\]]+) \]", r"[\1]"),
        Rule("$ ", r"\$ ", "$"),
        Rule("£ ", "£ ", "£"),
    )
