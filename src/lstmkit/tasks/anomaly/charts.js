// The canvases of the page of alerts. Nothing here knows the controls.

const lines = Object.fromEntries(["grids", "lanes", "channels", "details", "rows"].map((id) => [id, linesOf(id)]));
const SEVERITY = meta.severities, DAY = 86400000;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const STEPS = [1, 2, 5, 10, 50, 100, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, DAY, 2 * DAY, 7 * DAY, 14 * DAY];
const known = new Map(); // what was unpacked

function once(key, make) {
  if (!known.has(key)) known.set(key, make());
  return known.get(key);
}

const grid = (line) => once(`grid ${line}`, () => new Float64Array(bytes(lines.grids[line])));

// The whole time of a series: the highest score, level and label of each bucket.
const laneOf = (k) => once(`lane ${k}`, () => {
  const x = grid(meta.grid[k][0]), all = new Float32Array(bytes(lines.lanes[k])), B = x.length;
  return { x, score: all.subarray(0, B), level: all.subarray(B, 2 * B), label: all.subarray(2 * B) };
});

// Every channel of a series: the lowest and the highest of each bucket.
const channelOf = (k, c) => once(`channel ${k} ${c}`, () => {
  const x = grid(meta.grid[k][1]), all = once(`channels ${k}`, () => new Float32Array(bytes(lines.channels[k])));
  return { x, y: Float64Array.from(all.subarray(2 * c * x.length, 2 * (c + 1) * x.length), (v) => v + meta.levels[k][c]) };
});

// Score, level and label around an alert, and the channels that caused it.
function unpackAlert(k) {
  const drawn = meta.drawn[k], [first, second] = lines.details[k].split(" "), P = drawn.points;
  const x = new Float64Array(bytes(first)), all = new Float32Array(bytes(second));
  let place = 0;
  const next = (level = 0) => Float64Array.from(all.subarray(place, place += P), (v) => v + level);
  const score = next(), level = next(), label = next();
  const channels = drawn.channels.map((name, c) => ({ name, values: next(drawn.levels[c]), expected: next(drawn.levels[c]), parts: next() }));
  return { x, score, level, label, channels, points: P };
}

function tableOf(k) {
  const { rows, columns } = meta.tables[k], all = new Float64Array(bytes(lines.rows[k]));
  const column = (c) => all.subarray(c * rows, (c + 1) * rows);
  return { time: column(0), score: column(1), level: column(2), label: column(3), values: columns.map((_, c) => column(4 + c)) };
}

// Where marks stand on an axis of time, and what they say: [time, text].
function timeMarks(low, high, most) {
  if (meta.clock === "number") { const list = ticks(low, high, most).filter(Number.isInteger); return list.map((v) => [v, String(v)]); }
  const least = (high - low) / most, step = STEPS.find((s) => s >= least);
  if (!step || step > 14 * DAY) return monthMarks(low, high, least);
  const origin = step >= 7 * DAY ? 4 * DAY : 0, found = [];
  for (let t = Math.ceil((low - origin) / step) * step + origin; t <= high; t += step) found.push([t, timeText(t, step)]);
  return found;
}

function monthMarks(low, high, least) {
  const many = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 6000].find((m) => m * 30 * DAY >= least) ?? 12000, found = [], date = new Date(low);
  for (let m = Math.ceil((date.getUTCFullYear() * 12 + date.getUTCMonth()) / many) * many; ; m += many) {
    const t = new Date(0).setUTCFullYear(Math.floor(m / 12), m % 12, 1);
    if (t > high || found.length > 200) return found;
    if (t >= low) found.push([t, m % 12 ? MONTHS[m % 12] : String(Math.floor(m / 12))]);
  }
}

function timeText(t, step) {
  const date = new Date(t), text = date.toISOString();
  if (t % DAY === 0) return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
  return step >= 6e4 ? text.slice(11, 16) : step >= 1e3 ? text.slice(11, 19) : text.slice(17, 23);
}

