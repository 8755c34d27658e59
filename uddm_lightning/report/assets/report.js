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
