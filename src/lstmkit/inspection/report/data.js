"use strict";
// What the page knows: unpacks blocks, looks up values, orders and finds units.

const QUANTITIES = ["input gate", "forget gate", "output gate", "candidate", "cell"];
const LEVELS = 254, NOTHING = 255;
const meta = JSON.parse(document.getElementById("meta").textContent);
const unpacked = new Map();

async function unpack(sample, layer) {
  const key = `${sample}-${layer}`;
  if (!unpacked.has(key)) unpacked.set(key, inflate(key, sample, layer));
  return unpacked.get(key);
}

async function inflate(key, sample, layer) {
  if (typeof DecompressionStream === "undefined")
    throw new Error("This browser cannot unpack the traces: please use one from 2023 or later.");
  const text = atob(document.getElementById(`block-${key}`).textContent);
  const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  return split(raw, meta.layers[layer], validSteps(sample, layer));
}

function validSteps(sample, layer) {
  return Math.min(meta.lengths[sample], meta.layers[layer].steps);
}

function split(raw, layer, steps) {
  const columns = Math.ceil(steps / layer.pool), exact = layer.pool > 1 ? layer.exact : [];
  let place = 0;
  const rows = (count, width) => {
    const part = raw.subarray(place, place + count * width);
    for (let r = 0; r < count; r++)
      for (let k = r * width + 1; k < (r + 1) * width; k++) part[k] += part[k - 1];
    place += count * width;
    return part;
  };
  const planes = QUANTITIES.map((_, q) => ({
    q, heat: rows(layer.units, columns), exact: rows(exact.length, steps), band: rows(3, columns),
  }));
  return { planes, columns, steps, pool: layer.pool, exactRow: new Map(exact.map((u, k) => [u, k])), layer };
}

function value(code, q, layer) {
  if (code === NOTHING || code === undefined) return NaN;
  const reach = layer.reach[q];
  return q < 3 ? code / LEVELS : (2 * code / LEVELS - 1) * reach;
}

function valueAt(data, q, step, unit) {
  if (step < 0 || step >= data.steps) return NaN;
  const plane = data.planes[q], row = data.exactRow.get(unit);
  const code = row === undefined
    ? plane.heat[unit * data.columns + Math.floor(step / data.pool)]
    : plane.exact[row * data.steps + step];
  return value(code, q, data.layer);
}

// A row as codes with the steps between neighbours: exact where the page has it.
function rowOf(data, q, unit) {
  const plane = data.planes[q], row = data.exactRow.get(unit);
  if (row === undefined)
    return { codes: plane.heat.subarray(unit * data.columns, (unit + 1) * data.columns), pool: data.pool };
  return { codes: plane.exact.subarray(row * data.steps, (row + 1) * data.steps), pool: 1 };
}

function orderOf(layer, by) {
  const units = Array.from({ length: layer.units }, (_, k) => k);
  if (by === "index") return units;
  if (by === "cluster") return [...layer.cluster];
  return units.sort((a, b) => layer[by][b] - layer[by][a] || a - b);
}

// "17, 40-44" or "tau>50" to units; throws with the reason where it is neither.
function findUnits(text, layer) {
  const found = new Set();
  for (const part of text.split(",").map((p) => p.trim()).filter(Boolean)) {
    const range = /^(\d+)(?:\s*-\s*(\d+))?$/.exec(part);
    const rule = /^(tau|selectivity|mean)\s*(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)$/.exec(part);
    if (range) addRange(found, +range[1], +(range[2] ?? range[1]), layer.units);
    else if (rule) addRule(found, layer[rule[1]], rule[2], +rule[3]);
    else throw new Error(`“${part}” is no unit: write 17, 40-44, or tau>50 (also selectivity, mean)`);
  }
  return found;
}

function addRange(found, first, last, units) {
  if (last >= units || first > last) throw new Error(`${first}-${last}: units go from 0 to ${units - 1}`);
  for (let u = first; u <= last; u++) found.add(u);
}

function addRule(found, values, sign, limit) {
  const holds = { "<": (v) => v < limit, ">": (v) => v > limit, "<=": (v) => v <= limit, ">=": (v) => v >= limit }[sign];
  values.forEach((v, u) => holds(v) && found.add(u));
}
