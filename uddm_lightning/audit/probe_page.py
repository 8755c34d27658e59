"""The page of a probe: verdict, its scale, samples by token entropy, and entropy against t among known regimes."""

import math

from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from uddm_lightning.audit.calibration import BAND, FEATURES, NOT_LEARNED, REGIMES, UNDETERMINED
from uddm_lightning.audit.own_samples import NEAR, ORDER, TIMES, VANISHING, T
from uddm_lightning.audit.page import figure_section, plain_table, whole_page
from uddm_lightning.audit.probe import Probed
from uddm_lightning.audit.verdict import PLACES, caution_lines, evidence_lines, text_lines
from uddm_lightning.core.token_texts import readable
from uddm_lightning.report.figures.drawing import (
    FAINT,
    REGIME_COLOURS,
    SMALL,
    TEXT,
    WIDTH,
    Drawing,
    Table,
    new_figure,
    style,
)
from uddm_lightning.report.formatting import count, decimal, escaped, percent

SHOWN = 12  # samples
DARKEST = 34  # per cent of the text's colour behind a token with the largest entropy
READING = (
    "<b>Entropy</b> is that of the model's leave-one-out predictions, in nats per token. It vanishes if the model "
    "knows which token stands there.",
    "<b>Memorizing</b>: the model restores its training rows almost completely, and other text far less. <b>In "
    "transition</b>: it restores training rows better than other text. <b>Generalizing</b>: it restores both equally "
    "well. <b>Not learned yet</b>: it restores neither.",
    "<b>The probability</b> comes from models whose regime is known from their training and test rows. It is a "
    f"function of {len(FEATURES)} numbers: "
    + "; ".join(f"{escaped(name)} ({escaped(feature.meaning)})" for name, feature in FEATURES.items())
    + ".",
    "<b>Low entropy on a text</b> that the model has not drawn itself proves nothing: a model that memorizes may "
    "also be certain where it is wrong. The verdict rests on own samples alone.",
)


def probe_page(probed: Probed) -> str:
    """Return the page as HTML.

    Args:
        probed: result of `probe_model`.
    """
    verdict = probed.verdict
    others = ", ".join(f"{name} {p:.2f}" for name, p in verdict.probabilities.items() if name != verdict.most_probable)
    named = verdict.name if verdict.name != UNDETERMINED else f"undetermined, most probably {verdict.most_probable}"
    kind = "cannot-be-told" if verdict.name == UNDETERMINED else verdict.name.replace(" ", "-")
    lines = evidence_lines(probed.evidence) + (text_lines(probed.text, verdict) if probed.text else [])
    with style():
        parts = [
            f'<p class="answer"><span class="regime {kind}">{escaped(sentence(named))}</span>: probability '
            f"{verdict.probability:.2f}.</p>",
            f'<p class="quiet">Other regimes: {escaped(others)}.</p>',
            *(f"<p><b>Outside of the calibration:</b> {escaped(sentence(one))}.</p>" for one in verdict.outside),
            *(f"<p>{escaped(sentence(one))}.</p>" for one in caution_lines(verdict)),
            figure_section(_scale_drawing(probed), is_folded=True),
            "<h2>Evidence</h2><ul>" + "".join(f"<li>{escaped(sentence(line))}.</li>" for line in lines) + "</ul>",
            figure_section(_entropy_drawing(probed), is_folded=True),
            samples_section(probed),
            figure_section(_curve_drawing(probed), is_folded=True),
        ]
    parts.append("<h2>How to read this page</h2><ul>" + "".join(f"<li>{line}</li>" for line in READING) + "</ul>")
    parts.append(f"<h2>What was measured</h2>{plain_table(about(probed))}")
    return whole_page("Verdict on a trained model", parts)


