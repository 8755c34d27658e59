"""Examples of detokenized text, in the form of the corpus and in normal spelling."""

from hypothesis import strategies as st

# Sentences in the form of the corpora, and in normal spelling.
LM1B = [
    ("Schools closed , then reopened .", "Schools closed, then reopened."),
    ("The U.S. Centers said so on Monday .", "The U.S. Centers said so on Monday."),
    ("It 's a $ 5 ( or so ) deal .", "It's a $5 (or so) deal."),
    ('" We \'ll see , " he said .', '"We\'ll see," he said.'),
    ("Why ? Because !", "Why? Because!"),
    ("Who ?", "Who?"),
    ("One : two ; three", "One: two; three"),
    ("He paid £ 3 and / or $ 4 .", "He paid £3 and/or $4."),
    ("See http : / / example.com / a or https : / / b .", "See http://example.com/a or https://b ."),
    ("She [ the mayor ] left .", "She [the mayor] left."),
    ("the ' yes ' vote", "the 'yes' vote"),
    ("The first . The second .", "The first. The second."),
    # limits: these stay unchanged
    ("They do n't , , , know .", "They do n't, ,, know."),
    ("Why .", "Why ."),
    ("( he left ) .", "(he left) ."),
    ("a . . . b", "a . . . b"),
]
WIKITEXT = [
    (" = Robert Boulter = ", "= Robert Boulter ="),
    (" = = Career = = ", "== Career =="),
    (" = = = 2000 = = = ", "=== 2000 ==="),
    ("It took 1 @,@ 000 @.@ 5 km of state @-@ owned road .", "It took 1,000.5 km of state-owned road ."),
    ('He said : " Yes " ( twice ) ; then left , and so on . End', 'He said: "Yes" (twice); then left, and so on. End'),
    ("the boys ' 30 ° angle , it 's", "the boys'30°angle, it's"),
    ("N stays N", "N stays N"),
]
SIGNS = st.sampled_from(["it", "'s", "the", "5", "a.b", *"'\".,?!:;/()[]{}$£=°", "http", "@-@", "@,@"])
TEXTS = st.lists(SIGNS, max_size=14).map(" ".join)
