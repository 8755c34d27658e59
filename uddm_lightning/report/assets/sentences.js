// The sentence that comes back: sliders over N and t, next sentence, play over N. Without this script the page shows
// the same sentences at three sizes.
(() => {
  const section = document.getElementById("sentences");
  const source = document.getElementById("restorations");
  if (!section || !source) return;
  const { texts, models } = JSON.parse(source.textContent);
  const widget = section.querySelector(".replay");
  const find = (name) => widget.querySelector(`[data-part="${name}"]`);
  const [chosen, size, time, play, next, shade, now] =
    ["model", "size", "time", "play", "next", "shade", "now"].map(find);
  const words = { changed: "corrupted", recovered: "restored", lost: "not restored", broken: "clean, then changed" };
  let model = models[0], row = 0, timer = 0;

  const apply = (ids, changes) => {
    const copy = ids.slice();
    for (let i = 0; i < changes.length; i += 2) copy[changes[i]] = changes[i + 1];
    return copy;
  };
  const state = (line, x0, xt, xhat, i) => {
    if (line === "original") return "";
    if (line === "corrupted") return xt[i] === x0[i] ? "" : "changed";
    if (xt[i] !== x0[i]) return xhat[i] === x0[i] ? "recovered" : "lost";
    return xhat[i] === x0[i] ? "" : "broken";
  };
  const line = (place, name, x0, xt, xhat, shades) => {
    const ids = { original: x0, corrupted: xt, restored: xhat }[name], pieces = [];
    ids.forEach((id, i) => {
      const kind = state(name, x0, xt, xhat, i), text = texts[id], word = text.trimStart();
      const piece = document.createElement(kind ? "i" : "span");
      piece.textContent = word || (kind ? "␣".repeat(text.length) : text);
      if (word && i) pieces.push(text.slice(0, -word.length));  // the mark of a token is not below the space before it
      if (kind) { piece.className = kind; piece.title = words[kind]; }
      if (name === "restored" && shades && shade.checked) piece.style.setProperty("--shade", shades[i] * 1.6 + "%");
      pieces.push(piece);
    });
    place.replaceChildren(...pieces);
  };
  const tally = (split, x0, xt, xhat, share) => {
    let corrupted = 0, right = 0, broken = 0;
    x0.forEach((id, i) => {
      if (xt[i] !== id) { corrupted += 1; if (xhat[i] === id) right += 1; } else if (xhat[i] !== id) broken += 1;
    });
    const pulled = split === "test" && share >= 50 ? ` ${share} % of the result equals a training row.` : "";
    return `${right} of ${corrupted} corrupted tokens restored, ${broken} clean ${broken === 1 ? "token" : "tokens"} ` +
      `changed.${pulled}`;
  };
  const show = () => {
    const s = +size.value, t = +time.value, rows = `${model.sizes[s].toLocaleString("en")} rows`, said = [];
    find("size-now").textContent = rows;
    find("time-now").textContent = model.times[t];
    size.setAttribute("aria-valuetext", rows);
    time.setAttribute("aria-valuetext", `t = ${model.times[t]}`);
    for (const split of ["train", "test"]) {
      const side = widget.querySelector(`[data-split="${split}"]`), all = model.rows[split];
      const one = all[row % Math.max(all.length, 1)];
      const cell = one && one.restored[`${t},${s}`];
      side.classList.toggle("unknown", !cell);
      const result = side.querySelector(".result");
      if (!one) { result.textContent = `No ${split} row was kept.`; continue; }
      const xt = apply(one.x0, one.noised[t] || []), xhat = cell ? apply(xt, cell[0]) : xt;
      for (const name of ["original", "corrupted", "restored"])
        line(side.querySelector(`[data-line="${name}"]`), name, one.x0, xt, xhat, cell && cell[1]);
      result.textContent = cell ? tally(split, one.x0, xt, xhat, cell[2])
        : "This row was not measured at this N with this noise.";
      said.push(`${split === "train" ? "Training" : "Unseen"} row: ${result.textContent}`);
    }
    const results = document.createElement("span");  // on paper they stand below the rows alone
    results.textContent = ` ${said.join(" ")}`;
    now.replaceChildren(`Trained on ${rows}, t = ${model.times[t]}.`, results);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play over N";
    now.setAttribute("aria-live", "polite");
  };
  const start = () => {
    now.setAttribute("aria-live", "off");  // a reader would not keep up
    play.textContent = "Stop";
    if (+size.value === +size.max) size.value = 0;
    show();
    timer = setInterval(() => {
      size.value = +size.value + 1;
      if (+size.value === +size.max) stop();
      show();
    }, 1100);
  };
  const choose = (index) => {
    model = models[index];
    [size.max, time.max] = [model.sizes.length - 1, model.times.length - 1];
    [size.value, time.value, row] = model.start;
    show();
  };
  for (const slider of [size, time]) slider.addEventListener("input", () => { if (timer) stop(); show(); });
  play.addEventListener("click", () => { if (timer) stop(); else start(); });
  next.addEventListener("click", () => { row += 1; show(); });
  shade.addEventListener("change", show);
  if (chosen) chosen.addEventListener("change", () => { stop(); choose(chosen.value); });
  section.querySelector(".still").hidden = true;
  widget.hidden = false;
  choose(0);
})();
