"""What the page wears: its style sheet and its one small script."""

from uddm_lightning.report.figures.drawing import palette


def style_sheet() -> str:
    """CSS with the figures' colours for light and for dark pages."""
    light, dark = ("".join(f"--{name}: {pair[i]}; " for name, pair in palette().items()) for i in (0, 1))
    return f":root {{ {light}}}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark}{_DARK}}} }}\n{_CSS}"


_DARK = "--page: #14171b; --card: #1b1f24; --line: #30363d; --quiet: #9da7b1; "

_CSS = """
:root {
  color-scheme: light dark;
  --font: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media not (prefers-color-scheme: dark) {
  :root { --page: #fdfdfc; --card: #ffffff; --line: #e2e5e9; --quiet: #59636e; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.6 var(--font); }
main { max-width: 50rem; margin: 0 auto; padding: 2.5rem 1.1rem 4rem; overflow-wrap: break-word; }
h1 { margin: 0 0 1.2rem; font-size: 1rem; font-weight: 600; color: var(--quiet); }
h2 { margin: 3rem 0 0.6rem; font-size: 1.25rem; line-height: 1.3; font-weight: 650; }
h3 { margin: 1.6rem 0 0.4rem; font-size: 1rem; font-weight: 650; }
p { margin: 0.5rem 0; }
.answer { font-size: clamp(1.2rem, 0.95rem + 1.4vw, 1.6rem); line-height: 1.4; font-weight: 600; margin: 0 0 0.8rem; }
.several { font-size: 1.15rem; }
.quiet, figcaption { color: var(--quiet); font-size: 0.92rem; line-height: 1.5; }
figure { margin: 1rem 0 0; }
.box { overflow-x: auto; -webkit-overflow-scrolling: touch; }
.box svg { display: block; width: 100%; max-width: calc(1.25 * var(--natural)); min-width: var(--least); height: auto; }
figcaption { margin-top: 0.6rem; }
details { margin: 0.7rem 0 0; }
summary { cursor: pointer; color: var(--quiet); font-size: 0.92rem; padding: 0.25rem 0; }
details .box { max-height: 26rem; overflow: auto; }
details .box { margin-top: 0.4rem; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; font-size: 0.88rem; line-height: 1.45; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.38rem 0.9rem 0.38rem 0; }
th, td { border-bottom: 1px solid var(--line); }
th { font-weight: 600; white-space: nowrap; }
td.short { white-space: nowrap; }
td.why { min-width: 17rem; }
details th { position: sticky; top: 0; background: var(--page); }
details th:first-child, details td:first-child { padding-left: 0.7rem; }
.regimes th { white-space: normal; vertical-align: bottom; }
.long { max-height: 36rem; overflow: auto; }
.regime { white-space: nowrap; font-weight: 600; }
.regime::before { content: ""; display: inline-block; width: 0.6em; height: 0.6em; margin-right: 0.45em; }
.regime::before { border-radius: 50%; border: 2px solid currentColor; }
.memorizing { color: var(--lost); } .memorizing::before { background: currentColor; }
.in-transition { color: var(--star); }
.in-transition::before { background: linear-gradient(90deg, currentColor 50%, transparent 50%); }
.generalizing { color: var(--recovered); }
.not-learned-yet { color: var(--broken); } .not-learned-yet::before { border-style: dotted; }
.cannot-be-told { color: var(--quiet); font-weight: 400; } .cannot-be-told::before { border-style: dashed; }
.sentence td { border: 0; padding: 0.06rem 0.9rem 0.06rem 0; }
.sentence td:first-child { color: var(--quiet); white-space: nowrap; }
.sentence td:last-child { font-family: var(--mono); font-size: 0.9rem; white-space: pre; padding-right: 0; }
.sentence table { margin-bottom: 0.8rem; }
i { font-style: normal; border-bottom: 2px solid transparent; }
i.changed { background: color-mix(in srgb, var(--faint) 28%, transparent); }
i.recovered { color: var(--recovered); border-bottom: 2px solid;
  background: color-mix(in srgb, var(--recovered) 14%, transparent); }
i.lost { color: var(--lost); border-bottom: 2px dotted; font-weight: 700;
  background: color-mix(in srgb, var(--lost) 14%, transparent); }
i.broken { color: var(--broken); border-bottom: 2px dashed; font-weight: 700;
  background: color-mix(in srgb, var(--broken) 16%, transparent); }
.key { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; font-size: 0.9rem; margin: 0.6rem 0 0.9rem; }
.key i { font-family: var(--mono); padding: 0 0.25em; }
ul, ol { padding-left: 1.2rem; margin: 0.5rem 0; } li { margin: 0.3rem 0; }
dl { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: 0.25rem 1.2rem; }
dl { font-size: 0.92rem; margin: 0.6rem 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
circle.hit { fill: transparent; stroke: none; cursor: pointer; }
circle.hit:hover, circle.hit.on { stroke: var(--text); stroke-width: 1; }
#tip { position: fixed; z-index: 9; max-width: min(27rem, calc(100vw - 1rem)); padding: 0.35rem 0.6rem;
  border-radius: 6px; background: var(--text);
  color: var(--page); font-size: 0.85rem; line-height: 1.4; white-space: pre-line; pointer-events: none; }
@media (max-width: 600px) {
  main { padding: 1.5rem 1rem 3rem; }
  .regimes tr { display: grid; grid-template-columns: minmax(3.2rem, max-content) 1fr; column-gap: 0.6rem; }
  .regimes tr { border-bottom: 1px solid var(--line); padding: 0.4rem 0; }
  .regimes th, .regimes td { border: 0; padding: 0.1rem 0; }
  .regimes tr:first-child { display: none; }
  .regimes td[data-name] { grid-column: 1 / -1; }
  .regimes td[data-name]::before { content: attr(data-name) ": "; color: var(--quiet); }
  .regimes td.why { grid-column: 1 / -1; min-width: 0; }
  .sentence td:first-child { font-size: 0.78rem; padding-right: 0.5rem; }
  .sentence td:last-child { font-size: 0.78rem; }
}
@media print { details:not([open]) > :not(summary) { display: none; } main { max-width: none; } }
"""

SCRIPT = r"""
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);
  let on = null;
  const hide = () => { if (on) on.classList.remove("on"); on = null; tip.hidden = true; };
  const says = (point) => {
    const title = point.querySelector("title");  // moved away, or the browser would show it a second time
    if (title) { point.dataset.says = title.textContent; title.remove(); }
    return point.dataset.says;
  };
  const show = (point, event) => {
    hide();
    on = point;
    point.classList.add("on");
    const here = document.elementsFromPoint(event.clientX, event.clientY).filter((e) => e.matches("circle.hit"));
    tip.textContent = [...new Set([point, ...here].map(says))].slice(0, 8).join("\n");
    tip.hidden = false;
    const at = point.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const above = at.top - size.height - 6;
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = (above > 4 ? above : at.bottom + 6) + "px";
  };
  const point = (event) => event.target instanceof Element ? event.target.closest("circle.hit") : null;
  document.addEventListener("pointerover", (event) => { const p = point(event); if (p) show(p, event); else hide(); });
  document.addEventListener("click", (event) => { const p = point(event); if (p) show(p, event); else hide(); });
  document.addEventListener("scroll", hide, { capture: true, passive: true });
})();
"""
