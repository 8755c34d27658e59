"""Detokenizer of WikiText, which has spaces around punctuation and @ around punctuation inside numbers."""

from uddm_lightning.data.detokenizers.base import Detokenizer, Rule, attach_punctuation


class WikiTextDetokenizer(Detokenizer):
    """Removes spaces, and the @ in numbers, by the rules of common language-modeling pipelines.

    Two of their rules are left out: one for Penn Treebank, which replaces numbers by N and would turn the letter N into
    1 here, and one that matches nothing. Spaces at both ends of every line are removed.

    Example:
        >>> WikiTextDetokenizer()("It cost 1 @,@ 000 dollars , or 7 ( net )")
        'It cost 1,000 dollars, or 7 (net)'
    """

    rules = (
        Rule("s '", "s '", "s'"),
        *(Rule(f" @{mark}@ ", f" @[{mark}]@ ", mark) for mark in "-,."),  # 1 @,@ 000
        *map(attach_punctuation, ":;.!?,"),
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
