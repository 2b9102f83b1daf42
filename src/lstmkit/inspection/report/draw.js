// Drawing on canvases: heat maps, curves, axes. Nothing here knows the controls.

const GUTTER = meta.gutter;
const colour = meta.colours;
const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
const mixed = (a, b, t) => rgb(a).map((v, k) => Math.round(v + (rgb(b)[k] - v) * t));
const LINES = [colour.ink, "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b4f2a"];

function gateColour(q) {
  return [colour.input, colour.forget, colour.output, colour.candidate, colour.cell][q];
}

function lookup(q) {
  const table = new Uint32Array(256);
  for (let code = 0; code <= LEVELS; code++) {
    const t = code / LEVELS, [low, zero, high] = meta.signed;
    const [r, g, b] = q < 3 ? mixed(colour.paper, gateColour(q), t)
      : t < 0.5 ? mixed(low, zero, 2 * t) : mixed(zero, high, 2 * t - 1);
    table[code] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  table[NOTHING] = 0;
  return table;
}

// (H, C) codes as a picture of one pixel a value, rows in the order of `units`.
function picture(codes, columns, units, table) {
  const image = new ImageData(Math.max(1, columns), Math.max(1, units.length));
  const pixels = new Uint32Array(image.data.buffer);
  units.forEach((u, r) => {
    for (let c = 0; c < columns; c++) pixels[r * columns + c] = table[codes[u * columns + c]];
  });
  const canvas = document.createElement("canvas");
  canvas.width = image.width; canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// A picture with at most `most` rows, so that zooming has little to read.
function shrunk(image, most) {
  const height = Math.round(most * (window.devicePixelRatio || 1));
  if (image.height <= height) return image;
  const canvas = document.createElement("canvas");
  canvas.width = image.width; canvas.height = height;
  canvas.getContext("2d").drawImage(image, 0, 0, image.width, height);
  return canvas;
}

function prepared(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
  }
  const g = canvas.getContext("2d");
  g.setTransform(scale, 0, 0, scale, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = "11px system-ui, sans-serif";
  return g;
}

function frame(width, height, from, to, low, high) {
  const inner = width - GUTTER - 1;
  return {
    width, height, from, to, low, high,
    x: (step) => GUTTER + (step - from) / (to - from) * inner,
    y: (v) => height - 3 - (v - low) / (high - low || 1) * (height - 6),
    step: (px) => from + (px - GUTTER) / inner * (to - from),
  };
}

function clipped(g, f, draw) {
  g.save(); g.beginPath(); g.rect(GUTTER, 0, f.width - GUTTER, f.height); g.clip();
  draw(); g.restore();
}

function heat(g, f, image, columns, pool, steps) {
  clipped(g, f, () => {
    const left = f.x(-0.5), right = f.x(Math.min(columns * pool, steps) - 0.5);
    g.imageSmoothingEnabled = image.height > f.height;
    g.drawImage(image, 0, 0, image.width, image.height, left, 0, right - left, f.height);
    padding(g, f, steps);
  });
  g.strokeStyle = colour.rule; g.strokeRect(GUTTER + 0.5, 0.5, f.width - GUTTER - 1, f.height - 1);
}

function padding(g, f, steps) {
  const left = Math.max(GUTTER, f.x(steps - 0.5));
  if (left >= f.width) return;
  g.fillStyle = "#f1f2f4"; g.fillRect(left, 0, f.width - left, f.height);
  g.strokeStyle = "#c9ced6"; g.lineWidth = 1; g.beginPath();
  for (let x = left - f.height; x < f.width; x += 8) { g.moveTo(Math.max(left, x), f.height - Math.max(0, left - x)); g.lineTo(x + f.height, 0); }
  g.stroke();
}

// Whether a place is in the window, or near enough that a line from it may be.
function seen(f, step) { return step >= f.from - 60 && step <= f.to + 60; }

// A polyline of (x, y) by index; where points crowd, the extremes of each pixel.
function line(g, f, count, xAt, yAt, style, width = 1.3, dash = []) {
  g.strokeStyle = style; g.lineWidth = width; g.setLineDash(dash); g.beginPath();
  let open = false, pixel = null, low = 0, high = 0;
  const flush = () => { if (pixel !== null && high > low) { g.moveTo(pixel, f.y(low)); g.lineTo(pixel, f.y(high)); g.moveTo(pixel, f.y(high)); } };
  for (let k = 0; k < count; k++) {
    if (!seen(f, xAt(k))) { open = false; continue; }
    const x = f.x(xAt(k)), v = yAt(k);
    if (v === null || Number.isNaN(v)) { open = false; continue; }
    if (pixel !== null && open && Math.abs(x - pixel) < 0.7) { low = Math.min(low, v); high = Math.max(high, v); continue; }
    if (open) flush();
    if (open) g.lineTo(x, f.y(v)); else g.moveTo(x, f.y(v));
    open = true; pixel = x; low = high = v;
  }
  flush(); g.stroke(); g.setLineDash([]);
}

function band(g, f, count, xAt, lowAt, highAt, style) {
  g.fillStyle = style; g.globalAlpha = 0.14; g.beginPath();
  const inside = [];
  for (let k = 0; k < count; k++) if (seen(f, xAt(k)) && Number.isFinite(lowAt(k) ?? NaN) && Number.isFinite(highAt(k) ?? NaN)) inside.push(k);
  inside.forEach((k) => g.lineTo(f.x(xAt(k)), f.y(highAt(k))));
  inside.reverse().forEach((k) => g.lineTo(f.x(xAt(k)), f.y(lowAt(k))));
  g.fill(); g.globalAlpha = 1;
}

function sides(g, f, ticks) {
  g.textAlign = "right"; g.textBaseline = "middle";
  for (const v of ticks) {
    const y = Math.round(f.y(v)) + 0.5;
    g.strokeStyle = colour.rule; g.lineWidth = 1; g.beginPath(); g.moveTo(GUTTER, y); g.lineTo(f.width, y); g.stroke();
    g.fillStyle = colour.quiet; g.fillText(short(v), GUTTER - 7, Math.min(f.height - 6, Math.max(6, y)));
  }
}

function dashed(g, f, step) {
  const x = f.x(step + 0.5);
  if (x < GUTTER || x > f.width) return;
  g.strokeStyle = colour.ink; g.lineWidth = 1; g.setLineDash([4, 3]); g.beginPath();
  g.moveTo(x, 0); g.lineTo(x, f.height); g.stroke(); g.setLineDash([]);
}

function timeAxis(g, f, labels) {
  const widest = Math.max(...labels.slice(0, 200).map((l) => l.length)) * 6.4 + 24;
  const room = Math.max(1, Math.floor((f.width - GUTTER) / Math.max(60, widest)));
  const every = niceStep((f.to - f.from) / room);
  g.fillStyle = colour.quiet; g.textBaseline = "top"; g.strokeStyle = colour.quiet; g.lineWidth = 1;
  for (let k = Math.max(0, Math.ceil(f.from / every) * every); k <= f.to && k < labels.length; k += every) {
    const x = f.x(k), half = g.measureText(labels[k]).width / 2;
    g.textAlign = x - half < GUTTER ? "left" : x + half > f.width ? "right" : "center";
    g.beginPath(); g.moveTo(x, 0); g.lineTo(x, 4); g.stroke();
    g.fillText(labels[k], x, 7);
  }
}

function niceStep(least) {
  for (let size = 1; ; size *= 10) for (const k of [1, 2, 5]) if (k * size >= least) return k * size;
}

function niceTicks(low, high, count = 3) {
  const rough = (high - low) / count, size = 10 ** Math.floor(Math.log10(rough || 1));
  const every = [1, 2, 5, 10].map((k) => k * size).find((k) => k >= rough) || 1, ticks = [];
  for (let v = Math.ceil(low / every) * every; v <= high + every * 1e-9; v += every) ticks.push(Math.abs(v) < every * 1e-9 ? 0 : v);
  return ticks;
}

function short(v) {
  if (v === null || Number.isNaN(v)) return "–";
  return Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(1) : String(+v.toPrecision(4));
}
