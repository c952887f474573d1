"use strict";

// Everything that this page says is there without this script: it sorts, hides, dims and points at what is there.
// Text from the data set goes from one text node to another, and is never read as markup.

const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
const byId = (id) => document.getElementById(id);
const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// Whatever somebody types, in a form in which alike looks alike.
const plain = (text) => text.normalize("NFC").toLowerCase();

function sortable(table) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const bySuspicion = Array.from(body.rows);
  const words = new Intl.Collator("en", { numeric: true });

  function compare(column, kind) {
    const [one, other] = [(row) => row.cells[column], (row) => Number(row.cells[column].dataset.value)];
    if (kind === "number") return (a, b) => other(a) - other(b);
    return (a, b) => words.compare(one(a).textContent, one(b).textContent);
  }

  function sort(head, column) {
    // Figures begin with the largest, names with the first; the third time brings the page's own order back.
    const turns = head.dataset.sort === "number" ? ["descending", "ascending"] : ["ascending", "descending"];
    const next = turns[turns.indexOf(head.getAttribute("aria-sort")) + 1];
    for (const each of heads) each.removeAttribute("aria-sort");
    const rows = bySuspicion.slice();
    if (next) {
      const sign = next === "ascending" ? 1 : -1;
      const order = compare(column, head.dataset.sort);
      rows.sort((a, b) => sign * order(a, b));
      head.setAttribute("aria-sort", next);
    }
    body.append(...rows);
  }

  heads.forEach((head, column) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(head, column));
    head.replaceChildren(button);
  });
}

function classFilter(table) {
  const field = byId("class-filter");
  const said = byId("class-count");
  const rows = Array.from(table.tBodies[0].rows);

  function update() {
    const wanted = plain(field.value);
    for (const row of rows) row.hidden = !plain(row.cells[0].textContent).includes(wanted);
    said.textContent = `${rows.filter((row) => !row.hidden).length} of ${count(rows.length, "class", "classes")}`;
  }

  field.addEventListener("input", update);
  update();
}

function cardFilters(cards) {
  const most = 24;  // so many say what kind of thing it is, and what follows stays near
  const fields = { class: byId("card-class"), detector: byId("card-detector"), id: byId("card-id") };
  const said = byId("card-count");
  const unfold = byId("card-more");
  let unfolded = false;

  function fits(card) {
    // Classes and detectors are compared by number: what they are called plays no part.
    const ofClass = fields.class ? fields.class.value : "";
    const named = fields.detector ? fields.detector.value : "";
    if (ofClass && card.dataset.class !== ofClass) return false;
    if (named && !card.dataset.detectors.split(" ").includes(named)) return false;
    return plain(card.querySelector("h4").textContent).includes(plain(fields.id.value));
  }

  function update() {
    for (const card of cards) card.hidden = !fits(card);
    const found = cards.filter((card) => !card.hidden);
    for (const card of cards) card.classList.toggle("folded", !unfolded && found.indexOf(card) >= most);
    unfold.hidden = unfolded || found.length <= most;
    unfold.textContent = `Show the other ${found.length - most}`;
    for (const chapter of all("[data-chapter]")) {
      const its = all("[data-card]", chapter);
      chapter.hidden = its.length > 0 && its.every((card) => card.hidden);
      chapter.classList.toggle("folded", its.length > 0 && its.every((card) => card.matches("[hidden], .folded")));
    }
    said.textContent = `${found.length} of ${count(cards.length, "card", "cards")}` +
      (unfold.hidden ? "" : `, the first ${most} shown`);
  }

  unfold.addEventListener("click", () => {
    unfolded = true;
    update();
  });

  fields.id.addEventListener("input", update);
  for (const choice of [fields.class, fields.detector]) if (choice) choice.addEventListener("change", update);
  update();
}

