// The page of alerts: its list, the chosen alert, the whole time.

const total = meta.alerts.length, list = at("alerts");
const state = { sort: "worst", order: [], chosen: null, cursor: null, series: 0 };
let data = null, frame = null, timeline = null, waiting = false;

const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const brief = (text, most = 30) => text.length <= most ? text : `${text.slice(0, Math.ceil(most * 0.6) - 1)}…${text.slice(-Math.floor(most * 0.4))}`;
const causesOf = (a) => a.channels.map(([name]) => name);

const items = meta.alerts.map((a, n) => {
  const severity = SEVERITY[a.severity], item = made("div", { className: `alert ${severity}`, id: `alert-${n}`, role: "option", tabIndex: -1 });
  const first = made("div", {}, made("span", { className: "first" }, a.began), made("span", { className: "fixed" }, a.open ? `${a.long}, open` : a.long));
  const second = made("div", {}, made("span", { className: "second" }, made("b", { className: `severity ${severity}` }, severity), [a.series, causesOf(a).slice(0, 3).join(", ")].filter(Boolean).map((t) => ` · ${t}`).join("")), made("span", { className: "fixed", title: "score at its peak, and its level" }, `${short1(a.peak)} over ${short1(a.level)}`));
  item.append(first, second);
  item.title = a.series;
  item.setAttribute("aria-selected", "false");
  item.dataset.n = n;
  return item;
});
const texts = meta.alerts.map((a) => [a.series, SEVERITY[a.severity], a.began, a.ended, ...causesOf(a), ...a.reasons].join(" \n ").toLowerCase());

function short1(v) { return v === null ? "–" : v.toFixed(1); }

const above = (n) => meta.alerts[n].above ?? Infinity;
const orders = {
  worst: (a, b) => above(a) === above(b) ? a - b : above(b) - above(a),
  newest: (a, b) => meta.alerts[b].start - meta.alerts[a].start || a - b,
  oldest: (a, b) => meta.alerts[a].start - meta.alerts[b].start || a - b,
  longest: (a, b) => meta.alerts[b].size - meta.alerts[a].size || a - b,
};

