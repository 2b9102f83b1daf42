// The page: its cells, its order, its enlarged series.

const total = meta.names.length, grid = at("grid"), large = at("large");
const state = { sort: "mase", order: [], focus: 0, open: null, cursor: null, columns: 1, box: undefined };
let frame = null, data = null, rankAt = null, waiting = false;

function score(box, k) {
  const mase = meta.mase[k], naive = meta.naive[k];
  if (mase === null || naive === null) { box.textContent = meta.tested[k] ? "MASE undefined" : "no score"; return; }
  const won = mase < naive, model = made(won ? "b" : "span", {}, mase.toFixed(2)), other = made(naive < mase ? "b" : "span", { className: "naive" }, naive.toFixed(2));
  box.replaceChildren("MASE ", model, " · naive ", other);
}

const cells = meta.names.map((name, k) => {
  const cell = made("button", { type: "button", className: "cell", tabIndex: -1, title: name }), line = made("span", { className: "score" });
  score(line, k);
  cell.append(made("span", { className: "name" }, name), line, made("canvas", { ariaHidden: "true" }));
  cell.dataset.k = k;
  return cell;
});

// Only what is near the window has pixels.
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const canvas = entry.target.lastElementChild, k = +entry.target.dataset.k;
    if (entry.isIntersecting) paint(k); else if (entry.target.dataset.drawn) { canvas.width = canvas.height = 0; delete entry.target.dataset.drawn; }
  }
}, { rootMargin: "400px 0px" });

function paint(k) {
  drawSeries(cells[k].lastElementChild, unpack(k), total === 1, null, state.box);
  cells[k].dataset.drawn = "1";
}

const ratio = (k) => meta.mase[k] === null || meta.naive[k] === null ? -1 : meta.naive[k] > 0 ? meta.mase[k] / meta.naive[k] : Infinity;
const orders = {
  mase: (a, b) => (meta.mase[b] ?? -1) - (meta.mase[a] ?? -1) || a - b,
  relative: (a, b) => ratio(a) === ratio(b) ? a - b : ratio(b) - ratio(a),
  name: (a, b) => collator.compare(meta.names[a], meta.names[b]) || a - b,
};

function arrange() {
  const wanted = at("search").value.trim().toLowerCase();
  const ranked = cells.map((_, k) => k).sort(orders[state.sort]);
  state.order = ranked.filter((k) => !wanted || meta.names[k].toLowerCase().includes(wanted));
  grid.replaceChildren(...state.order.map((k) => cells[k]));
  at("none").hidden = state.order.length > 0;
  at("count").textContent = state.order.length < total ? `${state.order.length} of ${total} series` : `${total} series`;
  focusable(state.order[0] ?? 0);
}

// The grid is one stop of the Tab key; arrows move inside it.
function focusable(k) {
  cells[state.focus].tabIndex = -1; cells[k].tabIndex = 0; state.focus = k;
}

// Columns of whole pixels, so that lines of one pixel stay sharp.
function fit() {
  const least = total <= 9 ? 380 : 256, gap = 14, width = grid.clientWidth;
  state.columns = total === 1 ? 1 : Math.max(1, Math.floor((width + gap) / (least + gap)));
  grid.style.gridTemplateColumns = `repeat(${state.columns}, ${Math.floor((width - gap * (state.columns - 1)) / state.columns)}px)`;
  if (!state.order.length) return;
  const { width: w, height: h } = cells[state.order[0]].lastElementChild.getBoundingClientRect();
  state.box = { width: w, height: h };
}

grid.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -state.columns, ArrowDown: state.columns, Home: -total, End: total }[event.key];
  if (!step) return;
  event.preventDefault();
  const place = state.order.indexOf(state.focus), last = state.order.length - 1;
  focusable(state.order[Math.max(0, Math.min(last, place + step))]); cells[state.focus].focus();
});

grid.addEventListener("click", (event) => {
  const cell = event.target.closest(".cell");
  if (cell) enlarge(+cell.dataset.k);
});

