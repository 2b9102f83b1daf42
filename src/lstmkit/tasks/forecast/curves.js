// The series of the page and how they are drawn on canvases. Nothing here knows the controls.

const lines = { curves: linesOf("curves"), grids: linesOf("grids") };
const BANDS = [["95%", 0.16], ["80%", 0.30]];
const times = new Map();

function timesOf(k) {
  const grid = meta.grid[k];
  if (!times.has(grid)) times.set(grid, new Float64Array(bytes(lines.grids[grid])));
  return times.get(grid);
}

// The curves of a series: rows 0 to R are what came, the last K of them tested, then H ahead.
function unpack(k) {
  const all = Float64Array.from(new Float32Array(bytes(lines.curves[k])), (v) => v + meta.levels[k]);
  const R = meta.rows[k], K = meta.tested[k], H = meta.horizon;
  let place = 0;
  const next = (count) => all.subarray(place, place += count);
  const named = (count) => Object.fromEntries(meta.channels.map((name) => [name, next(count)]));
  const came = next(R), tested = named(K), naive = next(K), ahead = named(H);
  return { x: timesOf(k), came, naive, R, K, H, parts: [{ from: R - K, count: K, of: tested }, { from: R, count: H, of: ahead }] };
}

// Everything but the tails: an interval that runs away must not flatten the series.
function limits(data, whole) {
  let low = Infinity, high = -Infinity;
  const add = (list) => { for (const v of list) if (v === v) { if (v < low) low = v; if (v > high) high = v; } };
  add(data.came); add(data.naive);
  for (const p of data.parts) for (const name of ["median", "low80%", "high80%"]) if (p.of[name]) add(p.of[name]);
  const inner = [low, high], reach = high - low;
  for (const p of data.parts) for (const name of ["low95%", "high95%"]) if (p.of[name]) add(p.of[name]);
  if (!whole) { low = Math.max(low, inner[0] - reach / 2); high = Math.min(high, inner[1] + reach / 2); }
  if (!(low <= high)) return [0, 1];
  const seen = data.came.filter((v) => v === v), level = seen[0] ?? 0, room = Math.abs(level) / 10 || 1;
  if (seen.every((v) => v === level)) { low = Math.min(low, level - room); high = Math.max(high, level + room); }
  const margin = (high - low) * 0.05 || 1;
  return [low - margin, high + margin];
}

function band(g, count, xAt, low, high, opacity) {
  g.fillStyle = colour.forecast; g.globalAlpha = opacity; g.beginPath();
  for (let k = 0; k < count; k++) g.lineTo(xAt(k), high(k));
  for (let k = count - 1; k >= 0; k--) g.lineTo(xAt(k), low(k));
  g.fill(); g.globalAlpha = 1;
}

// One series; returns how pixels and rows belong together.
function drawSeries(canvas, data, large, cursor = null, box = undefined) {
  const { g, width, height } = prepared(canvas, box), size = large ? 12 : 10;
  g.font = `${size}px ${FONT}`;
  const [low, high] = limits(data, large), marks = ticks(low, high, large ? 9 : 4), texts = labels(marks);
  const left = Math.max(...texts.map((t) => g.measureText(t).width), 14) + 7, bottom = height - size - 6, right = width - (large ? 12 : 3);
  const first = data.x[0], span = data.x[data.x.length - 1] - first || 1;
  const x = (row) => left + (data.x[row] - first) / span * (right - left);
  const y = (v) => 2 + (high - v) / (high - low) * (bottom - 4);
  g.textBaseline = "middle"; g.textAlign = "right";
  marks.forEach((v, k) => {
    g.strokeStyle = colour.rule; g.lineWidth = 1; g.beginPath(); g.moveTo(left, Math.round(y(v)) + 0.5); g.lineTo(right, Math.round(y(v)) + 0.5); g.stroke();
    g.fillStyle = colour.quiet; g.fillText(texts[k], left - 5, Math.max(size / 2, y(v)));
  });
  timeAxis(g, data, x, left, right, bottom, large);
  g.save(); g.beginPath(); g.rect(left - 1, 0, right - left + 3, bottom + 1); g.clip();
  curves(g, data, x, y, bottom, large);
  if (cursor !== null) pointAt(g, data, x, y, bottom, cursor);
  g.restore();
  return { x, rows: data.x.length };
}

function curves(g, data, x, y, bottom, large) {
  const { R, K, came } = data, thin = large ? 1.5 : 1.1;
  const now = (x(R - 1) + x(Math.min(R, data.x.length - 1))) / 2;
  g.strokeStyle = colour.quiet; g.globalAlpha = 0.5; g.lineWidth = 1; g.beginPath(); g.moveTo(now, 0); g.lineTo(now, bottom); g.stroke(); g.globalAlpha = 1;
  for (const p of data.parts) for (const [name, opacity] of BANDS) {
    const low = p.of[`low${name}`], high = p.of[`high${name}`];
    if (low && high) band(g, p.count, (k) => x(p.from + k), (k) => y(low[k]), (k) => y(high[k]), opacity);
  }
  const seen = Math.min(R, R - K + (K ? 1 : 0));
  stroke(g, seen, x, (k) => y(came[k]), colour.quiet, thin);
  stroke(g, K, (k) => x(R - K + k), (k) => y(data.naive[k]), colour.baseline, thin, [4, 3]);
  for (const p of data.parts) stroke(g, p.count, (k) => x(p.from + k), (k) => y(p.of.median[k]), colour.forecast, thin + 0.4);
  stroke(g, K, (k) => x(R - K + k), (k) => y(came[R - K + k]), colour.ink, thin);
}