function arrange() {
  const words = at("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  state.order = items.map((_, n) => n).filter((n) => words.every((w) => texts[n].includes(w))).sort(orders[state.sort]);
  list.replaceChildren(...state.order.map((n) => items[n]));
  at("none").hidden = state.order.length > 0;
  at("none").textContent = total ? "No alert has these words." : "There is no alert.";
  at("count").textContent = state.order.length < total ? `${state.order.length} of ${plural(total, "alert")}` : plural(total, "alert");
  if (state.order.length && !state.order.includes(state.chosen)) choose(state.order[0]); else { ends(); redraw(); }
}

function ends() {
  const place = state.order.indexOf(state.chosen);
  at("before").disabled = place <= 0; at("after").disabled = place < 0 || place === state.order.length - 1;
}

function choose(n, focus = false) {
  if (state.chosen !== null) { items[state.chosen].setAttribute("aria-selected", "false"); items[state.chosen].tabIndex = -1; }
  state.chosen = n; state.cursor = null; data = unpackAlert(n);
  items[n].setAttribute("aria-selected", "true"); items[n].tabIndex = 0;
  if (focus) items[n].focus({ preventScroll: true });
  into(items[n]); tell(n); table(n); ends(); read(); redraw();
  const { lane } = meta.alerts[n];
  if (lane !== null && lane !== state.series) { state.series = lane; at("which").value = lane; }
  if (at("all").open) all();
}

// The list scrolls by itself, never the page.
function into(item) {
  const box = list.getBoundingClientRect(), own = item.getBoundingClientRect();
  if (own.top < box.top) list.scrollTop -= box.top - own.top; else if (own.bottom > box.bottom) list.scrollTop += own.bottom - box.bottom;
}

function turn(step, focus = false) {
  const place = state.order.indexOf(state.chosen), next = Math.max(0, Math.min(state.order.length - 1, place + step));
  if (state.order.length && next !== place) choose(state.order[next], focus);
}

// The words about the chosen alert.
function tell(n) {
  const a = meta.alerts[n], severity = SEVERITY[a.severity], drawn = meta.drawn[n];
  at("one").hidden = false; at("one").className = severity;
  at("name").replaceChildren(made("span", { className: `severity ${severity}` }, `${severity} alert`), a.series ? `: ${a.series}` : "");
  at("when").textContent = (a.rows > 1 ? `${a.began} to ${a.ended}` : a.began) + (meta.clock === "number" || a.long.endsWith("row") ? `, ${a.long}` : `, ${a.long} (${plural(a.rows, "row")})`) + (a.open ? ", still open" : "");
  at("how").textContent = `Score ${short1(a.peak)}, level ${short1(a.level)}: ${a.rarity} is at least as unusual. Peak at ${clock(a.peaked)}.`;
  const reasons = a.reasons.length ? a.reasons : ["No reason was given."];
  at("reasons").replaceChildren(...reasons.map((r) => made("li", {}, r)), ...(a.moreReasons ? [made("li", {}, `and ${a.moreReasons} more`)] : []));
  at("thinned").textContent = drawn.thinned > 1 ? `Of every ${drawn.thinned} rows the lowest and the highest are drawn.` : "";
  at("expects").hidden = !drawn.expects;
  shares(a.channels, "Share of the alert", a.more);
}

function shares(list, head, more = 0) {
  const most = Math.max(1e-9, ...list.map(([, v]) => v ?? 0));
  at("shares-head").textContent = head;
  at("shares").replaceChildren(...list.map(([name, v, text]) => {
    const bar = made("i");
    bar.style.width = `${100 * Math.max(0, v ?? 0) / most}%`;
    return made("div", { className: "share" }, made("span", { title: name }, brief(name)), made("div", {}, bar), made("span", {}, text ?? percent(v)));
  }), ...(more ? [made("p", { className: "quiet" }, `and ${plural(more, "channel")} more`)] : []));
}

function full(v) {
  if (v !== v) return "";
  return Number.isInteger(v) ? String(v).replace("-", "−") : Math.abs(v) >= 1e5 && Math.abs(v) < 1e12 ? v.toFixed(2).replace("-", "−") : String(+v.toPrecision(6)).replace("-", "−");
}

function table(n) {
  const t = meta.tables[n], rows = tableOf(n), labelled = meta.drawn[n].labelled, a = meta.alerts[n];
  const head = made("tr", {}, made("th", { scope: "col", className: "cause" }, "time"), made("th", { scope: "col", className: "cause" }, "score"), ...(labelled ? [made("th", { scope: "col", className: "cause" }, "known")] : []),
    ...t.columns.map((name, c) => made("th", { scope: "col", className: c < t.causes ? "cause" : "", title: name }, brief(name, 24))));
  const body = Array.from({ length: t.rows }, (_, r) => {
    const place = t.first + r, row = made("tr", { className: rows.time[r] === a.peaked ? "peak" : place >= t.alert[0] && place <= t.alert[1] ? "inside" : "" });
    row.append(made("td", {}, clock(rows.time[r])), made("td", { className: rows.score[r] > rows.level[r] ? "over" : "" }, decimals(rows.score[r])));
    if (labelled) row.append(made("td", {}, rows.label[r] > 0 ? "yes" : rows.label[r] === 0 ? "no" : ""));
    row.append(...rows.values.map((v) => made("td", {}, full(v[r]))));
    return row;
  });
  at("table").replaceChildren(made("thead", {}, head), made("tbody", {}, ...body));
  at("rows-told").textContent = `Values as they came; shaded rows are the alert${t.left ? `; ${plural(t.left, "channel")} left out` : ""}.`;
}

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    timeline = drawTimeline(at("timeline"), state.chosen, state.order);
    if (state.chosen !== null) at("curves").style.height = `${alertHeight(state.chosen)}px`;
    if (state.chosen !== null) frame = drawAlert(at("curves"), state.chosen, data, state.cursor);
  });
}

// Only the cursor has moved.
function point(row) {
  state.cursor = Math.max(0, Math.min(data.points - 1, row));
  frame = drawAlert(at("curves"), state.chosen, data, state.cursor);
  read();
}

function values(row) {
  const found = [["", clock(meta.clock === "number" ? Math.round(data.x[row]) : data.x[row])], ["score", decimals(data.score[row])], ["level", decimals(data.level[row])]];
  if (data.label[row] > 0) found.push(["", "known anomaly"]);
  for (const c of data.channels) found.push([c.name, short(c.values[row]) + (c.expected[row] === c.expected[row] ? `, expected ${short(c.expected[row])}` : "")]);
  return found;
}

