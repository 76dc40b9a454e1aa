// The page of `patchseg view`: what about.json tells becomes layers of tiles, which OpenSeadragon draws.
// Names are only ever set as text.
"use strict";

const REST = 60; // milliseconds that the pointer rests before values are asked for
const LOOK = 700; // milliseconds between looks at how far the overviews are
const UNITS = [["m", 1e6], ["cm", 1e4], ["mm", 1e3], ["µm", 1], ["nm", 1e-3]];

const part = (id) => document.getElementById(id);
const made = (tag, text, kind) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
};
const asked = async (address, options) => {
  const answer = await fetch(address, options);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
};
const told = (value) => (typeof value !== "number" || Number.isInteger(value) ? String(value) : value.toPrecision(4));
const share = (value) => (typeof value === "number" ? value.toFixed(3) : String(value));

let about, viewer;
const shown = new Map(); // of each layer: {layer, item, coming, asked, version, on, opacity}

// A layer as OpenSeadragon asks for it. The version makes tiles of an overview that has been read new ones.
const source = (layer, version) => ({
  width: about.width, height: about.height, tileSize: 256, tileOverlap: 0, minLevel: about.first, maxLevel: about.last,
  getTileUrl: (level, column, row) => `tiles/${layer.id}/${level}/${column}_${row}.png?${version}`,
});

// Add a layer, or its tiles of another version: what is there stays until those have come.
function add(state, version) {
  state.asked = true;
  state.version = version;
  if (state.coming) viewer.world.removeItem(state.coming);
  state.coming = null;
  viewer.addTiledImage({
    tileSource: source(state.layer, version), opacity: 0, preload: true,
    success: ({ item }) => {
      if (version !== state.version) return viewer.world.removeItem(item);
      state.coming = item;
      arrange();
      if (!state.item || item.getFullyLoaded()) return change(state);
      item.addOnceHandler("fully-loaded-change", () => { if (state.coming === item) change(state); });
    },
  });
}

function change(state) {
  const before = state.item;
  state.item = state.coming;
  state.coming = null;
  paint(state);
  if (before) viewer.world.removeItem(before);
  arrange();
}

// Put what is there into the order of the layers.
function arrange() {
  const items = about.layers.map(({ id }) => shown.get(id)).flatMap(({ item, coming }) => [item, coming]).filter(Boolean);
  items.forEach((item, place) => viewer.world.setItemIndex(item, place));
}

function paint(state) {
  if (state.on && !state.asked) return add(state, state.layer.version);
  if (!state.item) return;
  state.item.setOpacity(state.on ? state.opacity : 0);
  state.item.setPreload(state.on);
}

// The list of layers, the uppermost first, as they lie.
function list() {
  for (const layer of [...about.layers].reverse()) {
    const state = { layer, item: null, coming: null, asked: false, version: 0, on: layer.on, opacity: layer.opacity };
    shown.set(layer.id, state);
    const line = made("li");
    const label = made("label");
    const box = made("input");
    box.type = "checkbox";
    box.checked = state.on;
    box.addEventListener("change", () => { state.on = box.checked; paint(state); look(); });
    label.append(box);
    if (layer.color) {
      const ramp = made("span", "", "swatch");
      ramp.style.background = `rgb(${layer.color.join(" ")})`;
      label.append(ramp);
    }
    label.append(made("span", layer.title));
    const slider = made("input");
    Object.assign(slider, { type: "range", min: 0, max: 1, step: 0.05, value: state.opacity });
    slider.setAttribute("aria-label", `Opacity of ${layer.title}`);
    slider.addEventListener("input", () => {
      state.opacity = Number(slider.value);
      state.on = box.checked = state.opacity > 0;
      paint(state);
    });
    line.append(label, slider);
    part("layers").append(line);
  }
}

function legend() {
  part("classes").replaceChildren(...about.classes.map((entry) => {
    const line = made("li");
    const swatch = made("span", "", "swatch");
    swatch.style.background = entry.color;
    line.append(swatch, made("span", entry.name));
    line.dataset.place = entry.place;
    return line;
  }));
  part("legend").hidden = !about.classes.length;
}

// Values under the pointer. What is asked for late is dropped.
let timer, controller;
function point(row, column) {
  const inside = row >= 0 && column >= 0 && row < about.height && column < about.width;
  clearTimeout(timer);
  if (controller) controller.abort();
  if (!inside) return;
  timer = setTimeout(async () => {
    controller = new AbortController();
    try {
      read(await asked(`pixel.json?row=${row}&column=${column}`, { signal: controller.signal }));
    } catch (error) {
      if (error.name !== "AbortError") { part("hint").textContent = error.message; part("hint").hidden = false; }
    }
  }, REST);
}

