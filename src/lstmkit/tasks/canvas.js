"use strict";
// What the pages of all tasks share: numbers out of base64, marks of axes, lines on canvases.

const at = (id) => document.getElementById(id);
const meta = JSON.parse(at("meta").textContent);
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const colour = {};

function readColours(...names) {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "quiet", "rule", "paper", ...names]) colour[name] = style.getPropertyValue(`--${name}`).trim();
}

function made(tag, properties = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...inside);
  return element;
}

const linesOf = (id) => at(id).textContent.split("\n");

function bytes(line) { return Uint8Array.from(atob(line), (c) => c.charCodeAt(0)).buffer; }

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((m) => m * power >= least * 0.999);
}

function ticks(low, high, most) {
  const step = niceStep((high - low) / most), found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
  return found;
}

function short(v) {
  if (v === null || v === undefined || v !== v) return "–";
  const size = Math.abs(v);
  if (size === Infinity) return v > 0 ? "∞" : "−∞";
  if (size !== 0 && (size >= 1e7 || size < 1e-3)) return v.toExponential(2).replace("-", "−");
  return String(+v.toFixed(Math.max(0, Math.min(6, 4 - Math.floor(Math.log10(size || 1)))))).replace("-", "−");
}

// An axis has one number of digits, as few as tell its ticks apart.
function labels(list) {
  const step = list.length > 1 ? Math.abs(list[1] - list[0]) : 1, size = Math.max(...list.map(Math.abs));
  if (size >= 1e6 || (size && size < 1e-3)) return list.map((v) => v ? v.toExponential(Math.max(0, Math.min(8, Math.ceil(Math.log10(size / step) - 1e-9)))).replace("-", "−").replace("e+", "e") : "0");
  const digits = Math.max(0, Math.min(8, -Math.floor(Math.log10(step) + 1e-9)));
  return list.map((v) => v.toFixed(digits).replace("-", "−"));
}

function clock(t) {
  if (meta.clock === "number") return String(t);
  const text = new Date(t).toISOString(), end = { day: 10, minute: 16, second: 19, thousandth: 23 }[meta.clock];
  return text.slice(0, end).replace("T", " ");
}

// `box` is the size where it is known: to ask for it costs a layout of all cells.
function prepared(canvas, box = canvas.getBoundingClientRect()) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.width * scale); canvas.height = Math.round(box.height * scale);
  const g = canvas.getContext("2d");
  g.setTransform(scale, 0, 0, scale, 0, 0); g.clearRect(0, 0, box.width, box.height);
  g.lineJoin = "round"; g.lineCap = "butt";
  return { g, width: box.width, height: box.height };
}

function stroke(g, count, xAt, yAt, style, width, dash = []) {
  g.strokeStyle = g.fillStyle = style; g.lineWidth = width; g.setLineDash(dash); g.beginPath();
  let open = false;
  for (let k = 0; k < count; k++) {
    const y = yAt(k);
    if (y !== y) { open = false; continue; }
    const alone = !open && (k + 1 >= count || Number.isNaN(yAt(k + 1)));
    if (alone) { g.moveTo(xAt(k) + width, y); g.arc(xAt(k), y, width * 0.8, 0, 7); } // a lone value between gaps
    else if (open) g.lineTo(xAt(k), y); else g.moveTo(xAt(k), y);
    open = !alone;
  }
  g.stroke(); g.setLineDash([]);
}
