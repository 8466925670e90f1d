/* The lists beside the panels: layers, and classes with their volumes and agreement. */

function listLayers() {
  const rows = shownLayers().map((layer, i) => {
    const row = element("li");
    const box = element("input", "", { type: "checkbox" });
    box.checked = isOn(layer);
    box.addEventListener("change", () => toggle(layer, box.checked));
    const label = element("label");
    label.append(box, ` ${layer.name} `);
    label.append(element("kbd", layer.kind === "difference" ? "D" : i < 9 ? String(i + 1) : ""));
    row.append(label);
    return row;
  });
  for (const layer of state.case.layers.filter((one) => one.error)) {
    rows.push(element("li", `${layer.name}: ${layer.error}`, { class: "bad" }));
  }
  if (!rows.length) rows.push(element("li", "no labels", { class: "quiet" }));
  $("layers").replaceChildren(...rows);
  const [one, other] = chosen();
  $("comparing").hidden = !other;
  for (const [select, layer] of [[$("one"), one], [$("other"), other]]) {
    select.replaceChildren(...state.case.labels.map(({ name }) => element("option", name)));
    select.selectedIndex = state.case.labels.indexOf(layer);
  }
}

function listClasses() {
  const [one, other] = chosen();
  $("agreement").textContent = "";
  if (!one) return $("classes").replaceChildren();
  const counts = countTogether(one.codes, other?.codes);
  const unit = state.case.grid.millimetres ? "ml" : "voxels";
  const heading = element("tr");
  const columns = other ? ["class", one.name, other.name, "Dice"] : ["class", one.name];
  heading.append(...columns.map((name) => element("th", name, { scope: "col" })));
  const rows = [heading];
  const scores = [];
  for (let code = 1; code < IGNORED; code++) {
    const present = counts.one[code] + counts.other[code];
    if (code > view.classes.length && !present) continue;
    const values = [volume(counts.one[code])];
    if (other) {
      const dice = present ? (200 * counts.both[code]) / present : NaN;
      if (present) scores.push(dice);
      values.push(volume(counts.other[code]), present ? dice.toFixed(1) : "–");
    }
    rows.push(classRow(code, values));
  }
  $("classes").replaceChildren(...rows);
  const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  const words = [`Volumes in ${unit}.`];
  if (scores.length) words.push(`Mean Dice of ${one.name} and ${other.name}: ${mean.toFixed(1)} %.`);
  const difference = state.case.difference(one, other);
  if (difference && isOn(difference)) words.push("Difference:");
  $("agreement").replaceChildren(words.join(" "));
  if (difference && isOn(difference)) $("agreement").append(...differenceKeys(one, other));
}

function volume(voxels) {
  const value = voxels * state.case.grid.size;
  return state.case.grid.millimetres ? value.toFixed(value < 10 ? 2 : 1) : String(value);
}

function swatch(colour) {
  const made = element("i", "", { "aria-hidden": "true" });
  made.style.background = `rgb(${colour.join(" ")})`;
  return made;
}

function classRow(code, values) {
  const row = element("tr");
  const button = element("button", "", { type: "button", title: "show or hide" });
  button.append(swatch(colourOf("label")(code)), nameOf(code));
  button.setAttribute("aria-pressed", String(!state.hidden.has(code)));
  button.addEventListener("click", () => {
    state.hidden.has(code) ? state.hidden.delete(code) : state.hidden.add(code);
    button.setAttribute("aria-pressed", String(!state.hidden.has(code)));
    redraw();
  });
  const cell = element("td");
  cell.append(button);
  row.append(cell, ...values.map((value) => element("td", value)));
  return row;
}

function differenceKeys(one, other) {
  const names = [`only ${one.name}`, `only ${other.name}`, "another class"];
  return DIFFERENCES.flatMap(({ colour }, i) => [" ", swatch(colour), names[i]]);
}