function fitted(g, text, width) {
  if (g.measureText(text).width <= width) return text;
  const cut = (n) => `${text.slice(0, n - Math.floor(n / 3))}…${text.slice(text.length - Math.floor(n / 3))}`;
  let low = 0, high = text.length - 1;
  while (low < high) { const half = (low + high + 1) >> 1; if (g.measureText(cut(half)).width <= width) low = half; else high = half - 1; }
  return cut(low);
}

function axisOfTime(g, low, high, x, left, right, y, marks = null) {
  g.strokeStyle = colour.quiet; g.fillStyle = colour.quiet; g.lineWidth = 1;
  g.beginPath(); g.moveTo(left, y + 0.5); g.lineTo(right, y + 0.5); g.stroke();
  g.font = `11.5px ${FONT}`; g.textBaseline = "top"; g.textAlign = "center";
  for (const [t, text] of marks ?? timeMarks(low, high, Math.max(2, (right - left) / 85))) {
    const half = g.measureText(text).width / 2;
    g.beginPath(); g.moveTo(x(t), y); g.lineTo(x(t), y + 4); g.stroke();
    g.fillText(text, Math.min(right - half, Math.max(left + half, x(t))), y + 6);
  }
}

function valueAxis(g, low, high, y, left, right, most) {
  const marks = ticks(low, high, most), texts = labels(marks);
  g.font = `11px ${FONT}`; g.textBaseline = "middle"; g.textAlign = "right"; g.lineWidth = 1;
  marks.forEach((v, k) => {
    const place = Math.round(y(v)) + 0.5;
    g.strokeStyle = colour.rule; g.beginPath(); g.moveTo(left, place); g.lineTo(right, place); g.stroke();
    g.fillStyle = colour.quiet; g.fillText(texts[k], left - 6, place);
  });
}

function heights() {
  const n = meta.lanes.length, lane = n === 1 ? 130 : n <= 4 ? 66 : n <= 12 ? 38 : 20;
  return { lane, gap: lane > 30 ? 10 : 3, counts: meta.counts && meta.counts.counts.length > 1 && meta.alerts.length ? 62 : 0, axis: 26 };
}

function timelineHeight() {
  const h = heights();
  return meta.lanes.length * (h.lane + h.gap) + h.counts + h.axis;
}

const spanOf = () => { const [a, b] = meta.span; return a < b ? [a, b] : [a - 1, b + 1]; };

// All series over the whole time, and the alerts counted; returns what lies under a pixel.
function drawTimeline(canvas, chosen, shown) {
  const { g, width } = prepared(canvas), h = heights(), [low, high] = spanOf();
  const left = meta.lanes.length === 1 && !meta.lanes[0] ? 46 : Math.min(190, width / 4), right = width - 10;
  const x = (t) => left + (t - low) / (high - low) * (right - left), top = (k) => k * (h.lane + h.gap) + 8;
  meta.lanes.forEach((name, k) => drawLane(g, k, name, x, left, right, top(k), h.lane - 8));
  const boxes = [];
  shown.forEach((n) => { const a = meta.alerts[n]; if (a.lane !== null) boxes.push({ n, k: a.lane, ...mark(g, a, x, top(a.lane), h.lane - 8, n === chosen) }); });
  const base = meta.lanes.length * (h.lane + h.gap);
  if (h.counts) drawCounts(g, x, left, right, base + 12, h.counts - 16);
  axisOfTime(g, low, high, x, left, right, base + h.counts, meta.span[0] < meta.span[1] ? null : [[meta.span[0], clock(meta.span[0])]]);
  return {
    alert: (px, py) => { const k = Math.floor(py / (h.lane + h.gap)); let best = null; for (const b of boxes) if (b.k === k && px > b.a - 8 && px < b.b + 8) { const off = Math.abs(px - (b.a + b.b) / 2); if (!best || off < best.off) best = { n: b.n, off }; } return best && best.n; },
    told: (px, py) => told(low + (px - left) / (right - left) * (high - low), Math.floor(py / (h.lane + h.gap)), low, high),
  };
}

