"""Figure of the samples: memorized, spurious and novel ones, their perplexity and entropy."""

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from uddm_lightning.report import formatting as words
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures import plotting
from uddm_lightning.report.figures.drawing import FAINT, TEXT, Drawing, Table, category
from uddm_lightning.report.formatting import count, decimal, listed, visible, with_interval
from uddm_lightning.results.study import LABELS, Mean, Study
from uddm_lightning.transition.peak import peak

STYLES: dict[str, plotting.LineStyle] = {"memorized": "-", "spurious": "--", "novel": ":"}
PANELS = ("share of samples", "generative\nperplexity", "unigram entropy\n[nats]", "entropy gap\n[nats]")


def samples_drawing(study: Study, verdict: Estimates | None = None) -> Drawing | None:
    """Draw shares of memorized, spurious and novel samples, perplexity, unigram entropy and entropy gap, against N.

    Return None without samples.
    """
    if not any(_of(study, "unigram_entropy", name) for name in study.backbones):
        return None
    t = study.reference
    rows = len(PANELS) if any(study.entropy_gaps(name, t) for name in study.backbones) else len(PANELS) - 1
    figure, panels = plotting.panels_of(study, [1.6, *[1.0] * (rows - 1)], 1.0 + 1.45 * rows)
    drawing = Drawing(
        "samples",
        "The models' own samples",
        figure,
        "Rows drawn from pure noise, against the number of training rows. Top: the share of samples that are near a "
        "training row (memorized), near no training row but another sample (spurious), and near neither (novel). Novel "
        "does not mean good: noise is novel, too. The perplexity below separates it from text. Near means that at "
        "most the stated share of positions differ, by default one in ten; among more samples more are near another, "
        f"so only equal numbers compare (here {_numbers(study)}). Generative perplexity: "
        f"exp of the mean negative log-likelihood per token of the samples under another model, the {_critics(study)} "
        "critic; it is no bound on this model's likelihood (that is the NELBO) and no measure by which to choose a "
        "checkpoint. Unigram entropy: of the token frequencies within a sample. Dashed in grey: test rows, at most as "
        "many, under the same measures. "
        + (f"Entropy gap: conditional entropy on own samples minus on train rows, at t = {t:g}. " if t else "")
        + _oracles(study),
        _table(study),
        remarks=peak_sentences(study, verdict),
    )
    for column, backbone in enumerate(study.backbones):
        axes = [row[column] for row in panels]
        for index, label in enumerate(LABELS):
            plotting.curve(drawing, axes[0], _of(study, label, backbone), label, category(index), STYLES[label])
        for place, name in ((1, "generative_perplexity"), (2, "unigram_entropy")):
            spoken = name.replace("_", " ")
            plotting.curve(drawing, axes[place], _of(study, name, backbone), f"own samples, {spoken}", TEXT[0], "-")
            tests = _of(study, name, backbone, "test")
            plotting.curve(drawing, axes[place], tests, f"test rows, {spoken}", FAINT[0], "--", markersize=2.5)
            if place == 1:
                novel = _of(study, "novel_perplexity", backbone)
                plotting.curve(
                    drawing, axes[place], novel, "novel samples, generative perplexity", category(2), STYLES["novel"]
                )
            for index, oracle in enumerate(study.oracles):
                plotting.level(axes[place], study.sizes, _of(study, name, oracle), index, TEXT[0])
        if len(axes) == len(PANELS):
            axes[3].axhline(0.0, color=FAINT[0], linewidth=0.8)
            gaps = study.entropy_gaps(backbone, t)
            plotting.curve(drawing, axes[3], gaps, "own samples minus train rows", TEXT[0], "-")
        for place, one in enumerate(axes):
            plotting.panel_axis(one, study, labelled=place == len(axes) - 1)
        axes[0].set_ylim(-0.04, 1.04)
        if axes[1].lines:  # perplexities of noise and of text lie powers of ten apart
            axes[1].set_yscale("log")
            axes[1].yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
            axes[1].yaxis.set_minor_formatter(NullFormatter())
    for row, name in zip(panels, PANELS, strict=False):
        row[0].set_ylabel(name)
    handles = [plotting.legend_line(label, category(index), STYLES[label]) for index, label in enumerate(LABELS)]
    handles += [plotting.legend_line("own samples", TEXT[0]), plotting.legend_line("test rows", FAINT[0], "--")]
    drawing.legend(handles)
    return drawing


def peak_sentences(study: Study, verdict: Estimates | None = None) -> list[str]:
    """Return for each model where the generative perplexity of its samples is largest, and whether it is a peak."""
    lines = []
    for name in study.backbones:
        known = {
            mean.size: (mean.value, mean.low, mean.high)
            for mean in _of(study, "generative_perplexity", name)
            if mean.low is not None and mean.high is not None
        }
        found = peak(list(known), list(known.values()))
        if found is None:
            continue
        half = verdict.half(name, "recovery", study.reference) if verdict else None
        beside = f" N_half by recovery is {half.spelled}." if half else ""
        says = "above" if found.is_surely_inside else "not above"
        compared = f"this interval lies {says} those of the smallest and of the largest size"
        if found.size in (min(known), max(known)):
            compared = f"no {'smaller' if found.size == min(known) else 'larger'} size was measured"
        lines.append(
            f"{visible(name)}: the generative perplexity of own samples is largest at N = {count(found.size)}, "
            f"{with_interval(*found.value)}; {compared}.{beside}"
        )
    return lines


def _of(study: Study, name: str, backbone: str, split: str = "samples") -> list[Mean]:
    return study.column(name, "samples", backbone, split)


def _numbers(study: Study) -> str:
    return listed([count(float(number)) for number in study.values("n_draws", "samples")])


def _critics(study: Study) -> str:
    return listed([visible(name) for name in study.values("critic", "samples")]) or "missing"


def _oracles(study: Study) -> str:
    named = listed([words.oracle_label(name) for name in study.oracles if _of(study, "unigram_entropy", name)])
    return f"Thin lines: samples of {named}." if named else ""


def _table(study: Study) -> Table:
    """Return the numbers of the figure, and the distances of samples to training rows."""
    names = (
        *("generative_perplexity", "novel_perplexity", "unigram_entropy"),
        *("nearest_distance", "nearest_overlap", "train_overlap"),
    )
    rows = []
    for backbone in [*study.backbones, *study.oracles]:
        gaps = plotting.by_size(study.entropy_gaps(backbone, study.reference))
        for split, spoken in (("samples", "own samples"), ("test", "test rows")):
            found = {name: plotting.by_size(_of(study, name, backbone, split)) for name in (*LABELS, *names)}
            for size in sorted(found["unigram_entropy"]):
                means = [found[name].get(size) for name in (*LABELS, *names)]
                gap = plotting.spelled(gaps.get(size)) if split == "samples" else decimal(None)
                rows.append([visible(backbone), spoken, count(size), *map(plotting.spelled, means), gap])
    shares = "positions that differ from the nearest training row"
    grams = ("n-grams in that row", "n-grams in any training row")
    spoken_names = ["generative perplexity", "that of novel samples", "unigram entropy", shares, *grams]
    return Table(["model", "rows", "N", *LABELS, *spoken_names, "entropy gap"], rows)
