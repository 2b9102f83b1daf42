// The page: its state, its panels, its controls.

const at = (id) => document.getElementById(id);
const state = { sample: 0, layer: 0, sort: "index", mode: "both", from: 0, to: 1, step: 0, unit: 0, chosen: [], found: null };
let data = null, rows = [], panels = [], hovering = null, waiting = false, attributionImage = null;
const root = at("panels");
const cross = root.appendChild(made("div", { id: "cross" })), rangeBox = root.appendChild(made("div", { id: "range" }));

function made(tag, properties = {}, text = "") {
  const element = Object.assign(document.createElement(tag), properties);
  if (text) element.textContent = text;
  return element;
}

function panel(kind, title, height, more = {}) {
  const box = made("div", { className: "panel" }), head = made("h3", {}, title), canvas = made("canvas");
  canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", title);
  canvas.dataset.panel = `${kind}${more.q ?? ""}`;
  if (more.colour) head.style.color = more.colour;
  if (more.note) head.append(made("span", {}, more.note));
  for (const c of more.curves ?? []) {
    const mark = made("span", { className: "curve" }, c.name);
    mark.style.setProperty("--mark", curveColour(c)); head.append(mark);
  }
  if (more.scale) head.append(scaleBar(more.scale));
  if (title) box.append(head);
  box.append(canvas); root.append(box);
  panels.push({ kind, canvas, height, ...more });
}

function scaleBar({ low, high, colours }) {
  const box = made("span", { className: "scaled" }, low), bar = made("span", { className: "scale" });
  bar.style.background = `linear-gradient(90deg, ${colours.join(", ")})`;
  box.append(bar, made("span", {}, high));
  return box;
}

function build() {
  panels = []; root.replaceChildren(cross, rangeBox);
  const layer = meta.layers[state.layer];
  if (meta.curves.length) panel("top", meta.quantity || "input and answer", 170, { curves: meta.curves });
  if (meta.attribution) panel("attribution", `what moved ${meta.answer || "the answer"}`, Math.max(26, Math.min(120, 18 * meta.features.length)), {
    note: "red pushed it up, blue down", scale: { low: `−${short(attributionReach())}`, high: short(attributionReach()), colours: meta.signed } });
  QUANTITIES.forEach((name, q) => {
    const reach = short(layer.reach[q]), signed = q >= 3, tint = gateColour(q);
    const scale = signed ? { low: `−${reach}`, high: q === 4 ? `${reach}, beyond is clipped` : reach, colours: meta.signed }
      : { low: "0 shut", high: "1 open", colours: [colour.paper, tint] };
    if (state.mode !== "curves") panel("heat", name, 112, { q, colour: tint, scale });
    if (state.mode !== "heat") panel("curves", state.mode === "curves" ? name : "", 84, { q, colour: tint });
  });
  panel("axis", "", 26);
}

function attributionReach() {
  const values = meta.attribution[state.sample].flat().filter((v) => v !== null).map(Math.abs).sort((a, b) => a - b);
  return values[Math.floor(0.999 * (values.length - 1))] || 1;
}

async function show() {
  const wanted = [state.sample, state.layer];
  let arrived;
  try { arrived = await unpack(...wanted); } catch (error) { at("complaint").textContent = error.message; return; }
  if (wanted[0] !== state.sample || wanted[1] !== state.layer) return;
  data = arrived; arrange();
}

function arrange() {
  const order = orderOf(data.layer, state.sort);
  rows = state.found && state.found.size ? order.filter((u) => state.found.has(u)) : order;
  if (!rows.includes(state.unit)) state.unit = rows[0];
  build();
  for (const p of panels) if (p.kind === "heat") p.image = shrunk(picture(data.planes[p.q].heat, data.columns, rows, lookup(p.q)), p.height);
  attributionImage = meta.attribution ? attributionPicture() : null;
  for (const p of panels) p.limits = limits(p);
  note(); named(); draw();
}

function attributionPicture() {
  const map = meta.attribution[state.sample], reach = attributionReach(), T = map[0].length, width = Math.min(T, 4000);
  const codes = new Uint8Array(map.length * width).fill(NOTHING);
  map.forEach((row, f) => row.forEach((v, t) => {
    if (v === null) return;
    const code = Math.max(0, Math.min(LEVELS, Math.round((v / reach + 1) / 2 * LEVELS))), place = f * width + Math.floor(t * width / T);
    if (codes[place] === NOTHING || Math.abs(code - 127) > Math.abs(codes[place] - 127)) codes[place] = code;
  }));
  return picture(codes, width, map.map((_, f) => f), lookup(3));
}

