/* What is chosen: the case, which of its layers are on, which two are compared. */
const view = JSON.parse(document.getElementById("view").textContent);
const $ = (id) => document.getElementById(id);
const state = {
  case: null,
  wanted: 0,
  on: new Map(), // by name of a layer
  hidden: new Set(), // codes of classes
  one: null,
  other: null,
  panels: [],
};
const DIFFERENCE = "\u0000difference";
let colours = [];

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function colourOf(kind) {
  if (kind === "difference" || kind === "changes") {
    const list = kind === "difference" ? DIFFERENCES : CHANGES;
    return (code) => list.find((one) => one.code === code)?.colour;
  }
  return (code) => (code === IGNORED ? GREY : code ? colours[(code - 1) % colours.length] : undefined);
}

function nameOf(code) {
  return code === IGNORED ? "not annotated" : view.classes[code - 1] ?? `code ${code}`;
}

/* Which layers are on */

function keyOf(layer) {
  return layer.kind === "difference" ? DIFFERENCE : layer.name;
}

function isOn(layer) {
  return state.on.get(keyOf(layer)) ?? false;
}

function chosen() {
  const labels = state.case.labels;
  const named = (name) => labels.find((layer) => layer.name === name);
  const one = named(state.one) ?? labels[0];
  const other = named(state.other) ?? labels.find((layer) => layer !== one);
  return [one, other];
}

function shownLayers() {
  const difference = state.case.difference(...chosen());
  return difference ? [...state.case.readable, difference] : state.case.readable;
}

function lookOf(layer) {
  const opacity = isOn(layer) ? Number($("opacity").value) : 0;
  if (layer.kind === "map") return { opacity };
  const hidden = layer.kind === "label" ? state.hidden : new Set();
  const table = colourTable(colourOf(layer.kind), hidden, layer.highest);
  const outlined = $("outlines").checked && layer.kind === "label";
  return { table, opacity, codes: outlined ? state.case.outlines(layer) : layer.codes };
}
