/* Scans and labels as the page gets them: NIfTI of little-endian numbers, compressed with gzip. */
const DATA_START = 352;

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function gunzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** The file of a name: from this page if it has it, else from the server. */
async function load(name) {
  const element = document.getElementById(name);
  if (element) return gunzip(bytesOf(element.textContent));
  let answer;
  try {
    answer = await fetch(name, { cache: "no-store" });
  } catch {
    throw new Error("diffrect view does not run any more");
  }
  if (!answer.ok) throw new Error(await answer.text());
  return gunzip(await answer.arrayBuffer());
}

/** Where the voxels of a file are. */
class Grid {
  constructor(buffer) {
    const view = new DataView(buffer);
    const size = (i) => view.getInt16(40 + 2 * i, true);
    this.shape = [size(1), size(2), size(3)];
    this.channels = size(0) > 3 ? size(4) : 1;
    this.spacing = [1, 2, 3].map((i) => view.getFloat32(76 + 4 * i, true));
    this.millimetres = (view.getUint8(123) & 7) === 2;
    this.sliceAxis = Math.max(0, ((view.getUint8(39) >> 4) & 3) - 1);
    this.affine = [0, 1, 2].map((row) => [0, 1, 2, 3].map((i) => view.getFloat32(280 + 16 * row + 4 * i, true)));
  }

  get voxels() {
    return this.shape[0] * this.shape[1] * this.shape[2];
  }

  /** Millilitres of a voxel; 1 if the scan has no spacing. */
  get size() {
    return this.millimetres ? Math.abs(this.spacing[0] * this.spacing[1] * this.spacing[2]) / 1000 : 1;
  }

  /** The axis of the patient that an axis of the file is nearest to: 0 right, 1 anterior, 2 superior. */
  patientAxis(axis) {
    const along = this.affine.map((row) => Math.abs(row[axis]));
    return along.indexOf(Math.max(...along));
  }

  /** The plane in which the scan was taken, as NiiVue counts planes: 0 axial, 1 coronal, 2 sagittal. */
  get plane() {
    return 2 - this.patientAxis(this.sliceAxis);
  }

  toMillimetres(voxel) {
    return this.affine.map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
  }

  toVoxel(millimetres) {
    const [a, b, c] = this.affine;
    const [x, y, z] = [0, 1, 2].map((i) => millimetres[i] - this.affine[i][3]);
    const minor = (p, q, r, s) => p * s - q * r;
    const rows = [
      [minor(b[1], b[2], c[1], c[2]), minor(a[2], a[1], c[2], c[1]), minor(a[1], a[2], b[1], b[2])],
      [minor(b[2], b[0], c[2], c[0]), minor(a[0], a[2], c[0], c[2]), minor(a[2], a[0], b[2], b[0])],
      [minor(b[0], b[1], c[0], c[1]), minor(a[1], a[0], c[1], c[0]), minor(a[0], a[1], b[0], b[1])],
    ];
    const determinant = a[0] * rows[0][0] + a[1] * rows[1][0] + a[2] * rows[2][0];
    return rows.map((row, i) => {
      const place = Math.round((row[0] * x + row[1] * y + row[2] * z) / determinant);
      return Math.min(this.shape[i] - 1, Math.max(0, place));
    });
  }

  index([x, y, z]) {
    return x + this.shape[0] * (y + this.shape[1] * z);
  }
}

/** A file with other codes on the same grid as a file of bytes. */
function withCodes(buffer, codes) {
  const copy = buffer.slice(0);
  new Uint8Array(copy, DATA_START).set(codes);
  return copy;
}

function highestOf(codes) {
  let highest = 0;
  for (let i = 0; i < codes.length; i++) if (codes[i] > highest) highest = codes[i];
  return highest;
}