function note() {
  const layer = data.layer, pooled = layer.pool > 1;
  let text = `Values are stored in 254 steps: gates to ${short(1 / LEVELS)}, cell to ${short(2 * layer.reach[4] / LEVELS)}; cell states beyond ±${short(layer.reach[4])} are drawn and shown as that. Hatched: padding.`;
  if (pooled) text += ` Every cell of a heat map is the mean of ${layer.pool} steps. Exact at every step: units ${layer.exact.join(", ") || "none"}; others are shown as means.`;
  if (state.found?.size) text += ` ${rows.length} of ${layer.units} units are shown.`;
  if (meta.left_out) text += ` ${meta.left_out} more samples did not fit into the page.`;
  at("note").textContent = text;
}

// Which colour is which chosen unit.
function named() {
  const marks = state.chosen.map((u, k) => { const s = made("span", {}, `unit ${u}`); s.style.setProperty("--mark", LINES[k % LINES.length]); return s; });
  at("chosen").replaceChildren("Curves: ", ...marks, " grey: mean of all units, shaded: their middle 80 %");
}

function redraw() {
  if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); }
}

function draw() {
  if (!data) return;
  const began = performance.now(), width = root.clientWidth;
  for (const p of panels) {
    const g = prepared(p.canvas, width, p.height), [low, high] = p.limits;
    p.frame = frame(width, p.height, state.from, state.to, low, high);
    ({ top: drawTop, attribution: drawAttribution, heat: drawHeat, curves: drawCurves, axis: drawAxis })[p.kind](g, p.frame, p);
    if (meta.anchor && p.kind !== "axis") dashed(g, p.frame, meta.anchor[state.sample]);
  }
  point();
  state.milliseconds = performance.now() - began;
}

function limits(p) {
  if (p.kind === "curves") return p.q < 3 ? [0, 1] : [-data.layer.reach[p.q], data.layer.reach[p.q]];
  if (p.kind !== "top") return [0, 1];
  let low = Infinity, high = -Infinity;
  for (const c of meta.curves) for (const list of [c.y, c.upper]) for (const v of list?.[state.sample] ?? [])
    if (v !== null) { low = Math.min(low, v); high = Math.max(high, v); }
  const margin = (high - low) * 0.05 || 1;
  return low <= high ? [low - margin, high + margin] : [0, 1];
}

function curveColour(c) {
  if (c.kind === "input") return LINES[meta.curves.filter((o) => o.kind === "input").indexOf(c) % LINES.length];
  return { truth: colour.baseline, prediction: colour.forecast, changed: colour.forget, band: colour.forecast }[c.kind];
}

function drawTop(g, f) {
  sides(g, f, niceTicks(f.low, f.high));
  clipped(g, f, () => {
    for (const c of [...meta.curves].sort((a, b) => (a.kind !== "band") - (b.kind !== "band"))) {
      const x = c.x[state.sample], y = c.y[state.sample], upper = c.upper?.[state.sample], style = curveColour(c);
      if (upper) band(g, f, x.length, (k) => x[k], (k) => y[k], (k) => upper[k], style);
      else line(g, f, x.length, (k) => x[k], (k) => y[k], style, 1.3, c.kind === "changed" ? [5, 3] : []);
    }
  });
  if (!meta.anchor) return;
  const x = f.x(meta.anchor[state.sample] + 0.5);
  g.fillStyle = colour.quiet; g.textBaseline = "top"; g.textAlign = x > f.width - 130 ? "right" : "left";
  if (x > GUTTER && x < f.width) g.fillText("the answer begins", x + (g.textAlign === "left" ? 5 : -5), 2);
}

function drawAttribution(g, f) {
  const T = meta.attribution[state.sample][0].length;
  heat(g, f, attributionImage, attributionImage.width, T / attributionImage.width, Math.min(T, data.steps));
  g.textAlign = "right"; g.textBaseline = "middle"; g.fillStyle = colour.quiet;
  const each = f.height / meta.features.length;
  if (each >= 10) meta.features.forEach((name, k) => g.fillText(name.length > 14 ? `${name.slice(0, 13)}…` : name, GUTTER - 6, (k + 0.5) * each));
}

