"""The One Billion Word Benchmark, which has a space before and behind every sign."""

from uddm_lightning.data.detokenizers.base import Detokenizer, Rule, closer


class LM1BDetokenizer(Detokenizer):
    """Takes out spaces, and nothing else, by the rules with which SEDD, MDLM and Duo prepare LM1B.

    They are kept with their limits, so that rows equal those of the published models: of signs that follow each other
    only every second one moves, a full stop moves only behind a word, `do n't` stays apart, and what lies between two
    apostrophes counts as quoted. So a second pass may take out more; the source makes one.
    """

    rules = (
        Rule(" : / / ", r"(https?) : / / ", r"\1://"),
        Rule(" '", r" '(\w+)", r"'\1"),  # contractions: it 's
        Rule(" . ", r" (\w+) \. ", r" \1. "),
        Rule(" .", r" (\w+) \.$", r" \1."),
        closer("?"),
        Rule(" ?", r" \?$", "?"),
        closer("!"),
        Rule(" !", r" !$", "!"),
        closer(","),
        closer(":"),
        closer(";"),
        Rule(" / ", " / ", "/"),
        Rule('" ', r'" ([^"]+) "', r'"\1"'),
        Rule("' ", r"' ([^']+) '", r"'\1'"),
        Rule("( ", r"\( ([^()]+) \)", r"(\1)"),
        Rule("[ ", r"\[ ([^\[\]]+) \]", r"[\1]"),
        Rule("$ ", r"\$ ", "$"),
        Rule("£ ", "£ ", "£"),
    )
