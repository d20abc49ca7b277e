"use strict";
// The machine, movable, clickable and running. Everything shown comes from the data block; text is only set as text.
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const figure = document.getElementById("figure-machine");
  if (!figure) return;
  const all = (selector, root = figure) => [...root.querySelectorAll(selector)];
  const panel = document.getElementById("panel");
  const tip = document.getElementById("tip");
  const panels = all("[role=tabpanel]");
  const tabs = all("[role=tab]");
  const captions = all("figcaption .caption");
  const cameras = new Map();
  const FULL = 0.75; // units of a drawing, points, in a pixel of the screen at 100 %
  let current = 0;   // the view that is shown, by its place in data.views
  let chosen = null; // {node} or {edge} of the shown view

  // --- making elements: text is never markup ---------------------------------------------------------------------
  function make(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "on") made.addEventListener("click", value);
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }
  const mark = (action) => document.querySelector(`.legend [data-action="${Number(action)}"] svg`)?.cloneNode(true) ?? "";
  const link = (text, act, attributes = {}) => make("button", { type: "button", class: "link", ...attributes, on: act }, ...[text].flat());
  function bar(part) {
    const inner = make("span", { class: "fill" });
    inner.style.width = `${Math.max(0, Math.min(1, part)) * 100}%`;
    return make("span", { class: "meter", "aria-hidden": "true" }, inner);
  }
  function picture(key, caption) {
    const shown = document.querySelector(`img[data-picture="${CSS.escape(key)}"]`);
    const stored = data.pictures[key];
    if (!shown && !stored) return null;
    const image = make("img", { src: shown ? shown.src : `data:image/png;base64,${stored.png}`, alt: caption,
      width: shown ? shown.width : stored.width, height: shown ? shown.height : stored.height });
    return make("figure", {}, image, make("figcaption", {}, caption));
  }
  function brief(value) {
    const text = Number.isInteger(value) ? String(value) : Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
    return text.replace("-", "\u2212");
  }

  const times = (text) => (text === "1" ? "once" : `${text} times`);

  // --- which machine -----------------------------------------------------------------------------------------------
  // What a large machine holds in full is read, and its map drawn, when it is first asked for.
  const index = [];
  function load(place) {
    if (index[place]) return;
    const stored = document.getElementById(`view-data-${place}`);
    if (stored) data.views[place] = { ...JSON.parse(stored.textContent), base: data.views[place].base };
    const view = data.views[place], home = new Map(), edges = new Map();
    for (const [node, state] of Object.entries(view.states)) state.members.forEach((member) => home.set(member, node));
    for (const [id, edge] of Object.entries(view.edges)) edges.set(`${edge.from} ${edge.to}`, id);
    index[place] = { home, edges };
  }
  data.views.forEach((view, place) => { if (view.base === null) load(place); });
  const baseOf = (place) => data.views[place].base ?? place;
  const wholeOf = (place) => data.views.findIndex((view) => view.base === place);
  const extents = all(".extent");

  function show(place, { focus = false } = {}) {
    if (place !== current) chosen = null;
    load(place);
    current = place;
    tabs.forEach((tab) => {
      const own = tab.id === `tab-${baseOf(place)}`;
      tab.setAttribute("aria-selected", String(own));
      tab.tabIndex = own ? 0 : -1;
      if (own && focus) tab.focus();
    });
    extents.forEach((one) => {
      one.hidden = ![one.dataset.part, one.dataset.whole].includes(String(place));
      all("button", one).forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.view === String(place))));
    });
    panels.forEach((one, at) => one.classList.toggle("current", at === place));
    captions.forEach((one, at) => one.classList.toggle("current", at === place));
    begin(place);
    cameras.get(place)?.tell();
    clear();
    light();
  }

  // A hidden drawing has no size, so each begins when it is first shown.
  const begun = new Set();
  function begin(place) {
    const viewport = panels[place].querySelector(".viewport"), kept = panels[place].querySelector("template");
    if (kept && !viewport.firstChild) {
      viewport.append(kept.content.cloneNode(true));
      attach(viewport, place);
    }
    if (begun.has(place) || !cameras.has(place)) return;
    begun.add(place);
    cameras.get(place).fit();
    if (kept) return;
    // An arrow is thin: a wide unseen line over it takes the click.
    all(`#view-${place} .edge`).forEach((edge) => {
      const path = edge.querySelector("path");
      if (!path) return;
      const wide = path.cloneNode();
      wide.setAttribute("class", "grip");
      edge.append(wide);
    });
  }

  extents.forEach((one) => all("button", one).forEach((button) => button.addEventListener("click", () => {
    const member = chosen?.node && states()[chosen.node].label !== "other" ? states()[chosen.node].members[0] : null;
    show(Number(button.dataset.view));
    const node = member === null ? null : index[current].home.get(member);
    if (node) choose(current, node);
  })));

  const placeOf = (tab) => Number(tab.id.slice(4));
  tabs.forEach((tab, order) => {
    tab.addEventListener("click", () => show(placeOf(tab)));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) show(placeOf(tabs[(order + step + tabs.length) % tabs.length]), { focus: true });
    });
    for (const kind of ["mouseenter", "focus"]) tab.addEventListener(kind, () => explain(placeOf(tab)));
    for (const kind of ["mouseleave", "blur"]) tab.addEventListener(kind, () => explain(null));
  });

  // Pointing at a reduction marks what it merged in the machine that is shown.
  const made = (place) => data.reductions.filter((step) => step.view === data.views[baseOf(place)].key);
  function explain(place) {
    all(".touched").forEach((node) => node.classList.remove("touched"));
    const steps = place === null ? [] : made(place).filter((step) => !step.idle);
    tip.hidden = !steps.length;
    tip.textContent = steps.map((step) => `${step.title}: ${step.text}${step.total ? ` (${step.total})` : ""}.`).join(" ");
    for (const step of steps) for (const [, parts] of step.merges) for (const part of parts.split(", ")) {
      const node = /^S\d+$/.test(part) ? index[current].home.get(Number(part.slice(1))) : null;
      if (node) document.getElementById(node)?.classList.add("touched");
    }
  }

  // --- moving and zooming --------------------------------------------------------------------------------------------
  function camera(svg) {
    const [x, y, width, height] = svg.getAttribute("viewBox").split(/\s+/).map(Number);
    const home = { x, y, width, height };
    const graph = svg.querySelector(".graph");
    let box = { ...home }, waiting = false, fitted = true, slid = null, rest = 0;
    // The box has the proportions of the window, so that all of the window is drawing.
    const write = () => {
      waiting = false;
      slid = null;
      clearTimeout(rest);
      svg.style.transform = "";
      svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
      tell();
    };
    // Thousands of states take longer to draw than a frame lasts: while it moves, the drawn picture is slid.
    const slide = () => {
      waiting = false;
      if (!slid) { write(); return; }
      svg.style.transform = `translate(${slid.x}px, ${slid.y}px)`;
      clearTimeout(rest);
      rest = setTimeout(write, 160);
    };
    const soon = (act) => { if (!waiting) { waiting = true; requestAnimationFrame(act); } };
    const apply = () => { slid = null; soon(write); };
    const area = () => svg.getBoundingClientRect();
    const scale = () => box.width / area().width;
    const place = (node) => {
      const spot = node.getBBox(), base = graph.transform.baseVal.consolidate();
      return { x: spot.x + spot.width / 2 + (base ? base.matrix.e : 0), y: spot.y + spot.height / 2 + (base ? base.matrix.f : 0) };
    };
    const point = (event) => {
      const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return { x: spot.x, y: spot.y };
    };
    const around = (spot, unit) => {
      const { width: wide, height: tall } = area();
      box = { x: spot.x - (wide * unit) / 2, y: spot.y - (tall * unit) / 2, width: wide * unit, height: tall * unit };
    };
    const middle = () => ({ x: box.x + box.width / 2, y: box.y + box.height / 2 });
    function fit() {
      const { width: wide, height: tall } = area();
      if (!wide || !tall) return;
      around({ x: home.x + home.width / 2, y: home.y + home.height / 2 }, Math.max(home.width / wide, home.height / tall, FULL / 1.6));
      fitted = true;
      write();
    }
    const tell = () => {
      const pressed = { fit: fitted, full: !fitted && Math.abs(scale() / FULL - 1) < 0.01 };
      if (cameras.get(current) === self) for (const [key, on] of Object.entries(pressed)) figure.querySelector(`[data-zoom=${key}]`)?.setAttribute("aria-pressed", String(on));
    };
    new ResizeObserver(() => { if (fitted) fit(); }).observe(svg);
    const self = {
      fit, tell,
      // A point of the drawing as large as it is printed, around what is chosen, or else around what is seen.
      full(node) { fitted = false; around(node ? place(node) : middle(), FULL); apply(); },
      move(dx, dy) {
        const unit = scale();
        box.x += dx * unit;
        box.y += dy * unit;
        slid = { x: (slid?.x ?? 0) - dx, y: (slid?.y ?? 0) - dy };
        if (fitted) { fitted = false; tell(); }
        soon(slide);
      },
      zoom(factor, about) {
        const unit = scale(), least = FULL / 6, most = Math.max(home.width / area().width, home.height / area().height, FULL) * 1.5;
        const real = Math.min(Math.max(unit * factor, least), most) / unit;
        const center = about || middle();
        box = {
          x: center.x - (center.x - box.x) * real, y: center.y - (center.y - box.y) * real,
          width: box.width * real, height: box.height * real,
        };
        fitted = false;
        apply();
      },
      center(node) { fitted = false; around(place(node), scale()); apply(); },
      // What is looked up is to be read: closer where it would be too small.
      bring(node) {
        if (scale() <= FULL * 2.2 && self.sees(node)) return;
        fitted = false;
        around(place(node), Math.min(scale(), FULL));
        const within = (low, size, from, room) => (size < room ? Math.min(Math.max(low, from), from + room - size) : from - (size - room) / 2);
        box.x = within(box.x, box.width, home.x, home.width);
        box.y = within(box.y, box.height, home.y, home.height);
        apply();
      },
      point,
      sees(node) {
        const spot = place(node);
        return spot.x > box.x && spot.x < box.x + box.width && spot.y > box.y && spot.y < box.y + box.height;
      },
    };
    svg.style.aspectRatio = `${home.width} / ${home.height}`;
    return self;
  }

  function attach(viewport, place) {
    const svg = viewport.querySelector("svg");
    const view = camera(svg);
    cameras.set(place, view);
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
      else if (event.key === "1") view.full(chosen?.node ? document.getElementById(chosen.node) : null);
      else if (event.key === "Escape") clear();
      else if (event.key === "Enter" || event.key === " ") {
        const node = event.target.closest("[role=button]");
        if (!node) return;
        choose(place, node.id);
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
      const node = event.target.closest(".node"), edge = event.target.closest(".edge");
      if (node && data.views[place].states[node.id]) choose(place, node.id);
      else if (edge) chooseEdge(place, edge.id);
      else clear();
    });
  }

  all("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    const view = cameras.get(current);
    if (!view) return;
    const node = chosen?.node ? document.getElementById(chosen.node) : null;
    ({ fit: () => view.fit(), full: () => view.full(node), in: () => view.zoom(0.75), out: () => view.zoom(1 / 0.75) })[button.dataset.zoom]();
  }));

  // --- the panel: one state, one arrow, or what there is to choose ---------------------------------------------------
  const states = () => data.views[current].states;
  const edges = () => data.views[current].edges;
  const name = (node) => (states()[node] ? `${states()[node].word} (${states()[node].label})` : "start");

  function unmark() {
    all(".chosen, .near, .beside").forEach((node) => node.classList.remove("chosen", "near", "beside"));
    all(".choosing").forEach((svg) => svg.classList.remove("choosing", "crowded"));
  }

  function clear() {
    chosen = null;
    unmark();
    overview();
    drawStrip();
  }

  function mind(id) {
    const node = document.getElementById(id), view = cameras.get(current);
    if (node && view) view.bring(node);
  }

  function choose(place, id, { bring = false } = {}) {
    if (!data.views[place].states[id]) return;
    if (place !== current) show(place);
    chosen = { node: id };
    unmark();
    const node = document.getElementById(id);
    node?.classList.add("chosen");
    node?.closest("svg").classList.add("choosing");
    let beside = 0;
    for (const [edge, ends] of Object.entries(edges())) {
      if (ends.from !== id && ends.to !== id) continue;
      document.getElementById(edge)?.classList.add("near");
      document.getElementById(ends.from === id ? ends.to : ends.from)?.classList.add("beside");
      beside += 1;
    }
    node?.closest("svg").classList.toggle("crowded", beside > 24);
    if (bring) mind(id);
    describeState(id);
    drawStrip();
    history.replaceState(null, "", `#state=${encodeURIComponent(`${data.views[current].key}:${id}`)}`);
  }

  function chooseEdge(place, id) {
    if (!data.views[place].edges[id]) return;
    if (place !== current) show(place);
    chosen = { edge: id };
    unmark();
    const arrow = document.getElementById(id);
    arrow?.classList.add("near");
    arrow?.closest("svg").classList.add("choosing");
    [edges()[id].from, edges()[id].to].forEach((end) => document.getElementById(end)?.classList.add("beside"));
    if (data.views[place].base !== null) mind(id);
    describeEdge(id);
    drawStrip();
  }

  function section(title, ...children) {
    const kept = children.filter((child) => child);
    return kept.length ? make("section", {}, make("h4", {}, title), ...kept) : null;
  }
  function fill(...children) {
    // Who follows a link of the panel by keyboard stays in it.
    const inside = panel.contains(document.activeElement) && document.activeElement !== panel;
    panel.replaceChildren(...children.filter((child) => child));
    panel.scrollTop = 0;
    if (inside) panel.focus({ preventScroll: true });
  }
  const closer = () => link("close", () => { clear(); panel.focus(); }, { class: "link close" });
  const entry = (place) => player && player.numbers.has(place[0])
    ? link(`episode ${place[0]}, step ${place[1]}`, () => player.go(place[0], place[1], { reveal: true }), { title: "Play from here" })
    : make("span", { class: "hint" }, `episode ${place[0]}, step ${place[1]}`);
  const places = (found) => found.length ? make("ul", { class: "places" }, ...found.map((place) => make("li", {}, entry(place)))) : null;

  function overview() {
    const view = data.views[current];
    const heavy = Object.values(data.decisions).slice(0, 8).map((decision) => {
      const node = [...Object.entries(view.states)].find(([, state]) => state.decision && data.decisions[state.decision] === decision);
      return make("li", {}, link([`${decision.label} ${decision.word}`], () => (node ? choose(current, node[0], { bring: true }) : jump(decision.view, decision.node))), " ", make("span", { class: "hint" }, decision.share));
    });
    fill(
      make("h3", {}, view.title),
      make("p", { class: "hint" }, "Choose a state or an arrow, in the drawing or here."),
      section("How it was made", ...made(current).filter((step) => !step.idle).map(reduction), idle(made(current).filter((step) => step.idle))),
      section("Heaviest decision points", heavy.length ? make("ul", { class: "plain" }, ...heavy) : null),
    );
  }

  function idle(steps) {
    return steps.length ? make("p", { class: "hint" }, `Changed nothing: ${steps.map((step) => step.title.toLowerCase()).join(", ")}.`) : null;
  }

  function reduction(step) {
    const head = make("p", {}, make("b", {}, step.title), ` ${step.text}`, step.states ? `: ${step.states}` : "", ".");
    if (!step.merges.length) return head;
    const rows = step.merges.map(([into, parts]) => make("li", {}, make("b", {}, into), ` \u2190 ${parts}`));
    if (step.more) rows.push(make("li", {}, step.more));
    return make("div", {}, head, make("details", {}, make("summary", {}, step.total), make("ul", { class: "plain" }, ...rows)));
  }

  function describeState(id) {
    const state = states()[id];
    const facts = [`${state.visits} steps, ${state.share} of all`, state.flags, state.note].filter(Boolean).join(" \u00b7 ");
    const codes = data.codes.length ? state.members.filter((member) => data.codes[member]) : [];
    const shown = state.members.slice(0, 12).map((member) => `S${member}`).join(", ");
    const more = state.members.length > 12 ? ` and ${state.members.length - 12} more` : "";
    fill(
      closer(),
      make("h3", {}, mark(state.actions[0]), ` ${state.word} (${state.label})`),
      make("p", { class: "hint" }, facts),
      state.value === null ? null : make("p", {}, "Value estimate here, on average: ", make("b", {}, state.value)),
      state.pictures.length ? make("div", { class: "pictures" }, ...state.pictures.map((key) => picture(key, "typical of what is seen"))) : null,
      state.decision ? decision(data.decisions[state.decision]) : null,
      section("Leads to", ways(id, "from", "to")),
      section("Comes from", ways(id, "to", "from")),
      section("Features while here, median and middle 80 %", ranges(state.features)),
      section("Stays, visits in a row", dwell(state.dwell)),
      section("Where in the episodes", places(state.places)),
      section("Stands for", make("p", {}, `${shown}${more} of machine.json `, codes.length === 1 ? code(data.codes[codes[0]]) : ""), make("p", { class: "hint" }, data.views[current].numbers)),
    );
  }

  // The ways out of a state, or into it: the other end opens, what is beside it tells of the arrow.
  function ways(id, here, there) {
    const rows = Object.entries(edges()).filter(([, edge]) => edge[here] === id), out = here === "from";
    if (!rows.length) return out ? make("p", { class: "hint" }, "Nothing recorded leads on from here.") : null;
    const shown = out ? 12 : 6;
    const end = (row) => (states()[row[there]] ? `${states()[row[there]].label} ${states()[row[there]].word}` : "start");
    return make("ul", { class: "ways" }, ...rows.slice(0, shown).map(([edge, row]) => make("li", {},
      states()[row[there]] ? link([end(row)], () => choose(current, row[there], { bring: true })) : end(row), " ",
      make("span", { class: "hint" }, out ? `${row.share}, ` : ""), link([times(row.count)], () => chooseEdge(current, edge), { class: "link hint", "aria-label": `${times(row.count)}: the arrow` }), out ? bar(row.part) : null,
      out ? make("span", { class: "hint when" }, row.rule || row.symbols.slice(0, 6).map(([symbol]) => symbol).join(", ")) : null)),
    rows.length > shown ? make("li", { class: "hint" }, `and ${rows.length - shown} more`) : null);
  }

  function describeEdge(id) {
    const edge = edges()[id], from = states()[edge.from];
    const rows = edge.symbols.map(([symbol, many]) => make("tr", {}, make("td", {}, symbol), make("td", { class: "right" }, many)));
    const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "symbol"), make("th", { scope: "col", class: "right" }, "times"))), make("tbody", {}, ...rows));
    fill(
      closer(),
      make("h3", {}, from ? link([mark(from.actions[0]), ` ${name(edge.from)}`], () => choose(current, edge.from)) : "start", " \u2192 ",
        link([mark(states()[edge.to].actions[0]), ` ${name(edge.to)}`], () => choose(current, edge.to))),
      make("p", { class: "hint" }, `${times(edge.count)}, ${edge.share} of the ways out${edge.stochastic ? " \u00b7 a symbol on it also leads elsewhere" : ""}`),
      bar(edge.part),
      edge.rule ? section("When", make("p", {}, edge.rule)) : null,
      section("Symbols", rows.length ? table : null, edge.more ? make("p", { class: "hint" }, edge.more) : null),
      section("Examples", places(edge.places)),
    );
  }

  function decision(found) {
    const branches = found.branches.map((branch) => make("div", { class: "branch" },
      make("h5", {}, mark(branch.mark), ` ${branch.word} `, make("span", { class: "hint" }, `\u2192 ${branch.label}`)),
      bar(branch.part), make("p", { class: "hint" }, `${branch.share}, ${branch.count}`),
      branch.rule ? make("p", {}, branch.rule) : null,
      branch.pictures.length ? make("div", { class: "pictures" }, ...branch.pictures.map(([key, caption]) => picture(key, caption))) : null,
      branch.forced ? make("p", { class: "hint" }, branch.forced) : null,
      branch.place ? make("p", { class: "hint" }, entry(branch.place)) : null));
    // A decision is told in the numbers of the form that it was found in.
    const told = data.views.findIndex((view) => view.key === found.view), here = baseOf(told) === baseOf(current);
    return section(here ? "It decides here" : `It decides here: ${found.label} of the ${data.views[baseOf(told)].title.toLowerCase()} machine`,
      make("p", { class: "hint" }, found.meta), found.test ? make("p", {}, found.test) : null,
      make("div", { class: "pair" }, ...branches), found.left ? make("p", { class: "hint" }, found.left) : null,
      found.article ? make("p", {}, make("a", { href: `#decision-${found.article}`, class: "ref", on: () => unfold(found.article) }, "compare its branches")) : null);
  }
  function unfold(number) {
    const folded = document.getElementById(`decision-${number}`)?.closest("details");
    if (folded) folded.open = true;
  }

  function ranges(features) {
    if (!features.length) return null;
    return make("dl", { class: "ranges" }, ...features.map((item) => {
      const spread = make("span", { class: "fill" }), middle = make("span", { class: "tick" });
      spread.style.left = `${item.bar[0] * 100}%`;
      spread.style.width = `${Math.max(1, (item.bar[2] - item.bar[0]) * 100)}%`;
      middle.style.left = `${item.bar[1] * 100}%`;
      return make("div", {}, make("dt", {}, item.name),
        make("dd", {}, make("span", { class: "value" }, item.text), make("span", { class: "meter", "aria-hidden": "true" }, spread, middle), make("span", { class: "hint" }, item.range)));
    }));
  }

  function dwell(bins) {
    if (!bins.length) return null;
    const most = Math.max(...bins.map(([, times]) => times), 1);
    return make("ol", { class: "bins" }, ...bins.map(([length, many]) => {
      const column = make("span", { class: "column", "aria-hidden": "true" });
      column.style.height = `${(many / most) * 2.4}rem`;
      return make("li", { title: `${length}: ${many}` }, column, make("span", { class: "hint" }, length), make("span", { class: "unseen" }, `: ${many} times`));
    }));
  }

  // --- search ----------------------------------------------------------------------------------------------------------
  const search = document.getElementById("machine-search");
  function find() {
    all(".hit").forEach((node) => node.classList.remove("hit"));
    const wanted = search.value.trim().toLowerCase();
    if (!wanted) { overview(); return; }
    const found = matches(wanted, current), whole = wholeOf(current);
    if (whole >= 0) {
      // A state that is drawn only as part of "other" is opened where all states are.
      load(whole);
      const known = new Set(found.map((one) => one.text));
      found.push(...matches(wanted, whole).filter((one) => !known.has(one.text)));
    }
    found.forEach(({ place, node, edge }) => { if (place === current) document.getElementById(node ?? edge)?.classList.add("hit"); });
    unmark();
    chosen = null;
    const open = (one) => (one.node ? choose(one.place, one.node, { bring: true }) : chooseEdge(one.place, one.edge));
    fill(make("h3", {}, `${found.length} found`), found.length ? make("ul", { class: "plain" }, ...found.slice(0, 60).map((one) => make("li", {},
      link([one.text], () => open(one)), " ", make("span", { class: "hint" }, one.why))), found.length > 60 ? make("li", { class: "hint" }, `and ${found.length - 60} more`) : null)
      : make("p", { class: "hint" }, "No state, symbol or rule of this machine has that in it."));
  }
  function matches(wanted, place) {
    const found = [], view = data.views[place], folded = wholeOf(place) >= 0;
    const member = /^s(\d+)$/.exec(wanted);
    for (const [node, state] of Object.entries(view.states)) {
      if (folded && state.label === "other") continue;
      const own = state.label.toLowerCase() === wanted || `${state.word} ${state.flags}`.toLowerCase().includes(wanted);
      const inside = member && state.members.includes(Number(member[1]));
      if (own || inside) found.push({ place, node, exact: inside || state.label.toLowerCase() === wanted, text: `${state.label} ${state.word}`, why: inside && !own ? `holds ${wanted.toUpperCase()}` : state.share });
    }
    for (const [edge, row] of Object.entries(view.edges)) {
      const ends = [view.states[row.from], view.states[row.to]];
      if (folded && ends.some((state) => state?.label === "other")) continue;
      const symbol = row.names.includes(wanted), rule = row.rule.toLowerCase().includes(wanted);
      if (symbol || rule) found.push({ place, edge, exact: symbol, text: `${ends[0]?.label ?? "start"} \u2192 ${ends[1].label}`, why: rule ? row.rule : wanted });
    }
    return found.sort((a, b) => Number(b.exact) - Number(a.exact));
  }
  search?.addEventListener("input", find);
  search?.addEventListener("keydown", (event) => {
    if (event.key === "Enter") panel.querySelector("li button")?.click();
    if (event.key === "Escape") { search.value = ""; find(); }
  });

  // --- the memory code ---------------------------------------------------------------------------------------------------
  function code(text, before) {
    const digits = text.includes(" ") ? text.split(" ") : [...text];
    const old = before === undefined ? digits : before.includes(" ") ? before.split(" ") : [...before];
    return make("span", { class: "code", role: "img", "aria-label": `memory code ${text.replaceAll("-", "\u2212")}` },
      ...digits.map((digit, place) => make("i", { class: `${{ "+": "plus", "-": "minus", 0: "zero" }[digit] ?? "digit"}${digit !== old[place] ? " turned" : ""}` }, digit === "-" ? "\u2212" : digit)));
  }

  // --- playing an episode ------------------------------------------------------------------------------------------------
  const root = document.getElementById("player");
  const player = root ? makePlayer() : null;
  function light() { if (player) player.light(); }
  function drawStrip() { if (player) player.strip(); }

  function makePlayer() {
    const screen = root.querySelector(".screen"), strip = root.querySelector(".strip"), scrubber = document.getElementById("scrubber");
    const readout = document.getElementById("readout"), rows = document.getElementById("traces");
    const chooser = document.getElementById("episode"), speed = document.getElementById("speed");
    const toggle = root.querySelector("[data-play=toggle]");
    const numbers = new Map(data.episodes.map((episode, place) => [episode.number, place]).filter(([, place]) => data.episodes[place].states.length));
    const films = new Map();
    let episode = null, step = 0, timer = null, due = 0, totals = [], awake = false;

    function load(place) {
      episode = data.episodes[place];
      chooser.value = String(place);
      step = 0;
      let sum = 0;
      totals = episode.rewards.map((reward) => (sum += reward));
      scrubber.max = String(episode.actions.length - 1);
      const film = data.films[episode.film];
      screen.hidden = !film;
      if (film) {
        screen.width = film.width;
        screen.height = film.height;
        if (!films.has(episode.film)) films.set(episode.film, film.strips.map(() => null));
      }
      drawTraces();
      drawStripNow();
    }

    // A strip of frames is decoded when it is first needed.
    function frame(place) {
      const film = data.films[episode.film];
      if (!film) return;
      const strips = films.get(episode.film), at = Math.floor(place / film.per);
      if (!strips[at]) {
        strips[at] = new Image();
        strips[at].addEventListener("load", () => { if (Math.floor(episode.shown[step] / film.per) === at) frame(episode.shown[step]); });
        strips[at].src = `data:image/png;base64,${film.strips[at]}`;
      }
      if (!strips[at].complete || !strips[at].naturalWidth) return;
      screen.getContext("2d").drawImage(strips[at], 0, (place % film.per) * film.height, film.width, film.height, 0, 0, film.width, film.height);
    }

    function goTo(wanted) {
      step = Math.max(0, Math.min(episode.actions.length - 1, wanted));
      awake = true;
      const state = episode.states[step], before = step ? episode.states[step - 1] : undefined;
      const action = figure.querySelector(`.legend [data-action="${Number(episode.actions[step])}"]`);
      scrubber.value = String(step);
      scrubber.setAttribute("aria-valuetext", `step ${step}, ${action ? action.textContent.trim() : ""}, state S${state}`);
      if (episode.film) frame(episode.shown[step]);
      const facts = [
        ["step", `${step} of ${episode.actions.length - 1}`],
        ["action", make("span", {}, mark(episode.actions[step]), ` ${action ? action.textContent.trim() : episode.actions[step]}`)],
        ["reward", `${brief(episode.rewards[step])}, so far ${brief(totals[step])}`],
        episode.values ? ["value", brief(episode.values[step])] : null,
        ["symbol", episode.symbols[step]],
        ["state", make("span", {}, `S${state}`, make("span", { class: "hint in" }), episode.decisions.includes(step) ? make("span", { class: "hint" }, " decision point") : "")],
        data.codes[state] ? ["memory", code(data.codes[state], before === undefined ? undefined : data.codes[before])] : null,
      ].filter(Boolean);
      readout.replaceChildren(...facts.map(([title, value]) => make("div", { class: title }, make("dt", {}, title), make("dd", {}, value))));
      all(".playhead", root).forEach((head) => { head.style.left = `${(step / Math.max(1, episode.actions.length - 1)) * 100}%`; });
      all("output", rows).forEach((output, place) => { output.textContent = brief(episode.traces[place].values[step]); });
      lightNow();
    }

    function lightNow() {
      all(".lit").forEach((node) => node.classList.remove("lit"));
      if (!awake || !episode) return;
      const { home, edges: arrows } = index[current];
      const here = home.get(episode.states[step]);
      const before = step ? home.get(episode.states[step - 1]) : data.views[current].start;
      // The same step in the numbers of the machine that is shown.
      const label = states()[here]?.label;
      all(".in", readout).forEach((one) => { one.textContent = label && label !== `S${episode.states[step]}` ? ` in ${label}` : ""; });
      const node = here && document.getElementById(here);
      if (!node) return;
      node.classList.add("lit");
      document.getElementById(arrows.get(`${before} ${here}`))?.classList.add("lit");
      const view = cameras.get(current);
      if (view && !view.sees(node)) view.center(node);
    }

    function drawStripNow() {
      if (!episode) return;
      const pen = strip.getContext("2d"), unit = strip.width / episode.actions.length;
      const style = getComputedStyle(root);
      pen.clearRect(0, 0, strip.width, strip.height);
      episode.actions.forEach((action, place) => {
        const shape = figure.querySelector(`.legend [data-action="${Number(action)}"] svg > *`);
        pen.fillStyle = shape ? shape.getAttribute("fill") : "#ccc";
        pen.fillRect(place * unit, 8, unit + 0.6, 16);
      });
      pen.fillStyle = style.getPropertyValue("--soft");
      for (const place of episode.decisions) pen.fillRect(place * unit, 27, Math.max(1, unit * 0.6), 5);
      if (!chosen?.node) return;
      // Where the chosen state occurs in this episode.
      const members = new Set(states()[chosen.node].members);
      pen.fillStyle = style.getPropertyValue("--accent");
      episode.states.forEach((state, place) => { if (members.has(state)) pen.fillRect(place * unit, 0, Math.max(1.5, unit), 6); });
    }

    function drawTraces() {
      rows.replaceChildren(...episode.traces.map((trace) => {
        const canvas = make("canvas", { width: "1200", height: "40", "aria-hidden": "true" }), pen = canvas.getContext("2d");
        const low = Math.min(...trace.values), high = Math.max(...trace.values), span = high - low || 1;
        const x = (place) => (place / Math.max(1, trace.values.length - 1)) * 1200, y = (value) => 37 - ((value - low) / span) * 34;
        const style = getComputedStyle(root);
        if (low < 0 && high > 0) { pen.fillStyle = style.getPropertyValue("--rule"); pen.fillRect(0, y(0), 1200, 1.5); }
        pen.strokeStyle = style.getPropertyValue("--edge");
        pen.lineWidth = 2;
        pen.beginPath();
        trace.values.forEach((value, place) => pen.lineTo(x(place), y(value)));
        pen.stroke();
        return make("div", { class: "trace" }, make("span", { class: "name" }, trace.name), make("div", { class: "curve" }, canvas, make("span", { class: "playhead" })), make("output", { "aria-label": trace.name }));
      }));
    }

    function play(on) {
      if (timer) cancelAnimationFrame(timer);
      timer = null;
      toggle.textContent = on ? "\u275a\u275a" : "\u25b6";
      toggle.setAttribute("aria-label", on ? "Pause" : "Play");
      if (!on) return;
      if (step === episode.actions.length - 1) goTo(0);
      due = performance.now();
      const tick = (now) => {
        const pause = 1000 / Number(speed.value), steps = Math.floor((now - due) / pause);
        if (steps > 0) {
          due += steps * pause;
          goTo(step + steps);
          if (step === episode.actions.length - 1) { play(false); return; }
        }
        timer = requestAnimationFrame(tick);
      };
      timer = requestAnimationFrame(tick);
    }

    const next = () => goTo(episode.decisions.find((place) => place > step) ?? step);
    const previous = () => goTo(episode.decisions.findLast((place) => place < step) ?? step);
    const acts = { toggle: () => play(!timer), back: () => goTo(step - 1), forth: () => goTo(step + 1), next, previous };
    all("[data-play]", root).forEach((button) => button.addEventListener("click", () => {
      if (button.dataset.play !== "toggle") play(false);
      acts[button.dataset.play]();
    }));
    scrubber.addEventListener("input", () => { play(false); goTo(Number(scrubber.value)); });
    chooser.addEventListener("change", () => { play(false); load(Number(chooser.value)); goTo(0); });
    root.addEventListener("keydown", (event) => {
      if (event.target.closest("select") || event.ctrlKey || event.metaKey || event.altKey) return;
      const slider = event.target === scrubber, button = event.target.closest("button");
      if (event.key === " " && !button) play(!timer);
      else if (event.key === "n" || event.key === "N") { play(false); next(); }
      else if (event.key === "p" || event.key === "P") { play(false); previous(); }
      else if (event.key === "ArrowRight" && !slider) { play(false); goTo(step + 1); }
      else if (event.key === "ArrowLeft" && !slider) { play(false); goTo(step - 1); }
      else return;
      event.preventDefault();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawTraces(); drawStripNow(); if (awake) goTo(step); });
    load(Math.min(...numbers.values()));
    goTo(0);
    awake = false;
    return {
      numbers, light: lightNow, strip: drawStripNow,
      go(number, at, { reveal = false } = {}) {
        play(false);
        if (data.episodes[numbers.get(number)] !== episode) load(numbers.get(number));
        goTo(at);
        if (reveal) root.scrollIntoView({ block: "nearest" });
      },
    };
  }

  // --- links into the machine --------------------------------------------------------------------------------------------
  function jump(key, node) {
    const place = data.views.findIndex((view) => view.key === key);
    if (place < 0) return;
    load(place);
    choose(place, node, { bring: true });
  }
  document.querySelectorAll("[data-show]").forEach((one) => one.addEventListener("click", () => jump(one.dataset.show, one.dataset.node)));
  document.querySelectorAll("[data-episode]").forEach((one) => one.addEventListener("click", () => {
    player?.go(Number(one.dataset.episode), Number(one.dataset.step));
  }));

  function follow() {
    const match = /^#state=(.+)$/.exec(location.hash);
    if (!match) return;
    const [key, ...rest] = decodeURIComponent(match[1]).split(":");
    jump(key, rest.join(":"));
    if (chosen?.node !== rest.join(":")) return;
    figure.scrollIntoView({ behavior: "instant" });
  }

  panels.forEach((one, place) => {
    const viewport = one.querySelector(".viewport");
    if (viewport?.firstChild) attach(viewport, place);
  });
  show(0);
  window.addEventListener("hashchange", follow);
  follow();
})();