function drawHeat(g, f, p) {
  heat(g, f, p.image, data.columns, data.pool, data.steps);
  g.textAlign = "right"; g.textBaseline = "middle"; g.fillStyle = colour.quiet;
  g.fillText(rows.length > 1 ? `×${rows.length}` : `${rows[0]}`, GUTTER - 6, f.height / 2);
  const each = f.height / rows.length;
  state.chosen.forEach((u, k) => {
    const r = rows.indexOf(u);
    if (r >= 0) { g.fillStyle = LINES[k % LINES.length]; g.fillRect(GUTTER - 4, r * each, 3, Math.max(2, each)); }
  });
}

function drawCurves(g, f, p) {
  const plane = data.planes[p.q], C = data.columns, v = (code) => value(code, p.q, data.layer);
  sides(g, f, p.q < 3 ? [0, 0.5, 1] : [f.low, 0, f.high]);
  const middle = (k) => Math.min(k * data.pool + (data.pool - 1) / 2, data.steps - 1);
  clipped(g, f, () => {
    padding(g, f, data.steps);
    band(g, f, C, middle, (k) => v(plane.band[C + k]), (k) => v(plane.band[2 * C + k]), p.colour);
    line(g, f, C, middle, (k) => v(plane.band[k]), colour.baseline, 1);
    state.chosen.forEach((u, n) => {
      const { codes, pool } = rowOf(data, p.q, u);
      const first = Math.max(0, Math.floor(f.from / pool) - 1), last = Math.min(codes.length, Math.ceil(f.to / pool) + 2);
      line(g, f, Math.max(0, last - first), (k) => (k + first) * pool + (pool - 1) / 2, (k) => v(codes[k + first]), LINES[n % LINES.length], 1.2);
    });
  });
}

function drawAxis(g, f) { timeAxis(g, f, meta.labels[state.sample]); }

function point() {
  const f = panels[0]?.frame;
  if (!f) return;
  const x = f.x(state.step);
  cross.style.display = hovering && x >= GUTTER && x <= f.width ? "block" : "none";
  cross.style.transform = `translateX(${x}px)`;
  const out = at("readout"), u = state.unit, layer = data.layer;
  const parts = [["step", meta.labels[state.sample][state.step] ?? state.step], ["unit", u]];
  QUANTITIES.forEach((name, q) => parts.push([name, short(valueAt(data, q, state.step, u))]));
  parts.push(["time constant", layer.tau[u] >= 1e6 ? "never fades" : short(layer.tau[u])], ["selectivity", short(layer.selectivity[u])]);
  for (const c of meta.curves) {
    const k = c.x[state.sample].findIndex((place) => place !== null && Math.round(place) === state.step), y = c.y[state.sample][k] ?? null;
    if (y !== null) parts.push([c.name, c.upper ? `${short(y)} to ${short(c.upper[state.sample][k])}` : short(y)]);
  }
  meta.attribution?.[state.sample].forEach((row, k) => {
    if (row[state.step]) parts.push([`moved by ${meta.features[k]}`, short(row[state.step])]);
  });
  if (data.pool > 1 && !data.exactRow.has(u)) parts.push(["", `mean of ${data.pool} steps`]);
  out.replaceChildren(...parts.map(([name, text]) => { const s = made("span"); s.append(made("i", {}, name), String(text)); return s; }));
}

function total() { return meta.labels[state.sample].length; }

function zoom(from, to) {
  const T = total(), span = Math.max(Math.min(6, T), Math.min(T, to - from));
  state.from = Math.max(-0.5, Math.min(T - 0.5 - span, from)); state.to = state.from + span;
  redraw();
}

function zoomAt(step, factor) { zoom(step - (step - state.from) * factor, step + (state.to - step) * factor); }

function place(event) {
  const p = panels.find((q) => q.canvas === event.target);
  const box = root.getBoundingClientRect(), x = event.clientX - box.left, f = panels[0].frame;
  const y = p ? event.clientY - p.canvas.getBoundingClientRect().top : 0;
  const unit = p?.kind === "heat" ? rows[Math.max(0, Math.min(rows.length - 1, Math.floor(y / p.height * rows.length)))] : null;
  return { x, unit, step: Math.max(0, Math.min(total() - 1, Math.round(f.step(x)))), exact: f.step(x) };
}

function choose(unit) {
  state.chosen = state.chosen.includes(unit) ? state.chosen.filter((u) => u !== unit) : [...state.chosen, unit].slice(-LINES.length);
  named(); redraw();
}

