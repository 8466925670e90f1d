/* The page: what the panels show, what the user does, and the keys. */
const MOST_PANELS = 8; // a browser has room for few pictures drawn by its graphics card

/* Panels */

async function draw() {
  const layers = shownLayers();
  const beside = $("beside").checked ? layers.filter(isOn).map((layer) => [layer]) : [];
  const wanted = (beside.length ? beside : [layers]).slice(0, MOST_PANELS);
  while (state.panels.length < wanted.length) state.panels.push(await Panel.make($("panels"), showPlace));
  $("panels").classList.toggle("several", wanted.length > 1);
  const used = state.panels.slice(0, wanted.length);
  state.panels.forEach((panel, i) => (panel.figure.hidden = i >= wanted.length));
  for (const panel of used) panel.nv.broadcastTo([]);
  for (const [i, panel] of used.entries()) {
    const on = wanted[i].filter(isOn).map((layer) => layer.name);
    panel.caption.textContent = on.join(" + ") || "scan";
    if (!panel.shows(state.case.scan, wanted[i])) {
      await panel.show(state.case.scan, wanted[i]);
      panel.nv.setSliceType(Number($("planes").value));
      const channel = Number($("channel").value || 0);
      if (channel) panel.nv.setFrame4D(panel.nv.volumes[0].id, channel);
      panel.moveTo(state.place);
    }
    panel.paint(lookOf);
  }
  for (const panel of used) {
    panel.nv.broadcastTo(used.filter((other) => other !== panel).map((other) => other.nv));
  }
}

/** Draw after whatever is being drawn; of several requests the last is enough. */
function redraw() {
  state.asked = true;
  document.documentElement.dataset.drawing = ""; // for those who wait for it
  state.drawing ??= (async () => {
    try {
      while (state.asked) {
        state.asked = false;
        await draw();
      }
    } finally {
      state.drawing = null;
      delete document.documentElement.dataset.drawing;
    }
  })();
  return state.drawing;
}

function showPlace(millimetres) {
  state.place = [...millimetres].slice(0, 3);
  const voxel = state.case.grid.toVoxel(state.place);
  const index = state.case.grid.index(voxel);
  const words = state.case.readable.map((layer) => {
    const code = layer.codes[index];
    if (layer.kind === "map") return `${layer.name}: ${(code / 255).toFixed(2)}`;
    if (layer.kind === "changes") return `${layer.name}: ${CHANGES[code - 1]?.name ?? "–"}`;
    return `${layer.name}: ${code ? nameOf(code) : "–"}`;
  });
  $("place").textContent = [`voxel ${voxel.map((i) => i + 1).join(", ")}`, ...words].join(" · ");
}

/* What the user does */

function toggle(layer, on = !isOn(layer)) {
  state.on.set(keyOf(layer), on);
  refresh();
}

function toggleAll() {
  const layers = shownLayers();
  if (layers.some(isOn)) {
    state.before = layers.filter(isOn).map(keyOf);
    layers.forEach((layer) => state.on.set(keyOf(layer), false));
  } else {
    const again = layers.filter((layer) => state.before?.includes(keyOf(layer)));
    (again.length ? again : layers.slice(0, 1)).forEach((layer) => state.on.set(keyOf(layer), true));
  }
  refresh();
}

function refresh() {
  listLayers();
  listClasses();
  return redraw();
}

async function open(number) {
  const entry = view.cases[number];
  state.wanted = number;
  say(`Loading ${entry.name} …`);
  for (const row of $("cases").tBodies[0].rows) {
    const current = Number(row.dataset.case) === number;
    row.setAttribute("aria-current", String(current));
    if (current) row.scrollIntoView({ block: "nearest" });
  }
  let loaded;
  try {
    loaded = await Case.load(number, entry);
  } catch (error) {
    if (state.wanted === number) say(error.message, true);
    return;
  }
  if (state.wanted !== number) return; // another one was asked for meanwhile
  await state.drawing;
  state.case = loaded;
  choosePlanes(loaded.grid);
  const first = loaded.labels[0] ?? loaded.readable[0];
  if (first && ![...state.on.values()].includes(true)) state.on.set(keyOf(first), true);
  state.place = loaded.grid.toMillimetres(tellingVoxel(first?.kind === "label" ? first.codes : null, loaded.grid));
  $("name").textContent = loaded.name;
  await refresh();
  showPlace(state.place);
  say("");
  document.documentElement.dataset.shown = String(number);
}