function thresholdPreview(cards) {
  const { floors, places, rest, planted, label } = JSON.parse(byId("score-counts").textContent);
  const [slider, said, line] = [byId("threshold"), byId("threshold-says"), byId("tried")];
  const from = (counts, bin) => counts.slice(bin).reduce((sum, each) => sum + each, 0);
  const flagged = from(planted, 0) + from(label, 0);

  function difference(would) {
    if (would === flagged) return `as many as the verdict`;
    const by = count(Math.abs(would - flagged), "sample", "samples");
    return `${by} ${would > flagged ? "more" : "fewer"} than the verdict`;
  }

  function update(tried) {
    const bin = Number(slider.value);
    const found = [planted, label, rest].map((counts) => from(counts, bin));
    const would = found[0] + found[1] + found[2];
    const parts = `${count(found[0], "planted", "planted")}, ${count(found[1], "label in doubt", "labels in doubt")}, ` +
      `${count(found[2], "not flagged", "not flagged")}`;
    said.textContent = `At ${floors[bin]} this would flag ${count(would, "sample", "samples")} (${parts} by the ` +
      `verdict): ${difference(would)}. The verdict itself stays.`;
    slider.setAttribute("aria-valuetext", `score ${floors[bin]}`);
    line.setAttribute("x1", `${places[bin]}%`);
    line.setAttribute("x2", `${places[bin]}%`);
    // Nothing is drawn or dimmed before somebody tries a threshold.
    line.setAttribute("visibility", tried ? "visible" : "hidden");
    for (const card of cards) card.classList.toggle("below", tried && Number(card.dataset.score) < floors[bin]);
  }

  slider.addEventListener("input", () => update(true));
  update(false);
}

function pointAt(map) {
  const [chart, peek] = [map.querySelector("svg"), map.querySelector("[data-peek]")];
  const marks = all(".point", chart).map((mark) => ({
    mark,
    across: parseFloat(mark.getAttribute("cx") || mark.getAttribute("x")) / 100,
    down: parseFloat(mark.getAttribute("cy") || mark.getAttribute("y")),
  }));
  const fromTheRight = marks.slice().sort((a, b) => b.across - a.across);
  let current = null;

  function pictureOf(mark) {
    // The card of the same sample has it larger.
    const card = mark.dataset.place && byId(`card-${mark.dataset.place}`).querySelector("img");
    const source = card ? card.src : mark.dataset.picture;
    if (!source) return [];
    const image = document.createElement("img");
    image.alt = "";
    image.src = source;
    return [image];
  }

  function show(point) {
    if (!point || point === current) return;
    if (current) current.mark.classList.remove("on");
    current = point;
    point.mark.classList.add("on");
    const text = document.createElement("span");
    text.className = "name";
    text.textContent = point.mark.querySelector("title").textContent;
    peek.replaceChildren(...pictureOf(point.mark), text);
  }

  function nearest(event) {
    const box = chart.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const far = (point) => Math.hypot(point.across * box.width - x, point.down - y);
    const best = marks.reduce((a, b) => (far(b) < far(a) ? b : a));
    return far(best) < 24 ? best : null;  // a finger is not more exact
  }

  function walk(event) {
    const steps = { ArrowRight: -1, ArrowLeft: 1, ArrowUp: -1, ArrowDown: 1 };
    const last = fromTheRight.length - 1;
    const ends = { Home: last, End: 0 };
    if (!(event.key in steps) && !(event.key in ends)) return;
    event.preventDefault();
    const place = current ? fromTheRight.indexOf(current) + steps[event.key] : 0;
    show(fromTheRight[event.key in ends ? ends[event.key] : Math.min(Math.max(place, 0), last)]);
  }

  chart.setAttribute("tabindex", "0");
  chart.addEventListener("pointermove", (event) => show(nearest(event)));
  chart.addEventListener("pointerdown", (event) => show(nearest(event)));
  chart.addEventListener("keydown", walk);
}

function mapChoice(maps) {
  const choice = byId("map-choice");
  const update = () => maps.forEach((map, place) => { map.hidden = String(place) !== choice.value; });
  choice.addEventListener("change", update);
  update();
}

function start() {
  for (const part of all("[data-controls]")) part.hidden = false;
  const [classes, cards, maps] = [byId("class-table"), all("[data-card]"), all("[data-map]")];
  if (classes) {
    sortable(classes);
    classFilter(classes);
  }
  if (byId("card-id")) cardFilters(cards);
  if (byId("threshold")) thresholdPreview(cards);
  if (byId("map-choice")) mapChoice(maps);
  maps.forEach(pointAt);
}

start();
