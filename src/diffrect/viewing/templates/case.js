/* The case that is shown: its scan and layers, and where each of them came from. */
class Case {
  /** Load the case of a number; a layer that cannot be read keeps its message. */
  static async load(number, entry) {
    const found = new Case();
    found.number = number;
    found.name = entry.name;
    found.scan = await load(`data/${number}/scan`);
    found.grid = new Grid(found.scan);
    found.layers = entry.layers.map(({ name, kind }) => ({ name, kind }));
    await Promise.all(found.layers.map((layer, i) => found.fill(layer, `data/${number}/${i}`)));
    return found;
  }

  async fill(layer, name) {
    try {
      layer.buffer = await load(name);
      layer.codes = new Uint8Array(layer.buffer, DATA_START, this.grid.voxels);
      layer.highest = highestOf(layer.codes);
    } catch (error) {
      layer.error = error.message;
    }
  }

  /** Layers that can be shown. */
  get readable() {
    return this.layers.filter((layer) => layer.codes);
  }

  /** Layers that are label maps of the classes. */
  get labels() {
    return this.readable.filter((layer) => layer.kind === "label");
  }

  /** The outlines of a layer, computed once. */
  outlines(layer) {
    layer.outlines ??= outlinesOf(layer.codes, this.grid);
    return layer.outlines;
  }

  /** A layer of the difference of two others; null unless both are there. */
  difference(one, other) {
    if (!one || !other || one === other) return null;
    if (this.compared?.one !== one || this.compared?.other !== other) {
      const codes = differenceOf(one.codes, other.codes);
      const buffer = withCodes(one.buffer, codes);
      this.compared = { one, other, name: "difference", kind: "difference", codes, buffer };
      this.compared.highest = highestOf(codes);
    }
    return this.compared;
  }
}