/** A scan of one slice is shown in its plane; then the three planes would be two lines. */
function choosePlanes(grid) {
  const flat = grid.shape.includes(1);
  if (flat !== state.flat) {
    $("planes").value = String(flat ? grid.plane : 3);
    state.flat = flat;
  }
  $("channels").hidden = grid.channels < 2;
  const kept = Math.min(Number($("channel").value || 0), grid.channels - 1);
  const numbers = Array.from({ length: grid.channels }, (_, i) => element("option", String(i + 1), { value: i }));
  $("channel").replaceChildren(...numbers);
  $("channel").selectedIndex = kept;
}

function step(by) {
  const rows = [...$("cases").tBodies[0].rows].map((row) => Number(row.dataset.case));
  const next = rows[rows.indexOf(state.wanted) + by];
  if (next !== undefined) open(next);
}

function changeOpacity(by) {
  const slider = $("opacity");
  slider.value = String(Number(slider.value) + by);
  redraw();
}

function changePlanes(planes) {
  for (const panel of state.panels) panel.nv.setSliceType(planes);
}

function moveSlice(by) {
  const planes = Number($("planes").value);
  const axis = planes === 3 ? state.case.grid.patientAxis(state.case.grid.sliceAxis) : 2 - planes;
  const move = [0, 0, 0];
  move[axis] = by;
  state.panels[0].nv.moveCrosshairInVox(...move);
}

const KEYS = {
  n: () => step(1),
  p: () => step(-1),
  l: toggleAll,
  d: () => {
    const difference = state.case.difference(...chosen());
    if (difference) toggle(difference);
  },
  s: () => $("beside").click(),
  o: () => $("outlines").click(),
  v: () => {
    $("planes").selectedIndex = ($("planes").selectedIndex + 1) % 4;
    changePlanes(Number($("planes").value));
  },
  "+": () => changeOpacity(0.1),
  "-": () => changeOpacity(-0.1),
  ArrowUp: () => moveSlice(1),
  ArrowDown: () => moveSlice(-1),
};

function pressed(event) {
  const typing = event.target.matches?.("select, input[type=range]");
  if (typing || event.ctrlKey || event.altKey || event.metaKey || event.key === "Tab") return;
  if (event.target.matches?.("canvas")) event.stopPropagation(); // NiiVue has keys of its own
  if (!state.case) return;
  const layer = /^[1-9]$/.test(event.key) ? state.case.readable[Number(event.key) - 1] : null;
  const action = layer ? () => toggle(layer) : KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!action) return;
  if (event.key.startsWith("Arrow") && event.target.closest?.(".wide")) return; // which scrolls
  event.preventDefault();
  action();
}

function listen() {
  document.addEventListener("keydown", pressed, { capture: true });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("cases").tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) open(Number(row.dataset.case));
  });
  for (const id of ["beside", "outlines", "opacity"]) $(id).addEventListener("input", redraw);
  for (const id of ["one", "other"]) {
    $(id).addEventListener("change", () => {
      state[id] = $(id).value;
      refresh();
    });
  }
  $("planes").addEventListener("change", () => changePlanes(Number($("planes").value)));
  $("channel").addEventListener("change", () => {
    const channel = Number($("channel").value);
    for (const panel of state.panels) panel.nv.setFrame4D(panel.nv.volumes[0].id, channel);
  });
}

async function begin() {
  if (matchMedia("(max-width: 44rem)").matches) $("list").open = false;
  if (!document.createElement("canvas").getContext("webgl2")) {
    return say("This browser draws no WebGL2, which NiiVue needs.", true);
  }
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await gunzip(bytesOf($("niivue").textContent)));
  document.head.append(script);
  if (!globalThis.Niivue) return say("NiiVue did not start in this browser.", true);
  colours = readColours(view.colours);
  listen();
  await open(0);
}

begin().catch((error) => say(error.message, true));
