"use strict";
(() => {
  const nodes = JSON.parse(document.getElementById("sag-data").textContent);
  const svg = document.querySelector("svg.sag"), large = document.getElementById("large");
  const byId = (id) => document.getElementById(id);
  if (!nodes.length) return;
  const shapes = nodes.map((_, index) => byId(`n${index}`));
  let kept = 0, shown = -1;

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const ways = (title, list, words) => {
    if (!list.length) return [];
    const items = document.createElement("ul");
    for (const way of list) {
      const item = document.createElement("li"), button = element("button", words(way), "link");
      button.type = "button";
      button.addEventListener("click", () => choose(way.node));
      item.append(button, element("span", way.points));
      items.append(item);
    }
    return [element("h4", title), items];
  };

  // What stands beside the graph; the picture is the drawing's own, enlarged.
  const show = (index) => {
    if (index === shown) return;
    shown = index;
    const node = nodes[index];
    byId("name").textContent = node.name;
    byId("said").textContent =
      `${node.share} of the whole (${node.value})` + (node.root ? ", enough alone." : ".");
    const more = node.hidden ? [element("p", `${node.hidden} further removals are not drawn.`, "hint")] : [];
    byId("ways").replaceChildren(
      ...ways("Hide one more", node.children, (way) => `without ${way.patch}`),
      ...more,
      ...ways("Comes from", node.parents, (way) => `${nodes[way.node].name}, without ${way.patch}`),
    );
    if (large) {
      const thumb = shapes[index].querySelector(".thumb"), image = thumb.querySelector("image").cloneNode();
      image.setAttribute("width", large.viewBox.baseVal.width);
      image.setAttribute("height", large.viewBox.baseVal.height);
      const lines = thumb.querySelector("g").cloneNode(true);
      lines.removeAttribute("transform");
      large.replaceChildren(image, lines);
      large.setAttribute("aria-label", `What the model was shown: ${node.words}`);
    }
    svg.classList.add("choosing");
    for (const edge of svg.querySelectorAll(".edge.near")) edge.classList.remove("near");
    for (const way of [...node.children, ...node.parents]) byId(`e${way.edge}`).classList.add("near");
    shapes.forEach((shape, other) => shape.classList.toggle("chosen", other === index));
  };
  const keep = (index) => {
    shapes[kept].setAttribute("tabindex", "-1");
    kept = index;
    shapes[kept].setAttribute("tabindex", "0");
    show(index);
  };
  const choose = (index) => {
    keep(index);
    shapes[index].focus();
  };

  const left = (index) => shapes[index].getBoundingClientRect().x;
  const beside = (index, step) => {
    const row = [...nodes.keys()].filter((other) => nodes[other].size === nodes[index].size);
    row.sort((a, b) => left(a) - left(b));
    return row[row.indexOf(index) + step];
  };
  const leftmost = (list) => list.map((way) => way.node).sort((a, b) => left(a) - left(b))[0];
  const moves = {
    ArrowUp: (index) => leftmost(nodes[index].parents),
    ArrowDown: (index) => leftmost(nodes[index].children),
    ArrowLeft: (index) => beside(index, -1),
    ArrowRight: (index) => beside(index, 1),
  };
  shapes.forEach((shape, index) => {
    shape.setAttribute("role", "button");
    shape.setAttribute("aria-label", nodes[index].words);
    shape.setAttribute("tabindex", index === kept ? "0" : "-1");
    shape.querySelector("title").remove();
    shape.addEventListener("pointerenter", () => show(index));
    shape.addEventListener("pointerleave", () => show(kept));
    shape.addEventListener("click", () => choose(index));
    shape.addEventListener("focus", () => keep(index));
    shape.addEventListener("keydown", (event) => {
      const next = event.key in moves ? moves[event.key](index) : undefined;
      if (event.key in moves || event.key === " ") event.preventDefault();
      if (next !== undefined) choose(next);
    });
  });
  const first = nodes.findIndex((node) => node.root);
  keep(first < 0 ? 0 : first);
  // A wide graph is drawn smaller, as far as its words stay legible, and opens at its first root; of the rest it is said.
  const sheet = document.querySelector(".sheet"), wide = svg.viewBox.baseVal.width;
  const fit = () => {
    svg.style.width = `${wide * Math.min(1, Math.max(0.66, sheet.clientWidth / wide))}px`;
    byId("beyond").hidden = sheet.scrollWidth <= sheet.clientWidth + 1;
  };
  window.addEventListener("resize", fit);
  fit();
  const place = shapes[kept].getBoundingClientRect();
  sheet.scrollLeft += place.x + place.width / 2 - (sheet.getBoundingClientRect().x + sheet.clientWidth / 2);
})();
