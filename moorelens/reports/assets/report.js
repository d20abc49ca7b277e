"use strict";
// The machine, movable and clickable. Everything shown comes from the data block; text is only ever set as text.
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const figure = document.getElementById("figure-machine");
  if (!figure) return;
  const tabs = [...figure.querySelectorAll("[role=tab]")];
  const panels = [...figure.querySelectorAll("[role=tabpanel]")];
  const captions = [...figure.querySelectorAll(".caption")];
  const detail = figure.querySelector(".detail");
  const cameras = new Map();
  let current = 0;

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // --- which machine ---------------------------------------------------------------------------------------------
  function show(index, { focus = false } = {}) {
    current = index;
    tabs.forEach((tab, place) => {
      tab.setAttribute("aria-selected", String(place === index));
      tab.tabIndex = place === index ? 0 : -1;
      panels[place].hidden = captions[place].hidden = place !== index;
    });
    begin(index);
    if (focus) tabs[index].focus();
    clear();
  }

  // A hidden drawing has no size, so each begins when it is first shown.
  const begun = new Set();
  function begin(index) {
    const start = document.getElementById(data.views[index].start);
    if (begun.has(index) || !cameras.has(index)) return;
    begun.add(index);
    cameras.get(index).begin(start);
  }

  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => show(index));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) show((index + step + tabs.length) % tabs.length, { focus: true });
    });
  });

  // --- moving and zooming ------------------------------------------------------------------------------------------
  function camera(svg) {
    const [x, y, width, height] = svg.getAttribute("viewBox").split(/\s+/).map(Number);
    const home = { x, y, width, height };
    let box = { ...home };
    const apply = () => svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
    const scale = () => {
      const area = svg.getBoundingClientRect();
      return Math.max(box.width / area.width, box.height / area.height);
    };
    const place = (node) => {
      const spot = node.getBBox(), base = svg.querySelector(".graph").transform.baseVal.consolidate();
      return { x: spot.x + spot.width / 2 + (base ? base.matrix.e : 0), y: spot.y + spot.height / 2 + (base ? base.matrix.f : 0) };
    };
    const point = (event) => {
      const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return { x: spot.x, y: spot.y };
    };
    return {
      fit() { box = { ...home }; apply(); },
      // Where all at once would be too small to read, begin at the start, and let "Fit" show the rest.
      begin(start) {
        if (!start || scale() < 2) return;
        const factor = 1.25 / scale(), spot = place(start);
        box.width *= factor;
        box.height *= factor;
        box.x = Math.min(Math.max(spot.x - box.width / 2, home.x), home.x + home.width - box.width);
        box.y = Math.max(spot.y - box.height * 0.08, home.y);
        const area = svg.getBoundingClientRect();
        // The drawing keeps its proportions; give the box those of the window so that all of it is used.
        const ratio = area.width / area.height;
        if (box.width / box.height < ratio) {
          const width = box.height * ratio;
          box.x -= (width - box.width) / 2;
          box.width = width;
        } else box.height = box.width / ratio;
        apply();
      },
      move(dx, dy) { const unit = scale(); box.x += dx * unit; box.y += dy * unit; apply(); },
      zoom(factor, around) {
        const width = Math.min(Math.max(box.width * factor, home.width / 40), home.width * 1.5);
        const real = width / box.width;
        const center = around || { x: box.x + box.width / 2, y: box.y + box.height / 2 };
        box = {
          x: center.x - (center.x - box.x) * real, y: center.y - (center.y - box.y) * real,
          width, height: box.height * real,
        };
        apply();
      },
      center(node) {
        const spot = place(node);
        box.x = spot.x - box.width / 2;
        box.y = spot.y - box.height / 2;
        apply();
      },
      point,
      sees(node) {
        const spot = place(node);
        return spot.x > box.x && spot.x < box.x + box.width && spot.y > box.y && spot.y < box.y + box.height;
      },
    };
  }

  function attach(viewport, index) {
    const svg = viewport.querySelector("svg");
    const view = camera(svg);
    cameras.set(index, view);
    const pointers = new Map();
    let gap = 0, travelled = 0;
    svg.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, event);
      travelled = 0;
      gap = 0;
    });
    svg.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      pointers.set(event.pointerId, event);
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        const now = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        if (gap) view.zoom(gap / now, view.point({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 }));
        gap = now;
        return;
      }
      const dx = before.clientX - event.clientX, dy = before.clientY - event.clientY;
      travelled += Math.abs(dx) + Math.abs(dy);
      if (travelled > 4 && !svg.hasPointerCapture(event.pointerId)) svg.setPointerCapture(event.pointerId);
      if (travelled > 4) { viewport.classList.add("moving"); view.move(dx, dy); }
    });
    const release = (event) => { pointers.delete(event.pointerId); gap = 0; viewport.classList.remove("moving"); };
    svg.addEventListener("pointerup", release);
    svg.addEventListener("pointercancel", release);
    // The page keeps its scroll wheel: only with Ctrl or Cmd, as for a pinch, does the wheel zoom.
    viewport.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      view.zoom(Math.exp(event.deltaY * 0.004), view.point(event));
    }, { passive: false });
    viewport.addEventListener("keydown", (event) => {
      const pace = 60;
      const moves = { ArrowLeft: [-pace, 0], ArrowRight: [pace, 0], ArrowUp: [0, -pace], ArrowDown: [0, pace] };
      if (event.key in moves) view.move(...moves[event.key]);
      else if (event.key === "+" || event.key === "=") view.zoom(0.8);
      else if (event.key === "-") view.zoom(1.25);
      else if (event.key === "0") view.fit();
      else if (event.key === "Escape") clear();
      else if (event.key === "Enter" || event.key === " ") {
        const node = event.target.closest("[role=button]");
        if (!node) return;
        choose(index, node.id);
      } else return;
      event.preventDefault();
    });
    // A state reached by keyboard outside the window is brought into it.
    svg.addEventListener("focusin", (event) => {
      const node = event.target.closest("[role=button]");
      if (node && node.matches(":focus-visible") && !view.sees(node)) view.center(node);
    });
    svg.addEventListener("click", (event) => {
      if (travelled > 4) return;
      const node = event.target.closest("[role=button]");
      if (node) choose(index, node.id); else clear();
    });
  }

  figure.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    const view = cameras.get(current);
    if (!view) return;
    if (button.dataset.zoom === "fit") view.fit(); else view.zoom(button.dataset.zoom === "in" ? 0.75 : 1 / 0.75);
  }));

  // --- one state -----------------------------------------------------------------------------------------------------
  function clear() {
    figure.querySelectorAll(".chosen, .near").forEach((node) => node.classList.remove("chosen", "near"));
    figure.querySelectorAll(".choosing").forEach((svg) => svg.classList.remove("choosing"));
    detail.hidden = true;
    detail.replaceChildren();
  }

  function choose(index, id) {
    const view = data.views[index], state = view.states[id];
    if (!state) return;
    if (index !== current) show(index);
    clear();
    const node = document.getElementById(id);
    node.classList.add("chosen");
    node.closest("svg").classList.add("choosing");
    for (const [edge, ends] of Object.entries(view.edges)) {
      if (ends.from === id || ends.to === id) document.getElementById(edge)?.classList.add("near");
    }
    describe(state);
    history.replaceState(null, "", `#state=${encodeURIComponent(`${view.key}:${id}`)}`);
  }

  function describe(state) {
    detail.hidden = false;
    detail.append(element("h3", `${state.word} (${state.label})`));
    const facts = [state.steps, state.flags, state.members > 1 ? `${state.members} machine states in turn` : "", state.note];
    detail.append(element("p", facts.filter(Boolean).join(" · ")));
    if (!state.leaving.length) { detail.append(element("p", "Nothing recorded leads on from here.")); return; }
    const table = element("table"), head = element("tr"), body = element("tbody");
    for (const title of ["goes to", "share", "times", "when"]) head.append(element("th", title));
    for (const row of state.leaving) {
      const line = element("tr");
      line.append(element("td", row.label), element("td", row.share), element("td", row.count), element("td", row.rule || row.symbols));
      body.append(line);
    }
    table.append(element("thead"), body);
    table.tHead.append(head);
    const scroll = element("div", undefined, "scroll");
    scroll.append(table);
    detail.append(scroll);
  }

  // --- links into the machine ----------------------------------------------------------------------------------------
  document.querySelectorAll("[data-show]").forEach((link) => link.addEventListener("click", () => {
    const index = data.views.findIndex((view) => view.key === link.dataset.show);
    if (index < 0 || !cameras.has(index)) return;
    choose(index, link.dataset.node);
    const node = document.getElementById(link.dataset.node);
    if (node && !cameras.get(index).sees(node)) cameras.get(index).center(node);
  }));

  function follow() {
    const match = /^#state=(.+)$/.exec(location.hash);
    if (!match) return;
    const [key, ...rest] = decodeURIComponent(match[1]).split(":");
    const index = data.views.findIndex((view) => view.key === key);
    const node = document.getElementById(rest.join(":"));
    if (index < 0 || !node || !cameras.has(index)) return;
    choose(index, node.id);
    if (!cameras.get(index).sees(node)) cameras.get(index).center(node);
    figure.scrollIntoView();
  }

  panels.forEach((panel, index) => {
    const viewport = panel.querySelector(".viewport");
    if (viewport) attach(viewport, index);
  });
  begin(0);
  window.addEventListener("hashchange", follow);
  follow();
})();
