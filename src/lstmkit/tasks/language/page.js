// The page of a text: its tokens, what is told of one, and the lines that surprise most.

const text = at("text"), tip = at("tip");
const bits = new Float32Array(bytes(at("bits").textContent));
const likeliest = new Int32Array(bytes(at("likeliest").textContent));
const chances = new Float32Array(bytes(at("chances").textContent));
const levelOf = (b) => `s${Math.max(0, Math.min(meta.levels - 1, Math.floor(b / meta.top * meta.levels)))}`;
const VISIBLE = { " ": "␣", "\\n": "↵", "<eos>": "↵" };
const visible = (name) => VISIBLE[name] ?? name.replaceAll(" ", "␣");
const spans = [];
let chosen = null;

function percent(p) {
  if (p >= 0.0995) return `${Math.round(100 * p)} %`;
  return p >= 0.00095 ? `${(100 * p).toFixed(1)} %` : `${+(100 * p).toPrecision(1)} %`.replace("-", "−");
}

function spanOf(k, shown, part) {
  const span = made("span", { className: levelOf(bits[k]) }, shown);
  if (part) span.classList.add("part");
  span.dataset.k = k;
  return span;
}

// A token that does not complete a character is shown by its name.
function lineOf([first, last, mean], number) {
  const line = made("p"), box = made("div", { className: "line" });
  for (let k = first; k < last; k++) {
    const piece = meta.pieces[k];
    const span = piece === "" ? spanOf(k, meta.names[meta.tokens[k]], true) : spanOf(k, piece.replace(/\n/g, "↵\n").replace(/\n$/, ""), false);
    spans.push(span); line.append(span);
  }
  const told = { title: `${mean.toFixed(2)} bits a token` };
  box.append(made("b", told, String(number + 1)), made("i", { ...told, className: levelOf(mean) }), line);
  return box;
}

function row(name, chance, same) {
  const bar = made("i");
  bar.style.width = `${Math.max(1, 90 * chance)}px`;
  return [made("code", { className: same ? "same" : "" }, visible(name)), made("span", {}, percent(chance)), bar];
}

function tell(k) {
  const K = meta.likeliest, own = meta.tokens[k], name = visible(meta.names[own]);
  const head = made("div", { className: "came" }, ...row(meta.names[own], 2 ** -bits[k], true)), table = made("div");
  for (let j = k * K; j < k * K + K; j++) table.append(...row(meta.names[likeliest[j]], chances[j], likeliest[j] === own));
  tip.replaceChildren(made("p", {}, made("b", {}, `${bits[k].toFixed(2)} bits`)), head, made("p", { className: "quiet" }, "the likeliest here"), table);
  at("said").textContent = `${name}, ${bits[k].toFixed(2)} bits`;
}

function show(k) {
  spans[chosen]?.classList.remove("chosen");
  chosen = k;
  spans[k].classList.add("chosen");
  tell(k);
  tip.hidden = false;
  const [box] = spans[k].getClientRects(), own = tip.getBoundingClientRect(), width = document.documentElement.clientWidth;
  const under = box.bottom + own.height + 12 < window.innerHeight;
  tip.style.left = `${Math.max(4, Math.min(box.left, width - own.width - 8)) + window.scrollX}px`;
  tip.style.top = `${(under ? box.bottom + 7 : box.top - own.height - 7) + window.scrollY}px`;
}

function hide() {
  spans[chosen]?.classList.remove("chosen");
  tip.hidden = true;
}

function move(by) {
  const k = Math.max(0, Math.min(spans.length - 1, chosen === null ? 0 : chosen + by));
  spans[k].scrollIntoView({ block: "nearest" });
  show(k);
}

function go(place) {
  const box = text.children[place];
  text.querySelector(".sought")?.classList.remove("sought");
  hide();
  box.classList.add("sought");
  box.scrollIntoView({ block: "center" });
}

function start() {
  text.classList.toggle("prose", meta.prose);
  text.append(...meta.lines.map(lineOf));
  for (let k = 0; k < meta.levels; k++) at("scale").append(made("i", { className: `s${k}` }));
  at("end").textContent = `${meta.top} bits or more`;
  at("worst").append(...meta.worst.map(([place, words]) => {
    const mean = meta.lines[place][2];
    const told = made("span", {}, made("q", {}, words || "(nothing but blanks)"), made("i", {}, `line ${place + 1}`));
    const button = made("button", { type: "button" }, made("b", { className: levelOf(mean) }, mean.toFixed(2)), told);
    button.addEventListener("click", () => go(place));
    return made("li", {}, button);
  }));
  const point = ({ target }) => { if (target.dataset.k !== undefined && (tip.hidden || +target.dataset.k !== chosen)) show(+target.dataset.k); };
  for (const kind of ["pointermove", "pointerdown"]) text.addEventListener(kind, point); // not pointerover: scrolling by keys is no pointing
  text.addEventListener("pointerleave", hide);
  const acts = { ArrowRight: () => move(1), ArrowLeft: () => move(-1), Escape: hide };
  text.addEventListener("keydown", (event) => { if (acts[event.key]) { event.preventDefault(); acts[event.key](); } });
}

start();
