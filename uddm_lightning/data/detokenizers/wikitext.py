"""WikiText, in which signs stand apart and those inside numbers are written between two @."""

from uddm_lightning.data.detokenizers.base import Detokenizer, Rule, closer


class WikiTextDetokenizer(Detokenizer):
    """Takes out spaces, and the @ of numbers, by the rules that the usual pipelines share.

    Of these, two are left out: one for Penn Treebank, which writes N where a number was and would turn the letter N
    into 1 here, and one that matches nothing. A space at either end of any line goes, of the first and last, too.
    """

    rules = (
        Rule("s '", "s '", "s'"),
        *(Rule(f" @{sign}@ ", f" @[{sign}]@ ", sign) for sign in "-,."),  # 1 @,@ 000
        *map(closer, ":;.!?,"),
        Rule("(", r"\(\s*([^)]*?)\s*\)", r"(\1)"),
        Rule("[", r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
        Rule("{", r"\{\s*([^}]*?)\s*\}", r"{\1}"),
        Rule('"', r'"\s*([^"]*?)\s*"', r'"\1"'),
        Rule("'", r"'\s*([^']*?)\s*'", r"'\1'"),
        Rule("= =", "= (?==)", "="),  # headings: = = Name = =
        Rule(" ° ", " ° ", "°"),
        Rule(" ", "^ | $", ""),
        Rule(" 's", " 's", "'s"),
    )