function read() {
  const a = meta.alerts[state.chosen], row = state.cursor;
  if (row === null) { at("readout").textContent = "Move over the curves to read their values."; shares(a.channels, "Share of the alert", a.more); return; }
  at("readout").replaceChildren(...values(row).map(([name, text]) => made("span", {}, ...(name ? [made("i", { title: name }, brief(name, 40))] : []), text)));
  shares(data.channels.map((c) => [c.name, c.parts[row], c.parts[row] === c.parts[row] ? c.parts[row].toFixed(2) : "–"]), `Contribution to the score at ${clock(meta.clock === "number" ? Math.round(data.x[row]) : data.x[row])}`);
}

// Every channel of a series, drawn when it comes near.
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) if (isIntersecting) drawSmall(target, state.series, +target.dataset.c, state.chosen);
}, { rootMargin: "300px 0px" });

function all() {
  const names = meta.small[state.series], left = meta.dropped[state.series];
  near.disconnect();
  at("small").replaceChildren(...names.map((name, c) => { const canvas = made("canvas", { role: "img", ariaLabel: name }); canvas.dataset.c = c; near.observe(canvas); return made("div", {}, made("span", { title: name }, brief(name, 36)), canvas); }));
  at("all-told").textContent = `The lowest and the highest of each stretch; those that caused most alerts first${left ? `; ${plural(left, "channel")} left out` : ""}.`;
}

function pixel(event, canvas) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

list.addEventListener("click", (event) => { const item = event.target.closest(".alert"); if (item) choose(+item.dataset.n, true); });
list.addEventListener("keydown", (event) => {
  const acts = { ArrowUp: () => turn(-1, true), ArrowDown: () => turn(1, true), Home: () => turn(-total, true), End: () => turn(total, true), Enter: () => at("curves").focus() };
  if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
});
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); at("search").focus(); }
  if (event.key === "Escape" && event.target === at("search")) { at("search").value = ""; arrange(); }
});
at("curves").addEventListener("keydown", (event) => {
  const from = state.cursor ?? nearestTo(data.x, meta.alerts[state.chosen].peaked);
  const acts = { ArrowLeft: () => point(state.cursor === null ? from : from - 1), ArrowRight: () => point(state.cursor === null ? from : from + 1), PageUp: () => turn(-1), PageDown: () => turn(1), Home: () => point(0), End: () => point(data.points - 1) };
  if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
});
at("curves").addEventListener("pointermove", (event) => { if (frame) point(frame.row(pixel(event, at("curves"))[0])); });
at("curves").addEventListener("pointerleave", () => { if (document.activeElement !== at("curves")) { state.cursor = null; read(); redraw(); } });
at("timeline").addEventListener("pointermove", (event) => {
  if (!timeline) return;
  const place = pixel(event, at("timeline")), n = timeline.alert(...place);
  at("timeline").style.cursor = n === null ? "default" : "pointer";
  at("under").textContent = n === null ? timeline.told(...place) : `${SEVERITY[meta.alerts[n].severity]} alert · ${[meta.alerts[n].series, meta.alerts[n].began, meta.alerts[n].long, causesOf(meta.alerts[n]).slice(0, 3).join(", ")].filter(Boolean).join(" · ")}`;
});
at("timeline").addEventListener("pointerleave", () => { at("under").textContent = ""; });
at("timeline").addEventListener("click", (event) => { const n = timeline && timeline.alert(...pixel(event, at("timeline"))); if (n !== null) choose(n); });
at("before").addEventListener("click", () => turn(-1));
at("after").addEventListener("click", () => turn(1));
at("controls").addEventListener("submit", (event) => event.preventDefault());
at("sort").addEventListener("change", (event) => { state.sort = event.target.value; arrange(); });
at("search").addEventListener("input", arrange);
at("which").addEventListener("change", (event) => { state.series = +event.target.value; all(); });
at("all").addEventListener("toggle", () => { if (at("all").open) all(); });

function repaint() {
  readColours("expected", "label", ...SEVERITY);
  at("timeline").style.height = `${timelineHeight()}px`;
  redraw();
  if (at("all").open) all();
}

function start() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  window.addEventListener("resize", repaint);
  at("time").hidden = !meta.lanes.length;
  at("labelled").hidden = !meta.labelled.some(Boolean);
  at("all").hidden = !meta.lanes.length;
  at("which-label").hidden = meta.lanes.length < 2;
  at("which").append(...meta.lanes.map((name, k) => made("option", { value: k }, name || `series ${k + 1}`)));
  at("controls").hidden = !total;
  arrange(); repaint();
}

window.lstmkit = Object.freeze({ state: () => structuredClone(state), values: (n, row) => { const old = data; data = unpackAlert(n); try { return values(row); } finally { data = old; } } });
start();