function read(found) {
  const lines = [["row, column", `${found.row}, ${found.column}`]];
  const names = about.channels;
  found.image.forEach((value, place) => lines.push([found.image.length > 1 ? names[place] : "value", told(value)]));
  if (found.mask) lines.push(["class", found.mask.name === null ? `${[].concat(found.mask.value).join(", ")} (no class)` : found.mask.name]);
  if (found.confidence !== undefined) lines.push(["confidence", share(found.confidence)]);
  if (found.disagreement !== undefined) lines.push(["disagreement", `${share(found.disagreement)} nats`]);
  (found.probabilities || []).forEach((value, place) => {
    const layer = about.layers.find(({ id }) => id === `probability-${place}`);
    lines.push([layer.title, share(value)]);
  });
  part("pixel").replaceChildren(...lines.flatMap(([name, value]) => [made("dt", name), made("dd", value)]));
  part("hint").hidden = true;
  for (const line of part("classes").children) line.classList.toggle("here", found.mask && Number(line.dataset.place) === found.mask.index);
}

// A bar of 1, 2 or 5 of a unit, as long as fits into a fifth of the view.
function scale() {
  if (!about.pixel_size) return;
  const across = about.pixel_size[1] / (viewer.viewport.getContainerSize().x / (viewer.viewport.getBounds(true).width * about.width));
  const most = Math.min(160, viewer.viewport.getContainerSize().x / 4) * across; // micrometres
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * [5, 2, 1].find((step) => step * power <= most);
  const [unit, size] = UNITS.find(([, micrometres]) => length >= micrometres * 0.999) || UNITS[UNITS.length - 1];
  part("scale-bar").style.width = `${length / across}px`;
  part("scale-text").textContent = `${Number((length / size).toPrecision(3))} ${unit}`;
  part("scale").hidden = false;
}

// Whether overviews have become truer since.
let looking = false;
async function look() {
  if (looking) return;
  looking = true;
  try {
    for (;;) {
      await new Promise((done) => setTimeout(done, LOOK));
      const now = await asked("about.json");
      let open = false;
      for (const layer of now.layers) {
        const state = shown.get(layer.id);
        if (!state.asked) continue;
        open = open || (state.on && !layer.finished);
        if (layer.version !== state.version) add(state, layer.version);
      }
      part("preview").hidden = !open;
      if (!open) break;
    }
  } catch (error) {
    part("preview").textContent = "The viewer has been stopped.";
    part("preview").hidden = false;
  }
  looking = false;
}

async function start() {
  about = await asked("about.json");
  document.title = `${about.name} - patchseg view`;
  part("name").textContent = about.name;
  const size = about.pixel_size ? `, ${told(about.pixel_size[0])} × ${told(about.pixel_size[1])} µm a pixel` : "";
  const shades = about.dtype === "uint8" ? "" : `, shown from ${told(about.contrast[0])} (black) to ${told(about.contrast[1])} (white)`;
  part("facts").textContent = `${about.height.toLocaleString("en")} × ${about.width.toLocaleString("en")} pixels, ${about.dtype}${shades}${size}`;
  viewer = OpenSeadragon({
    element: part("stage"), drawer: "canvas", showNavigationControl: false, showNavigator: true, navigatorPosition: "BOTTOM_RIGHT",
    navigatorAutoFade: false, navigatorOpacity: 1, imageSmoothingEnabled: false, maxZoomPixelRatio: 32, visibilityRatio: 0.2, minZoomImageRatio: 0.8,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, animationTime: 0.4, maxImageCacheCount: 400,
    crossOriginPolicy: false, timeout: 60000,
  });
  list();
  legend();
  for (const layer of about.layers) if (layer.on) add(shown.get(layer.id), layer.version);
  const exact = () => {
    const item = viewer.world.getItemAt(0);
    if (!item) return;
    viewer.viewport.zoomTo(item.imageToViewportZoom(1 / devicePixelRatio), null, true);
    // A quarter of a pixel beside the screen's own: upon them rounding decides, and tiles part from their neighbours.
    const { x, y } = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    const beside = new OpenSeadragon.Point(x - Math.floor(x) - 0.25, y - Math.floor(y) - 0.25);
    viewer.viewport.panBy(viewer.viewport.deltaPointsFromPixels(beside), true);
  };
  const zoom = (factor) => () => viewer.viewport.zoomBy(factor);
  const moves = { in: zoom(2), out: zoom(0.5), all: () => viewer.viewport.goHome(), exact };
  for (const [id, move] of Object.entries(moves)) part(id).addEventListener("click", move);
  const keys = { "+": "in", "=": "in", "-": "out", 0: "all", 1: "exact" };
  viewer.addHandler("canvas-key", (event) => {
    const { key } = event.originalEvent;
    if (key in keys) moves[keys[key]]();
    // Nor is the picture turned or mirrored by a letter that was hit by mistake.
    event.preventDefaultAction = key in keys || "rfjk".includes(key.toLowerCase());
  });
  viewer.addHandler("update-viewport", scale);
  const at = (position) => {
    const place = viewer.viewport.viewerElementToViewportCoordinates(position);
    point(Math.floor(place.y * about.width), Math.floor(place.x * about.width));
  };
  new OpenSeadragon.MouseTracker({ element: viewer.container, moveHandler: (event) => at(event.position) });
  viewer.addHandler("canvas-click", (event) => at(event.position)); // a finger has no hover
  look();
}

start().catch((error) => { part("facts").textContent = error.message; });
