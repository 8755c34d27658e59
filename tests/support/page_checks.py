"""Checks of a page as a reader sees it, as JavaScript for `Browser.run`."""

OPEN = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
SMALLEST = """Math.min(...[...document.querySelectorAll("figure svg text")].filter((e) => e.getClientRects().length)
    .map((e) => parseFloat(getComputedStyle(e).fontSize) * Math.hypot(e.getCTM().a, e.getCTM().b)))"""
# what a reader sees: colours over all backgrounds below them, painted on a canvas
CONTRAST = """(() => {
  const canvas = document.createElement("canvas"), paint = canvas.getContext("2d", { willReadFrequently: true });
  const pixel = (...colours) => {
    for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const e of document.querySelectorAll("main *")) {
    const own = [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !e.getClientRects().length) continue;
    const below = [];
    for (let one = e; one; one = one.parentElement) below.unshift(getComputedStyle(one).backgroundColor);
    const style = getComputedStyle(e), ink = e.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(pixel("#fff", ...below)), light(pixel("#fff", ...below, ink))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), e.tagName, e.textContent.slice(0, 20)]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
})()"""
# Finds labels that are cut or overlap, figures that scroll, and table columns that cannot be reached.
FLAWS = """(() => {
  const found = [], place = (e) => e.closest("section")?.id || "front";
  for (const svg of document.querySelectorAll("figure svg")) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width) continue;
    const texts = [...svg.querySelectorAll("text")].filter((e) => e.getClientRects().length && e.textContent.trim());
    const boxes = texts.map((e) => e.getBoundingClientRect());
    boxes.forEach((a, i) => {
      const said = texts[i].textContent;
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
        found.push(`${place(svg)}: "${said}" is cut`);
      if (said.includes("mathdefault")) found.push(`${place(svg)}: "${said}" is a formula`);
      boxes.slice(i + 1).forEach((b, j) => {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 1 && high > 3) found.push(`${place(svg)}: "${said}" and "${texts[i + 1 + j].textContent}" overlap`);
      });
    });
  }
  for (const box of document.querySelectorAll(".box")) {
    if (box.scrollWidth <= box.clientWidth + 1) continue;
    if (box.tabIndex !== 0) found.push(`${place(box)}: a box scrolls, but not by keys`);
    if (box.querySelector("svg")) found.push(`${place(box)}: a figure is wider than the page`);
    box.scrollLeft = 1e5;
    const ends = [...box.querySelectorAll("th, td")].map((e) => e.getBoundingClientRect().right);
    const edge = box.getBoundingClientRect().right + 1;
    if (Math.max(...ends) > edge) found.push(`${place(box)}: a column is out of reach`);
    box.scrollLeft = 0;
  }
  for (const list of document.querySelectorAll("dd"))
    if (list.getClientRects().length && list.getBoundingClientRect().width < 80) found.push("a narrow column of terms");
  return found;
})()"""
# what a reader with a keyboard can reach, in the order of the page
REACHABLE = """[...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
    .filter((e) => e.getClientRects().length && e.checkVisibility()).length"""
