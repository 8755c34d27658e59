(() => {
  // Values of points and definitions of terms, by pointer, touch or keys.
  const LINES = 5;  // in the tip, those of the nearest points
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
  const show = (target, event) => {
    hide();
    on = target;
    target.classList.add("on");
    const box = target.getBoundingClientRect();
    const far = (e) => {
      const at = e.getBoundingClientRect();
      return Math.hypot(at.left + at.width / 2 - event.clientX, at.top + at.height / 2 - event.clientY);
    };
    const all = event && target.matches("circle")
      ? document.elementsFromPoint(event.clientX, event.clientY).filter((e) => e.matches("circle.hit")) : [];
    const near = [...new Set([target, ...all])];
    if (near.length > 1) near.sort((a, b) => far(a) - far(b));
    tip.textContent = [...new Set(near.map(says))].slice(0, LINES).join("\n");
    tip.hidden = false;
    const size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const above = box.top - size.height - 6;
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = (above > 4 ? above : box.bottom + 6) + "px";
  };
  const target = (event) => event.target instanceof Element ? event.target.closest("circle.hit, dfn") : null;
  const follow = (event) => { const found = target(event); if (found) show(found, event); else hide(); };
  document.addEventListener("pointerover", follow);
  document.addEventListener("click", follow);
  document.addEventListener("focusin", (event) => { if (event.target.matches("dfn")) show(event.target); });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  const move = () => { if (on && on === document.activeElement) show(on); else hide(); };
  document.addEventListener("scroll", move, { capture: true, passive: true });

  // Buttons for the times t of a figure; at first the reference t alone is shown.
  for (const figure of document.querySelectorAll("figure[data-times]")) {
    const row = document.createElement("div");
    row.className = "chips";
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", "Corruption times to show");
    for (const t of figure.dataset.times.split(" ")) {
      const chip = document.createElement("button");
      const set = (shown) => {
        chip.setAttribute("aria-pressed", shown);
        for (const part of figure.querySelectorAll(`[data-t="${t}"]`)) part.classList.toggle("off", !shown);
      };
      chip.type = "button";
      chip.textContent = `t = ${t}`;
      chip.addEventListener("click", () => set(chip.getAttribute("aria-pressed") !== "true"));
      set(t === figure.dataset.reference);
      row.append(chip);
    }
    figure.prepend(row);
  }

  // A link into a folded part opens it.
  const unfold = () => {
    const part = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let one = part; one; one = one.parentElement) if (one.matches("details")) one.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