function drawLane(g, k, name, x, left, right, top, height) {
  const lane = laneOf(k), bottom = top + height;
  let most = 1;
  for (const list of [lane.score, lane.level]) for (const v of list) if (v > most) most = v;
  const y = (v) => bottom - v / (most * 1.1) * height, B = lane.x.length;
  if (height > 50) valueAxis(g, 0, most * 1.1, y, left, right, 4);
  if (left > 46) { g.font = `12px ${FONT}`; g.fillStyle = colour.ink; g.textAlign = "left"; g.textBaseline = "middle"; g.fillText(fitted(g, name || "series", left - (height > 50 ? 44 : 12)), 0, (top + bottom) / 2); }
  const half = B > 1 ? (right - left) / B / 2 : 3, at = (b) => x(lane.x[b]);
  bars(g, B, at, half, (b) => y(lane.score[b]), bottom, colour.ink, 0.5);
  bars(g, B, at, Math.max(1, half), (b) => lane.label[b] > 0 ? bottom : NaN, bottom + (height > 25 ? 5 : 3), colour.label);
  stroke(g, B, (b) => x(lane.x[b]), (b) => y(lane.level[b]), colour.major, 1.1, [5, 3]);
  g.strokeStyle = colour.rule; g.lineWidth = 1; g.beginPath(); g.moveTo(left, bottom + 0.5); g.lineTo(right, bottom + 0.5); g.stroke();
}

// Bars down to `bottom`, as one shape: where they touch nothing shows.
function bars(g, count, xAt, half, yAt, bottom, style, opacity = 1) {
  g.fillStyle = style; g.globalAlpha = opacity; g.beginPath();
  for (let b = 0; b < count; b++) {
    const y = yAt(b), middle = xAt(b);
    if (y !== y) continue;
    const from = b ? Math.max(middle - half * 1.6, (xAt(b - 1) + middle) / 2) : middle - half, to = b + 1 < count ? Math.min(middle + half * 1.6, (middle + xAt(b + 1)) / 2) : middle + half;
    g.rect(from, y, Math.max(1, to - from), bottom - y);
  }
  g.fill(); g.globalAlpha = 1;
}

function mark(g, alert, x, top, height, chosen) {
  const a = x(alert.start), b = Math.max(a + 2, x(alert.end)), middle = (a + b) / 2, style = colour[SEVERITY[alert.severity]];
  g.fillStyle = style; g.globalAlpha = chosen ? 0.5 : 0.25; g.fillRect(a, top, b - a, height); g.globalAlpha = 1;
  const size = chosen ? 6.5 : 4;
  g.beginPath(); g.moveTo(middle - size, top - 6); g.lineTo(middle + size, top - 6); g.lineTo(middle, top - 6 + 1.5 * size); g.fill();
  if (chosen) { g.strokeStyle = colour.ink; g.lineWidth = 1.4; g.stroke(); g.strokeRect(a - 1, top, b - a + 2, height); }
  return { a, b };
}

function drawCounts(g, x, left, right, top, height) {
  const { unit, edges, counts } = meta.counts, totals = counts.map((c) => c[0] + c[1] + c[2]), most = Math.max(1, ...totals), bottom = top + height;
  g.font = `11px ${FONT}`; g.fillStyle = colour.quiet; g.textBaseline = "middle"; g.textAlign = "right";
  g.fillText(String(most), left - 6, top + 4); g.fillText("0", left - 6, bottom - 4);
  g.textAlign = "left"; g.textBaseline = "bottom"; g.fillText(`alerts per ${unit}`, left, top - 1);
  counts.forEach((c, b) => {
    const from = Math.max(left, x(edges[b])), to = Math.min(right, x(edges[b + 1])), room = Math.max(to - from > 4 ? 1 : 0, (to - from - 64) / 2);
    let y = bottom;
    c.forEach((v, s) => { g.fillStyle = colour[SEVERITY[s]]; const tall = v / most * (height - 2); g.fillRect(from + room, y - tall, Math.max(1, to - from - 2 * room), tall); y -= tall; });
  });
}