function enlarge(k) {
  data = unpack(k); state.open = k; state.cursor = null; focusable(k);
  at("large-name").textContent = meta.names[k]; score(at("large-score"), k);
  if (!large.open) large.showModal();
  at("before").disabled = k === state.order[0]; at("after").disabled = k === state.order[state.order.length - 1];
  at("curve").focus(); redraw(); read();
}

function turn(step) {
  const place = state.order.indexOf(state.open) + step;
  if (place >= 0 && place < state.order.length) enlarge(state.order[place]);
}

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; if (large.open) frame = drawSeries(at("curve"), data, true, state.cursor); });
}

function values(row) {
  const found = [["", clock(data.x[row])]], past = row < data.R;
  if (past) found.push([row < data.R - data.K ? "seen" : "what came", short(data.came[row])]);
  for (const p of data.parts) {
    const n = row - p.from;
    if (n < 0 || n >= p.count) continue;
    found.push(["median", short(p.of.median[n])]);
    for (const [name] of [...BANDS].reverse()) if (p.of[`low${name}`] && p.of[`high${name}`])
      found.push([name.replace("%", " %"), `${short(p.of[`low${name}`][n])} to ${short(p.of[`high${name}`][n])}`]);
  }
  const n = row - (data.R - data.K);
  if (past && n >= 0) found.push(["seasonal naive", short(data.naive[n])]);
  return found;
}

function read() {
  if (state.cursor === null) { at("readout").textContent = "Move over the curves to read their values."; return; }
  at("readout").replaceChildren(...values(state.cursor).map(([name, text]) => {
    const box = made("span");
    if (name) box.append(made("i", {}, name));
    box.append(text);
    return box;
  }));
}

function point(row) {
  state.cursor = Math.max(0, Math.min(data.x.length - 1, row));
  redraw(); read();
}

at("curve").addEventListener("pointermove", (event) => {
  if (!frame) return;
  const pixel = event.clientX - at("curve").getBoundingClientRect().left;
  let low = 0, high = frame.rows - 1;
  while (high - low > 1) { const half = (low + high) >> 1; if (frame.x(half) < pixel) low = half; else high = half; }
  point(Math.abs(frame.x(low) - pixel) < Math.abs(frame.x(high) - pixel) ? low : high);
});

large.addEventListener("keydown", (event) => {
  const from = state.cursor ?? data.R - 1;
  const acts = { ArrowLeft: () => point(from - 1), ArrowRight: () => point(from + 1), PageUp: () => turn(-1), PageDown: () => turn(1) };
  if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
});
large.addEventListener("close", () => { const k = state.open; state.open = state.cursor = null; if (cells[k].isConnected) cells[k].focus(); });
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
at("before").addEventListener("click", () => turn(-1));
at("after").addEventListener("click", () => turn(1));
at("close").addEventListener("click", () => large.close());

at("scores").addEventListener("click", (event) => {
  const k = rankAt(event.clientX - at("scores").getBoundingClientRect().left);
  if (k < total) enlarge(k);
});

function repaint() {
  readColours("forecast", "baseline"); fit();
  for (const cell of cells) if (cell.dataset.drawn) paint(+cell.dataset.k);
  if (!at("overview").hidden) rankAt = drawScores(at("scores"));
  if (large.open) redraw();
}

function start() {
  readColours("forecast", "baseline");
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("sort").addEventListener("change", (event) => { state.sort = event.target.value; arrange(); });
  at("search").addEventListener("input", arrange);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  window.addEventListener("resize", () => requestAnimationFrame(repaint));
  window.addEventListener("beforeprint", () => state.order.forEach(paint));
  at("overview").hidden = meta.sorted.count < 10;
  document.body.className = total === 1 ? "single" : total <= 9 ? "few" : "";
  arrange(); repaint();
  cells.forEach((cell) => near.observe(cell));
}

window.lstmkit = Object.freeze({ state: () => structuredClone(state), values: (k, row) => { const old = data; data = unpack(k); try { return values(row); } finally { data = old; } } });
start();
