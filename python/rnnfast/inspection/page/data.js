// The data of the page: facts (JSON) and the units' values (bytes), both deflated and in base64.

const STEPS = 31; // a value is stored as a whole number from 0 to 2 * STEPS; STEPS stands for 0

async function inflate(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Returns the facts that report.py wrote, with the characters of the text and the values by unit.
async function loadData() {
  const facts = JSON.parse(new TextDecoder().decode(await inflate("facts")));
  const values = await inflate("values");
  facts.chars = Array.from(facts.text); // by code points, as in Python
  const n = facts.chars.length;
  facts.units.forEach((unit, u) => {
    unit.values = values.subarray(u * n, (u + 1) * n);
  });
  return facts;
}

// From -1 to 1: the value as a part of the unit's largest.
function part(unit, n) {
  return (unit.values[n] - STEPS) / STEPS;
}

function valueAt(unit, n) {
  return part(unit, n) * unit.scale;
}

// The truth of a concept at a character, from 0 to 1.
function truthAt(concept, n) {
  return concept.truth[n] / (concept.largest || 1);
}

// How well a unit tells a concept, from 0 for chance to 1: an AUC of 0.5 is chance.
function strength(concept, u) {
  const score = concept.score[u] ?? 0;
  return Math.max(0, concept.kind === "count" ? score : 2 * score - 1);
}

// The indices of the units by their score, the best first; those without a score are last.
function rankingOf(concept) {
  const score = (u) => concept.score[u] ?? -Infinity;
  concept.ranking ??= concept.score.map((_, u) => u).sort((a, b) => score(b) - score(a));
  return concept.ranking;
}