function told(t, k, low, high) {
  const found = [clock(meta.clock === "number" ? Math.round(Math.min(high, Math.max(low, t))) : Math.min(high, Math.max(low, t)))];
  if (k >= 0 && k < meta.lanes.length) {
    const lane = laneOf(k), b = nearestTo(lane.x, t);
    if (meta.lanes[k]) found.push(meta.lanes[k]);
    found.push(`score up to ${decimals(lane.score[b])}, level ${decimals(lane.level[b])}`);
    if (lane.label[b] > 0) found.push("known anomaly");
  } else if (meta.counts) {
    const b = meta.counts.edges.findIndex((e, n) => n + 1 < meta.counts.edges.length && t >= e && t < meta.counts.edges[n + 1]);
    if (b >= 0) { const n = meta.counts.counts[b].reduce((p, q) => p + q); found.push(`${n} alert${n === 1 ? "" : "s"} in this ${meta.counts.unit}`); }
  }
  return found.join(" · ");
}

const decimals = (v) => v === v && v !== null ? v.toFixed(v < 10 ? 2 : 1) : "none";

function nearestTo(x, t) {
  let low = 0, high = x.length - 1;
  while (high - low > 1) { const half = (low + high) >> 1; if (x[half] < t) low = half; else high = half; }
  return Math.abs(x[low] - t) <= Math.abs(x[high] - t) ? low : high;
}

const SCORE = 104, PANEL = 138, STRIP = 26, FOOT = 26; // STRIP: the contributions under a channel
const alertHeight = (k) => SCORE + PANEL * meta.drawn[k].channels.length + FOOT;

function range(...lists) {
  let low = Infinity, high = -Infinity;
  for (const list of lists) for (const v of list) { if (v < low) low = v; if (v > high) high = v; }
  if (!(low <= high)) return null;
  const room = (high - low) * 0.06 || Math.abs(low) * 0.1 || 1;
  return [low - room, high + room];
}

// One alert: its score over the level, then its channels; returns how pixels and points belong.
function drawAlert(canvas, k, data, cursor) {
  const { g, width } = prepared(canvas), alert = meta.alerts[k], style = colour[SEVERITY[alert.severity]], x0 = data.x;
  const alone = x0.length < 2, low = alone ? x0[0] - 1 : x0[0], high = alone ? x0[0] + 1 : x0[x0.length - 1], left = 58, right = width - 10;
  const x = (t) => left + (t - low) / (high - low) * (right - left), half = alone ? 12 : (right - left) / (x0.length - 1) / 2;
  const span = [Math.max(left, x(alert.start) - half), Math.min(right, x(alert.end) + half)];
  const panels = [{ name: "score", remark: "dashed: the level", top: 18, height: SCORE - 30 }, ...data.channels.map((c, n) => ({ ...c, remark: shareOf(meta.drawn[k].shares[n]), top: SCORE + n * PANEL + 20, height: PANEL - 30 }))];
  const strongest = Math.max(1e-9, ...data.channels.flatMap((c) => [...c.parts].filter((v) => v === v)));
  panels.forEach((panel, n) => {
    const { top, height } = panel, bottom = top + height, reach = n ? range(panel.values, panel.expected) : [0, (range(data.score, data.level) ?? [0, 1])[1]];
    const [from, to] = reach ?? [0, 1], base = n ? bottom - STRIP : bottom, y = (v) => base - (v - from) / (to - from) * (base - top);
    if (reach) valueAxis(g, from, to, y, left, right, n ? 4 : 3);
    g.fillStyle = style; g.globalAlpha = 0.13; g.fillRect(span[0], top, Math.max(2, span[1] - span[0]), height); g.globalAlpha = 1;
    panelTitle(g, panel, left, right);
    if (n) drawChannel(g, data, panel, x, y, half, bottom, strongest, style); else drawScore(g, data, x, y, half, bottom);
    if (n && !range(panel.values)) { g.fillStyle = colour.quiet; g.font = `12px ${FONT}`; g.textAlign = "center"; g.textBaseline = "middle"; g.fillText("no value came", (left + right) / 2, base - 10); }
    if (cursor !== null) pointAt(g, x(x0[cursor]), top, bottom, y, n ? [[panel.expected[cursor], colour.expected], [panel.values[cursor], colour.ink]] : [[data.score[cursor], colour.ink]]);
  });
  axisOfTime(g, low, high, x, left, right, alertHeight(k) - FOOT, alone ? [[x0[0], clock(x0[0])]] : null);
  return { row: (pixel) => nearestTo(x0, low + (pixel - left) / (right - left) * (high - low)) };
}

