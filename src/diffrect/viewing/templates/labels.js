/* What is computed of label maps: colours, outlines, differences, agreement. */
const IGNORED = 255;
const GREY = [158, 158, 158];
const DIFFERENCES = [
  { code: 1, name: "only", colour: [0, 200, 255] },
  { code: 2, name: "only", colour: [255, 64, 129] },
  { code: 3, name: "another class", colour: [255, 214, 0] },
];
const CHANGES = [
  { code: 1, name: "changed", colour: [255, 214, 0] },
  { code: 2, name: "proposed, not taken", colour: GREY },
];

/** The colours of the style's classes c1, c2 and so on, as red, green and blue. */
function readColours(styles) {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colours = styles.map((style) => {
    probe.className = style;
    probe.style.color = getComputedStyle(probe).getPropertyValue("--b");
    return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  });
  probe.remove();
  return colours;
}

/** A table of colours of codes up to `highest` for NiiVue, which takes no others: opaque, but for the background. */
function colourTable(colourOf, hidden, highest) {
  const table = { R: [], G: [], B: [], A: [], I: [], labels: [] };
  for (let code = 0; code <= highest; code++) {
    const [red, green, blue] = colourOf(code) ?? [0, 0, 0];
    table.R.push(Math.round(red));
    table.G.push(Math.round(green));
    table.B.push(Math.round(blue));
    table.A.push(code && colourOf(code) && !hidden.has(code) ? 255 : 0);
    table.I.push(code);
    table.labels.push("");
  }
  return table;
}

/** The codes at the border of each class within its slice; 0 elsewhere. */
function outlinesOf(codes, grid) {
  const steps = [1, grid.shape[0], grid.shape[0] * grid.shape[1]];
  const inside = [0, 1, 2].filter((axis) => axis !== grid.sliceAxis);
  const [columns, rows, slices] = grid.shape;
  const found = new Uint8Array(codes.length);
  const place = [0, 0, 0];
  let index = 0;
  for (place[2] = 0; place[2] < slices; place[2]++) {
    for (place[1] = 0; place[1] < rows; place[1]++) {
      for (place[0] = 0; place[0] < columns; place[0]++, index++) {
        const code = codes[index];
        if (!code) continue;
        for (const axis of inside) {
          const first = place[axis] === 0 || codes[index - steps[axis]] !== code;
          const last = place[axis] === grid.shape[axis] - 1 || codes[index + steps[axis]] !== code;
          if (first || last) found[index] = code;
        }
      }
    }
  }
  return found;
}

/** Where two label maps differ, as a code of DIFFERENCES; what nobody annotated does not count. */
function differenceOf(one, other) {
  const found = new Uint8Array(one.length);
  for (let i = 0; i < one.length; i++) {
    const a = one[i], b = other[i];
    if (a === b || a === IGNORED || b === IGNORED) continue;
    found[i] = a && b ? 3 : a ? 1 : 2;
  }
  return found;
}

/** Voxels of each code in two label maps and in both; what nobody annotated does not count. */
function countTogether(one, other) {
  const counts = { one: new Float64Array(256), other: new Float64Array(256), both: new Float64Array(256) };
  for (let i = 0; i < one.length; i++) {
    if (other && (one[i] === IGNORED || other[i] === IGNORED)) continue;
    counts.one[one[i]]++;
    if (!other) continue;
    counts.other[other[i]]++;
    if (one[i] === other[i]) counts.both[one[i]]++;
  }
  return counts;
}

/** A voxel in the middle of the slice with most foreground, or of the scan without any. */
function tellingVoxel(codes, grid) {
  const sums = Array.from({ length: grid.shape[grid.sliceAxis] }, () => [0, 0, 0, 0]);
  const place = [0, 0, 0];
  let index = 0;
  for (place[2] = 0; codes && place[2] < grid.shape[2]; place[2]++) {
    for (place[1] = 0; place[1] < grid.shape[1]; place[1]++) {
      for (place[0] = 0; place[0] < grid.shape[0]; place[0]++, index++) {
        if (!codes[index] || codes[index] === IGNORED) continue;
        const sum = sums[place[grid.sliceAxis]];
        sum[0]++;
        sum[1] += place[0];
        sum[2] += place[1];
        sum[3] += place[2];
      }
    }
  }
  const most = sums.reduce((a, b) => (b[0] > a[0] ? b : a));
  if (!most[0]) return grid.shape.map((size) => size >> 1);
  return [1, 2, 3].map((i) => Math.round(most[i] / most[0]));
}