def _scale_drawing(probed: Probed) -> Drawing:
    """Draw the regimes side by side, with the model's place and the probabilities."""
    verdict = probed.verdict
    figure = new_figure(WIDTH, 1.4)
    axes = figure.subplots()
    starts = {regime: place for place, regime in enumerate((*PLACES, NOT_LEARNED))}
    for regime, start in starts.items():
        gap = 0.12 if regime == NOT_LEARNED else 0.0
        axes.barh(0, 0.98, left=start + gap, height=0.8, color=REGIME_COLOURS[regime][0], alpha=0.28)
        label = regime.replace(" ", "\n", 1) + f"\n{verdict.probabilities[regime]:.2f}"  # short lines for a phone
        axes.text(start + gap + 0.49, -0.6, label, ha="center", va="top", fontsize=SMALL)
    learned = verdict.most_probable != NOT_LEARNED and verdict.position is not None
    place = 0.49 + 2 * (verdict.position or 0.0) if learned else 3.61
    (marker,) = axes.plot([place], [0], "D", color=TEXT[0], markersize=9)
    axes.set(xlim=(-0.05, 4.15), ylim=(-2.1, 0.6), xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    rows = [[regime, f"{p:.3f}"] for regime, p in verdict.probabilities.items()]
    caption = (
        "The diamond is the model: the mean place of memorizing, in transition and generalizing, weighted by their "
        "probabilities. A model that has not learned stands apart."
    )
    table = Table(["regime", "probability"], rows)
    drawing = Drawing("scale", "Place on the scale", figure, caption, table, is_narrow=True)
    drawing.mark(marker, [f"{verdict.most_probable}: {verdict.probability:.2f}"])
    return drawing


def _entropy_drawing(probed: Probed) -> Drawing:
    one = probed.evidence
    values = {
        "own samples": one.entropy,
        "own samples, uncorrupted": one.entropy_leave_one_out,
        "halves of two samples": one.entropy_spliced,
        "shuffled samples": one.entropy_shuffled,
        "random tokens": one.entropy_random,
    }
    if probed.text:
        values["the given text"] = probed.text.entropy
    values = {name: value for name, value in values.items() if not math.isnan(value)}
    scale = {
        f"{ORDER}-gram model": (one.ngram_entropy, "--"),
        "token frequencies": (one.unigram_entropy, "-."),
        "ln V": (one.largest_entropy, "-"),
    }
    figure = new_figure(WIDTH, 2.6)
    axes = figure.subplots()
    lines = [
        axes.axvline(value, color=FAINT[0], linestyle=dash, linewidth=1.2, label=name)
        for name, (value, dash) in scale.items()
    ]
    places = list(range(len(values)))[::-1]
    (dots,) = axes.plot(list(values.values()), places, "o", color=TEXT[0], markersize=6)
    axes.set_yticks(places, list(values))
    axes.set(xlim=(-0.03 * one.largest_entropy, 1.08 * max(one.largest_entropy, one.ngram_entropy)))
    axes.set(ylim=(-0.6, len(values) - 0.4), xlabel="entropy [nats per token]")
    everything = values | {name: value for name, (value, _) in scale.items()}
    table = Table(["", "nats per token"], [[name, decimal(value)] for name, value in everything.items()])
    caption = (
        f"Entropy of the predictions at t = {T:g} (uncorrupted where it says so) on several kinds of rows, on the "
        "scale of this vocabulary. A model that memorizes stays certain on rows that are not language."
    )
    drawing = Drawing("entropies", "Entropy on the scale of the vocabulary", figure, caption, table, is_narrow=True)
    drawing.mark(dots, [f"{name}: {value:.3f}" for name, value in values.items()])
    drawing.legend(lines)
    return drawing


def _curve_drawing(probed: Probed) -> Drawing:
    unigram, bands = max(probed.evidence.unigram_entropy, 1e-9), probed.calibration.bands
    figure = new_figure(WIDTH, 3.4)
    axes = figure.subplots()
    handles: list[Patch] = []
    for regime in REGIMES:
        low, high = zip(*bands[regime], strict=True)
        axes.fill_between(TIMES, low, high, color=REGIME_COLOURS[regime][0], alpha=0.22, linewidth=0)
        handles.append(Patch(color=REGIME_COLOURS[regime][0], alpha=0.4, label=regime))
    curve = [value / unigram for value in probed.evidence.curve]
    (line,) = axes.plot(TIMES, curve, "o-", color=TEXT[0], label="this model")
    axes.set_xscale("log")
    axes.set_xticks(TIMES, [f"{t:g}" for t in TIMES])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(xlabel="corruption time t", ylabel="entropy / entropy of token frequencies", ylim=(0, None))
    rows = [
        [
            f"{t:g}",
            decimal(value * unigram),
            decimal(value),
            *(f"{b[i][0]:.2f} to {b[i][1]:.2f}" for b in bands.values()),
        ]
        for i, (t, value) in enumerate(zip(TIMES, curve, strict=True))
    ]
    caption = (
        f"Entropy on own samples against t, over the entropy of their token frequencies. Bands: {BAND[0]:.0%} to "
        f"{BAND[1]:.0%} quantiles of the models of the calibration."
    )
    drawing = Drawing(
        "curve",
        "Entropy against t among known regimes",
        figure,
        caption,
        Table(["t", "nats per token", "ratio", *bands], rows),
        is_narrow=True,
    )
    drawing.mark(line, [f"t = {t:g}: {value:.3f}" for t, value in zip(TIMES, curve, strict=True)])
    drawing.legend([*handles, line])
    return drawing


def samples_section(probed: Probed, title: str = "Own samples by token entropy") -> str:
    """Return the first samples with a shade behind each token."""
    largest, pieces = probed.evidence.largest_entropy, probed.pieces
    samples = [[str(i) if pieces is None else pieces[i] for i in row] for row in probed.tokens_SL[:SHOWN].tolist()]
    words = readable({text for row in samples for text in row})
    shown = []
    for texts, entropy_L in zip(samples, probed.entropy_SL[:SHOWN].tolist(), strict=True):
        spans = []
        for text, entropy in zip(texts, entropy_L, strict=True):
            share = 0.0 if math.isnan(entropy) else min(max(entropy / largest, 0.0), 1.0)
            spans.append(f'<span style="--shade: {DARKEST * share:.0f}%">{escaped(words[text])}</span>')
        shown.append(f'<p class="tokens">{"".join(spans)}</p>')
    key = (
        '<p class="quiet">Background: entropy of the prediction of the token, from 0 '
        f'<span class="scale" style="background: linear-gradient(90deg, transparent, color-mix(in srgb, var(--text) '
        f'{DARKEST}%, transparent))"></span> to ln V = {largest:.2f} nats, at t = {T:g}.</p>'
    )
    return f'<section id="samples"><h2>{escaped(title)}</h2>{key}' + "\n".join(shown) + "</section>"


def about(probed: Probed) -> Table:
    """Return the facts of a model and of its calibration."""
    model, facts, one = probed.model, probed.facts, probed.evidence
    conditions, numbers = probed.calibration.conditions, probed.calibration.models
    low, high = conditions["vocab_size"]
    size = f"{facts.parameters:,} parameters, {facts.vocab_size:,} ids, rows of {facts.length:,} tokens"
    holds = (
        f"vocabularies of {low:,} to {high:,} ids, rows of {_range(conditions['length'])} tokens, "
        f"{_range(conditions['parameters'])} parameters, {', '.join(conditions['processes'])}"
    )
    return Table(
        ["", ""],
        [
            ["model", f"{model['path']}, step {model['step']}, {model['weights']} weights"],
            ["checkpoint, SHA-256", model["checkpoint"]],
            ["size", size],
            ["noise", facts.process],
            ["own samples", count(one.samples)],
            ["tokens with vanishing entropy", f"{percent(one.vanishing)} (below {VANISHING:.0%} of ln V)"],
            ["near-duplicates", f"{percent(one.near_duplicates)} (equal in {1 - NEAR:.0%} of the positions)"],
            ["own-token leak", decimal(one.leak)],
            ["calibration fitted on", ", ".join(f"{number} models {regime}" for regime, number in numbers.items())],
            ["it holds for", holds],
        ],
    )


def _range(ends: list[int]) -> str:
    return f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,} to {ends[1]:,}"


def sentence(text: str) -> str:
    """Return text with a large first letter."""
    return text[:1].upper() + text[1:]