function timeAxis(g, data, x, left, right, bottom, large) {
  g.strokeStyle = colour.quiet; g.lineWidth = 1; g.beginPath(); g.moveTo(left, bottom + 0.5); g.lineTo(right, bottom + 0.5); g.stroke();
  g.fillStyle = colour.quiet; g.textBaseline = "top";
  const last = data.x.length - 1, wide = g.measureText(clock(data.x[0])).width + (large ? 30 : 12);
  const many = Math.max(1, Math.floor((right - left) / wide)), every = Math.max(1, large ? niceRows(last / many) : last);
  for (let row = large ? even(data.x, every) : 0; row <= last; row += every) {
    const text = clock(data.x[row]), half = g.measureText(text).width / 2, place = Math.min(right - half, Math.max(left + half, x(row)));
    if (large || many > 1 || row === 0) { g.textAlign = "center"; g.fillText(text, place, bottom + 5); }
    g.beginPath(); g.moveTo(x(row), bottom); g.lineTo(x(row), bottom + 4); g.stroke();
  }
}

// The first row whose time is a whole number of intervals, midnight or 800, where rows are that even.
function even(x, every) {
  const size = every * (x[1] - x[0]);
  for (let row = 0; row < every && row < x.length; row++) if (x[row] % size === 0) return row;
  return 0;
}

const niceRows = (rough) => rough <= 1 ? 1 : meta.clock === "minute" ? [2, 3, 6, 12, 24, 48, 72, 96, 168, 336].find((n) => n >= rough) ?? niceStep(rough) : Math.max(1, niceStep(rough));

function pointAt(g, data, x, y, bottom, row) {
  g.strokeStyle = colour.ink; g.globalAlpha = 0.6; g.lineWidth = 1; g.beginPath(); g.moveTo(x(row), 0); g.lineTo(x(row), bottom); g.stroke(); g.globalAlpha = 1;
  const dot = (v, style) => { if (v === v && v !== undefined) { g.fillStyle = style; g.beginPath(); g.arc(x(row), y(v), 3.5, 0, 7); g.fill(); } };
  for (const p of data.parts) dot(p.of.median[row - p.from], colour.forecast);
  dot(data.came[row], colour.ink);
}

// The sorted scores; returns the rank under a pixel.
function drawScores(canvas) {
  const { g, width, height } = prepared(canvas), { count, rank, mase, naive } = meta.sorted;
  g.font = `12px ${FONT}`;
  const all = [...mase, ...naive].filter((v) => v > 0).sort((a, b) => a - b), middle = all[all.length >> 1] || 1;
  const low = Math.log(Math.max(all[0] || 0.1, middle / 100)) - 0.1, high = Math.log(Math.max(all[all.length - 1] || 1, 1)) + 0.15;
  const left = 40, bottom = height - 20, right = width - 6;
  const x = (r) => left + (count > 1 ? r / (count - 1) : 0.5) * (right - left), y = (v) => bottom - (Math.log(Math.max(v, Math.exp(low))) - low) / (high - low) * (bottom - 4);
  g.textBaseline = "middle";
  for (const v of [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000, 10000]) {
    if (Math.log(v) < low || Math.log(v) > high || ((high - low) > 4.5 && !/^0?\.?0*1/.test(String(v)))) continue;
    const place = Math.round(y(v)) + 0.5;
    g.strokeStyle = v === 1 ? colour.quiet : colour.rule; g.lineWidth = 1; g.beginPath(); g.moveTo(left, place); g.lineTo(right, place); g.stroke();
    g.fillStyle = colour.quiet; g.textAlign = "right"; g.fillText(String(v), left - 6, place);
  }
  g.fillStyle = colour.baseline; g.globalAlpha = 0.55;
  meta.naive.forEach((v, k) => { if (v !== null && meta.mase[k] !== null) { g.beginPath(); g.arc(x(k), y(v), 1.6, 0, 7); g.fill(); } });
  g.globalAlpha = 1;
  stroke(g, rank.length, (k) => x(rank[k]), (k) => y(naive[k]), colour.baseline, 1.6, [5, 4]);
  stroke(g, rank.length, (k) => x(rank[k]), (k) => y(mase[k]), colour.forecast, 2);
  g.fillStyle = colour.quiet; g.textBaseline = "top";
  g.textAlign = "left"; g.fillText("worst", left, bottom + 5);
  g.textAlign = "right"; g.fillText(`best of ${count}`, right, bottom + 5);
  return (pixel) => Math.max(0, Math.min(count - 1, Math.round((pixel - left) / (right - left) * (count - 1))));
}
