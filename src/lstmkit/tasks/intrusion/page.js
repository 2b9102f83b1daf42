const SEVERITIES = ["low", "medium", "high", "critical"];
const grade = (a) => SEVERITIES.indexOf(a.severity);
const FIRST = 300; // alerts in the list before "more" is asked for
let shown = meta.alerts, most = FIRST, chosen = null, under = null;

const stamp = (text) => text ? text.replace("T", " ").slice(0, 19) : "";
const ended = (address, port) => port < 0 ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
const place = (f) => `${ended(f.src, f.sport)} → ${ended(f.dst, f.dport)} ${f.proto}`;
const text = (a) => [a.host, a.class, a.severity, a.record, a.time, place(a.flow), ...a.reasons].join(" ").toLowerCase();
for (const a of meta.alerts) { a.at = Date.parse(a.time); a.text = text(a); }

const ORDERS = {
  worst: (a, b) => grade(b) - grade(a) || b.score - a.score,
  newest: (a, b) => (b.at || 0) - (a.at || 0),
  oldest: (a, b) => (a.at || 0) - (b.at || 0),
  host: (a, b) => collator.compare(a.host, b.host) || b.score - a.score,
};

function arrange() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean), named = at("class").value;
  shown = meta.alerts.filter((a) => (!named || a.class === named) && words.every((w) => a.text.includes(w)));
  shown.sort(ORDERS[at("sort").value]);
  most = FIRST;
  list();
  if (!shown.includes(chosen)) choose(shown[0] || null);
  draw();
}

function list() {
  at("alerts").replaceChildren(...shown.slice(0, most).map(entry));
  at("count").textContent = `${shown.length === meta.alerts.length ? "" : shown.length + " of "}${meta.alerts.length} alert${meta.alerts.length === 1 ? "" : "s"}`;
  at("none").hidden = shown.length > 0;
  at("more").hidden = shown.length <= most;
  mark();
}

function entry(a) {
  const element = made("div", { className: `alert ${a.severity}`, tabIndex: -1 },
    made("div", {}, made("span", { className: "first", textContent: `${a.class} · ${a.host}` }), made("span", { className: "fixed", textContent: a.score.toFixed(1) })),
    made("div", {}, made("span", { className: "second", textContent: a.reasons[0] || place(a.flow) }), made("span", { className: "fixed", textContent: stamp(a.time) })));
  element.setAttribute("role", "option");
  element.alert = a;
  element.addEventListener("click", () => choose(a));
  return element;
}

function mark() {
  for (const element of at("alerts").children) {
    const mine = element.alert === chosen;
    element.setAttribute("aria-selected", String(mine));
    element.tabIndex = mine ? 0 : -1;
  }
}

const ENDS = ["src", "sport", "dst", "dport", "proto", "service", "state"];

function cells(flow) {
  const names = [...new Set([...ENDS, ...Object.keys(flow)])].filter((name) => !["time", "record"].includes(name));
  const named = names.map((name) => [name, flow[name]]).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return named.map(([name, value]) => made("div", {}, made("dt", { textContent: name.replaceAll("_", " ") }), made("dd", { textContent: typeof value === "number" ? short(value) : value })));
}

function choose(a) {
  chosen = a;
  at("one").hidden = !a;
  mark();
  if (!a) return;
  at("name").textContent = `${a.class} from ${a.host}`;
  const since = a.begun ? ` since ${stamp(a.begun)}` : "";
  at("when").textContent = [stamp(a.time), `${a.severity}, score ${a.score.toFixed(2)}`, `${a.flows} alarming flow${a.flows === 1 ? "" : "s"}${since}`].filter(Boolean).join(" · ");
  at("reasons").replaceChildren(...a.reasons.map((r) => made("li", { textContent: r })));
  at("flow").replaceChildren(...cells(a.flow));
  const highest = Math.max(a.score, ...a.earlier.map((e) => e.score), 1e-9);
  at("earlier-head").hidden = at("earlier").hidden = !a.earlier.length;
  at("earlier").replaceChildren(made("tr", {}, ...["time", "from", "to", "state", "score", "record"].map((h) => made("th", { textContent: h }))), ...a.earlier.map((e) => {
    const bar = made("i"); bar.style.width = `${Math.round(70 * e.score / highest)}px`;
    return made("tr", {}, made("td", { textContent: stamp(e.time) }), made("td", { textContent: e.src }), made("td", { textContent: `${ended(e.dst, e.dport)} ${e.proto}` }), made("td", { textContent: e.state }), made("td", { className: "score" }, bar, e.score.toFixed(1)), made("td", { textContent: e.record }));
  }));
  at("records").textContent = [...a.earlier.map((e) => e.record), a.record].filter(Boolean).join(" ");
  draw();
}

function step(by) {
  const k = Math.max(0, Math.min(shown.length - 1, shown.indexOf(chosen) + by));
  if (!shown.length) return;
  if (k >= most) { most = k + FIRST; list(); }
  choose(shown[k]);
  const element = at("alerts").children[k];
  if (element) { element.focus(); element.scrollIntoView({ block: "nearest" }); }
}