const shareOf = (v) => v === null ? "" : `${percent(v)} of the score`;
const percent = (v) => v === null ? "–" : v > 0 && v < 0.01 ? "< 1 %" : `${Math.round(100 * v)} %`;

function panelTitle(g, panel, left, right) {
  g.textBaseline = "bottom"; g.textAlign = "right"; g.font = `11.5px ${FONT}`; g.fillStyle = colour.quiet;
  g.fillText(panel.remark, right, panel.top - 4);
  const room = right - left - g.measureText(panel.remark).width - 16;
  g.textAlign = "left"; g.font = `600 12px ${FONT}`; g.fillStyle = colour.ink; g.fillText(fitted(g, panel.name, room), left, panel.top - 4);
}

function drawScore(g, data, x, y, half, bottom) {
  const at = (b) => x(data.x[b]);
  bars(g, data.points, at, half, (b) => y(data.score[b]), bottom, colour.ink, 0.16);
  bars(g, data.points, at, half, (b) => data.label[b] > 0 ? bottom : NaN, bottom + 5, colour.label);
  stroke(g, data.points, at, (b) => y(data.level[b]), colour.major, 1.3, [5, 3]);
  stroke(g, data.points, at, (b) => y(data.score[b]), colour.ink, 1.3);
}

function drawChannel(g, data, panel, x, y, half, bottom, strongest, style) {
  const at = (b) => x(data.x[b]);
  bars(g, data.points, at, half, (b) => panel.parts[b] > 0 ? bottom - panel.parts[b] / strongest * (STRIP - 3) : NaN, bottom, style, 0.55);
  g.strokeStyle = colour.rule; g.lineWidth = 1; g.beginPath(); g.moveTo(at(0) - half, bottom + 0.5); g.lineTo(at(data.points - 1) + half, bottom + 0.5); g.stroke();
  stroke(g, data.points, at, (b) => y(panel.expected[b]), colour.expected, 1.7);
  stroke(g, data.points, at, (b) => y(panel.values[b]), colour.ink, 1.3);
}

function pointAt(g, x, top, bottom, y, dots) {
  g.strokeStyle = colour.ink; g.globalAlpha = 0.6; g.lineWidth = 1; g.beginPath(); g.moveTo(x, top); g.lineTo(x, bottom); g.stroke(); g.globalAlpha = 1;
  for (const [v, style] of dots) if (v === v) { g.fillStyle = style; g.beginPath(); g.arc(x, y(v), 3.5, 0, 7); g.fill(); }
}

// A channel over the whole time, small, with the alerts of its series.
function drawSmall(canvas, k, c, chosen) {
  const { g, width, height } = prepared(canvas), { x: t, y: v } = channelOf(k, c), [low, high] = spanOf(), reach = range(v);
  g.font = `11px ${FONT}`; g.fillStyle = colour.quiet; g.textBaseline = "middle"; g.textAlign = "center";
  if (!reach) { g.fillText("no value came", width / 2, height / 2); return; }
  const x = (at) => (at - low) / (high - low) * width, y = (at) => 2 + (reach[1] - at) / (reach[1] - reach[0]) * (height - 4);
  const faint = Math.min(0.25, 12 / meta.alerts.length);
  meta.alerts.forEach((a, n) => {
    if (a.lane !== k) return;
    g.fillStyle = colour[SEVERITY[a.severity]]; g.globalAlpha = n === chosen ? 0.6 : faint;
    g.fillRect(x(a.start), 0, Math.max(1.5, x(a.end) - x(a.start)), height);
  });
  g.globalAlpha = 1;
  stroke(g, v.length, (b) => x(t[b >> 1]), (b) => y(v[b]), colour.ink, 0.9);
}