let drag = null;
root.addEventListener("pointermove", (event) => {
  if (!data) return;
  const spot = place(event);
  hovering = true; state.step = spot.step;
  if (spot.unit !== null) state.unit = spot.unit;
  if (drag) Object.assign(rangeBox.style, { display: "block", left: `${Math.min(drag.x, spot.x)}px`, width: `${Math.abs(spot.x - drag.x)}px` });
  point();
});
root.addEventListener("pointerleave", () => { hovering = null; if (data) point(); });
root.addEventListener("pointerdown", (event) => { if (data && event.button === 0) { drag = place(event); } });
window.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const begin = drag, end = place(event);
  drag = null; rangeBox.style.display = "none";
  if (Math.abs(end.x - begin.x) > 6) zoom(Math.min(begin.exact, end.exact), Math.max(begin.exact, end.exact));
  else if (begin.unit !== null) choose(begin.unit);
});
root.addEventListener("dblclick", () => zoom(-0.5, total() - 0.5));
root.addEventListener("wheel", (event) => {
  if (!data || event.ctrlKey) return;
  event.preventDefault();
  const span = state.to - state.from;
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) zoom(state.from + event.deltaX / 800 * span, state.to + event.deltaX / 800 * span);
  else zoomAt(place(event).exact, Math.exp(Math.max(-200, Math.min(200, event.deltaY)) * 0.002));
}, { passive: false });

function moved(steps, units) {
  hovering = true;
  state.step = Math.max(0, Math.min(total() - 1, state.step + steps));
  const r = rows.indexOf(state.unit) + units;
  state.unit = rows[Math.max(0, Math.min(rows.length - 1, r))];
  if (state.step < state.from || state.step > state.to) { const half = (state.to - state.from) / 2; zoom(state.step - half, state.step + half); }
  point();
}

const centre = () => (state.from + state.to) / 2, quarter = () => (state.to - state.from) / 4;
const acts = {
  in: () => zoomAt(centre(), 0.5), out: () => zoomAt(centre(), 2), all: () => zoom(-0.5, total() - 0.5),
  left: () => zoom(state.from - quarter(), state.to - quarter()), right: () => zoom(state.from + quarter(), state.to + quarter()),
};
const keys = { ArrowLeft: () => moved(-1, 0), ArrowRight: () => moved(1, 0), ArrowUp: () => moved(0, -1), ArrowDown: () => moved(0, 1),
  "+": acts.in, "-": acts.out, Enter: () => choose(state.unit), Escape: acts.all };
root.addEventListener("keydown", (event) => { if (data && keys[event.key]) { event.preventDefault(); keys[event.key](); } });
for (const [id, act] of Object.entries(acts)) at(id).addEventListener("click", act);

function setLayer(k) {
  state.layer = +k; state.found = null; at("search").value = ""; at("complaint").textContent = "";
  state.chosen = orderOf(meta.layers[state.layer], "selectivity").slice(0, 3);
  return show();
}

function search() {
  try { state.found = findUnits(at("search").value, meta.layers[state.layer]); at("complaint").textContent = ""; }
  catch (error) { at("complaint").textContent = error.message; return; }
  if (at("search").value.trim() && !state.found.size) { at("complaint").textContent = "no unit is like that"; state.found = null; }
  if (data) arrange();
}

function start() {
  meta.samples.forEach((name, k) => at("sample").append(made("option", { value: k }, name)));
  meta.layers.forEach((l, k) => at("layer").append(made("option", { value: k }, l.words)));
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("sample").addEventListener("change", (e) => { state.sample = +e.target.value; zoom(-0.5, total() - 0.5); show(); });
  at("layer").addEventListener("change", (e) => setLayer(e.target.value));
  at("sort").addEventListener("change", (e) => { state.sort = e.target.value; if (data) arrange(); });
  at("mode").addEventListener("change", (e) => { state.mode = e.target.value; if (data) arrange(); });
  at("search").addEventListener("input", search);
  window.addEventListener("resize", redraw);
  zoom(-0.5, total() - 0.5); setLayer(0);
}

window.lstmkit = Object.freeze({
  state: () => structuredClone({ ...state, ready: data !== null, rows }),
  valueAt: (panelName, step, unit) => valueAt(data, QUANTITIES.indexOf(panelName), step, unit), setLayer,
});
start();