// --- the whole time

const span = meta.curves.time.length ? [meta.curves.time[0] * 1000, meta.end * 1000] : [0, 1];
const LEFT = 44, BOTTOM = 22, TOP = 8;

function frame(width, height) {
  const scores = meta.curves.top_score.concat(meta.alerts.map((a) => a.score), [meta.curves.threshold * 1.2, 1]);
  const high = Math.max(...scores.slice(0, 1), scores.reduce((m, v) => Math.max(m, v), 0)) * 1.06;
  const x = (t) => LEFT + (t - span[0]) / Math.max(span[1] - span[0], 1) * (width - LEFT - 8);
  const y = (v) => height - BOTTOM - v / high * (height - BOTTOM - TOP);
  return { x, y, high };
}

function draw() {
  readColours("low", "medium", "high", "critical", "top");
  const { g, width, height } = prepared(at("timeline"));
  const { x, y, high } = frame(width, height), times = meta.curves.time.map((t) => t * 1000);
  const busiest = meta.curves.flows.reduce((m, v) => Math.max(m, v), 1), each = times.length > 1 ? x(times[1]) - x(times[0]) : 4;
  g.fillStyle = colour.rule;
  times.forEach((t, k) => { const tall = meta.curves.flows[k] / busiest * (height - BOTTOM - TOP) * 0.5; g.fillRect(x(t), height - BOTTOM - tall, Math.max(each - 0.5, 1), tall); });
  g.strokeStyle = colour.rule; g.lineWidth = 1; g.beginPath(); g.moveTo(LEFT, height - BOTTOM); g.lineTo(width - 8, height - BOTTOM); g.stroke();
  stroke(g, times.length, (k) => x(times[k]) + each / 2, (k) => y(meta.curves.top_score[k]), colour.top, 1.2);
  stroke(g, 2, (k) => k ? width - 8 : LEFT, () => y(meta.curves.threshold), colour.quiet, 1, [5, 4]);
  g.font = `12px ${FONT}`; g.fillStyle = colour.quiet; g.textAlign = "right"; g.textBaseline = "middle";
  for (const v of ticks(0, high, 5)) g.fillText(short(v), LEFT - 7, y(v));
  axis(g, x, width, height);
  for (const a of [...shown].sort((p, q) => grade(p) - grade(q))) if (!Number.isNaN(a.at)) dot(g, x(a.at), y(a.score), a);
}

function axis(g, x, width, height) {
  const hours = (span[1] - span[0]) / 3.6e6, unit = [0.05, 0.25, 1, 3, 6, 12, 24, 48, 168, 720].find((u) => hours / u <= 9) || 8760;
  g.textAlign = "center"; g.textBaseline = "alphabetic"; g.fillStyle = colour.quiet;
  for (let t = Math.ceil(span[0] / (unit * 3.6e6)) * unit * 3.6e6; t <= span[1]; t += unit * 3.6e6) {
    const iso = new Date(t).toISOString(), where = x(t);
    if (where > LEFT + 14 && where < width - 24) g.fillText(unit >= 24 || iso.slice(11, 16) === "00:00" ? iso.slice(5, 10) : iso.slice(11, 16), where, height - 5);
  }
}

function dot(g, x, y, a) {
  g.beginPath(); g.arc(x, y, a === chosen ? 6.5 : 4, 0, 7); g.fillStyle = colour[a.severity]; g.fill();
  if (a === chosen) { g.lineWidth = 2; g.strokeStyle = colour.ink; g.stroke(); }
}

function nearest(event) {
  const box = at("timeline").getBoundingClientRect(), { x, y } = frame(box.width, box.height);
  let best = null, least = 14 ** 2;
  for (const a of shown) {
    const d = (x(a.at) - event.offsetX) ** 2 + (y(a.score) - event.offsetY) ** 2;
    if (d < least) { least = d; best = a; }
  }
  return best;
}

at("timeline").addEventListener("mousemove", (event) => { under = nearest(event); at("under").textContent = under ? `${stamp(under.time)}  ${under.class} from ${under.host}, ${under.severity}: ${under.reasons[0] || ""}` : ""; });
at("timeline").addEventListener("click", (event) => { const a = nearest(event); if (a) { choose(a); step(0); } });
at("alerts").addEventListener("keydown", (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 }[event.key];
  if (by) { event.preventDefault(); step(by); }
});
document.addEventListener("keydown", (event) => { if (event.key === "/" && document.activeElement !== at("search")) { event.preventDefault(); at("search").focus(); } });
at("controls").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["sort", "class", "search"]) at(id).addEventListener("input", arrange);
at("more").addEventListener("click", () => { most += FIRST; list(); });
at("copy").addEventListener("click", () => {
  getSelection().selectAllChildren(at("records")); // seen, and copied by hand where there is no clipboard
  if (navigator.clipboard) navigator.clipboard.writeText(at("records").textContent).catch(() => {});
});
window.addEventListener("resize", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
for (const name of [...new Set(meta.alerts.map((a) => a.class))].sort()) at("class").append(made("option", { value: name, textContent: name }));
arrange();
