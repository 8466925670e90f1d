/* A canvas of NiiVue with a scan and layers over it. */
const LEAST_SHOWN = 0.02; // of a map: less is transparent
const OPTIONS = {
  backColor: [0, 0, 0, 1],
  crosshairColor: [0.45, 0.85, 1, 0.55],
  crosshairWidth: 0.4,
  crosshairWidthUnit: "percent",
  dragAndDropEnabled: false,
  loadingText: "",
  logLevel: "silent",
  multiplanarShowRender: 0,
  showLegend: false,
  tileMargin: 4,
  viewModeHotKey: "",
  clipPlaneHotKey: "",
  cycleClipPlaneHotKey: "",
};

class Panel {
  /** Make a panel at the end of an element; `moved` is called with the place of the lines. */
  static async make(home, moved) {
    const panel = new Panel();
    panel.figure = document.createElement("figure");
    panel.caption = document.createElement("figcaption");
    const stage = document.createElement("div");
    stage.className = "stage";
    panel.canvas = document.createElement("canvas");
    stage.append(panel.canvas);
    panel.figure.append(panel.caption, stage);
    home.append(panel.figure);
    panel.nv = new globalThis.Niivue(OPTIONS);
    panel.nv.onLocationChange = (place) => moved(place.mm);
    await panel.nv.attachToCanvas(panel.canvas);
    panel.shown = [];
    return panel;
  }

  /** Show a scan with layers, none of which is visible before `paint`. */
  async show(scan, layers) {
    const list = [scan, ...layers.map((layer) => layer.buffer)];
    await this.nv.loadVolumes(
      list.map((url, i) => ({ url, name: i ? `layer${i}.nii` : "scan.nii", opacity: i ? 0 : 1 })),
    );
    this.scan = scan;
    this.shown = layers;
  }

  /** Whether the panel shows these files already. */
  shows(scan, layers) {
    const same = this.shown.length === layers.length && this.shown.every((layer, i) => layer === layers[i]);
    return this.scan === scan && same;
  }

  /** Draw the layers as `look` says of each: its colours or none for a map, its codes, its opacity. */
  paint(look) {
    this.shown.forEach((layer, i) => {
      const volume = this.nv.volumes[i + 1];
      const { table, codes, opacity } = look(layer);
      if (table) {
        volume.setColormapLabel(table);
        volume.img = codes;
      } else {
        volume.colormap = "inferno";
        volume.cal_min = LEAST_SHOWN;
      }
      volume.opacity = opacity;
    });
    this.nv.updateGLVolume();
  }

  /** Put the lines at a place in millimetres. */
  moveTo(millimetres) {
    this.nv.scene.crosshairPos = this.nv.mm2frac(millimetres);
    this.nv.drawScene();
  }
}
