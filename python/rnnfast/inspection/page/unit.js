// What is known about one unit: its values over a line, scores, extremes and weights.

const WIDTH = 13; // of a character in the curve
const HALF = 56; // height of the curve above and below 0
const LONGEST = 160; // characters of a line that the curve shows
const EXTREMES = 5;

class UnitPanel {
  constructor(data, state, { go, choose, pane }) {
    Object.assign(this, { data, state, go, choose, pane });
    this.gate = data.gates[0]?.name;
  }

  // Shows all that depends on the unit, but not on the cursor.
  show() {
    const { unit, u } = this.state;
    byId("unit-title").textContent = unit.name;
    byId("tells").textContent = this.sentence(unit, u);
    this.showScores(u);
    this.showExtremes(unit);
    this.showGates();
    this.showWeights();
    this.showCurve();
  }

  sentence(unit, u) {
    const best = this.data.concepts[unit.best];
    if (best === undefined) {
      const size = `Its largest value, up or down, is ${unit.scale.toFixed(2)}.`;
      return this.data.concepts.length ? `It tells none of the concepts for certain. ${size}` : size;
    }
    const limit = condition(best, u);
    const how = limit ? `, where it is ${limit}` : "";
    return `Best at telling “${best.name}”${how} (${measure(best)} ${scoreText(best, u)}).`;
  }

  showScores(u) {
    const sorted = [...this.data.concepts].sort((a, b) => strength(b, u) - strength(a, u));
    const rows = sorted.map((concept) => {
      const bar = element("span", { class: "bar" });
      bar.style.setProperty("--part", strength(concept, u));
      const label = button(concept.name, () => this.choose(concept), { class: "link" });
      const number = `${measure(concept)} ${scoreText(concept, u)}`;
      const detail = element("span", { class: "code quiet" }, condition(concept, u));
      return element("li", {}, label, detail, bar, element("span", { class: "code" }, number));
    });
    byId("scores").replaceChildren(...rows);
  }

  // Lists the characters with the largest and the smallest values, far enough from each other.
  showExtremes(unit) {
    const order = byValue(unit);
    for (const [id, sequence] of [["largest", order.slice().reverse()], ["smallest", order]]) {
      const places = [];
      for (const n of sequence) {
        if (places.length === EXTREMES) break;
        if (places.every((m) => Math.abs(n - m) > 40)) places.push(n);
      }
      byId(id).replaceChildren(...places.map((n) => this.place(unit, n)));
    }
  }

  place(unit, n) {
    const value = signed(valueAt(unit, n));
    const label = `${value} at line ${this.pane.placeOf(n)[0]}: go there`;
    const jump = button("", () => this.go(n), { "aria-label": label, title: label });
    jump.append(element("span", { class: "badge code" }, value), snippet(this.data, unit, n, n + 1));
    return element("li", {}, jump);
  }

  // Draws the values over the line of the cursor, with the truth of the concept and the threshold.
  showCurve() {
    const { state, data, pane } = this;
    const { unit, u, concept, cursor } = state;
    const row = pane.rowOf(cursor);
    let from = pane.rows[row];
    const end = pane.rowEnd(row);
    if (end - from > LONGEST) {
      from = Math.max(from, Math.min(cursor - LONGEST / 2, end - LONGEST)) | 0;
    }
    const to = Math.min(end, from + LONGEST);
    const width = Math.max(1, to - from) * WIDTH;
    const height = 2 * HALF + 26;
    const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
    const y = (value) => HALF + 4 - value * HALF;
    const x = (n) => (n - from) * WIDTH;
    svg.append(
      drawing("rect", { class: "here", x: x(cursor), y: 0, width: WIDTH, height }),
      ...this.truths(from, to, x, y),
      ...range(from, to).map((n) => this.column(n, x(n), y)),
      drawing("line", { class: "axis", x1: 0, x2: width, y1: y(0), y2: y(0) }),
      drawing("polyline", {
        class: "values",
        points: range(from, to).map((n) => `${x(n) + WIDTH / 2},${y(part(unit, n))}`).join(" "),
      }),
    );
    const threshold = concept && concept.threshold[u];
    if (threshold !== null && Math.abs(threshold) <= unit.scale) {
      const at = y(threshold / unit.scale);
      svg.append(drawing("line", { class: "threshold", x1: 0, x2: width, y1: at, y2: at }));
    }
    const box = byId("curve");
    box.replaceChildren(svg);
    const text = data.chars.slice(from, to).join("").trim();
    box.setAttribute("aria-label", `${unit.name} over line ${pane.placeOf(from)[0]}, “${text}”: `
      + `from ${signed(this.least(from, to))} to ${signed(this.most(from, to))}`);
    const middle = x(cursor) - box.clientWidth / 2;
    if (x(cursor) < box.scrollLeft || x(cursor) > box.scrollLeft + box.clientWidth - WIDTH) {
      box.scrollLeft = middle;
    }
  }

  least(from, to) {
    return Math.min(...range(from, to).map((n) => valueAt(this.state.unit, n)));
  }

  most(from, to) {
    return Math.max(...range(from, to).map((n) => valueAt(this.state.unit, n)));
  }

  // One character of the curve: a bar from 0 and its letter; a click moves the cursor.
  column(n, left, y) {
    const value = part(this.state.unit, n);
    const group = drawing("g", { onclick: () => this.go(n, "nearest") });
    group.append(
      drawing("rect", { class: "hit", x: left, y: 0, width: WIDTH, height: 2 * HALF + 26 }),
      drawing("rect", {
        class: value < 0 ? "negative" : "positive",
        x: left + 1.5,
        y: Math.min(y(0), y(value)),
        width: WIDTH - 3,
        height: Math.abs(y(value) - y(0)),
      }),
      drawing("text", { x: left + WIDTH / 2, y: 2 * HALF + 22 }, letter(this.data.chars[n])),
    );
    return group;
  }

  // The truth of the concept: bands where it holds, or a stepped line of counts.
  truths(from, to, x, y) {
    const { concept } = this.state;
    if (!concept) return [];
    if (concept.kind === "count") {
      const step = (n) => `${x(n)},${y(truthAt(concept, n))} ${x(n + 1)},${y(truthAt(concept, n))}`;
      return [drawing("polyline", { class: "count", points: range(from, to).map(step).join(" ") })];
    }
    const held = range(from, to).filter((n) => concept.truth[n]);
    return held.map((n) =>
      drawing("rect", { class: "held", x: x(n), y: 2 * HALF + 7, width: WIDTH, height: 3 }),
    );
  }

  showGates() {
    const buttons = this.data.gates.map(({ name }) =>
      button(name, () => this.chooseGate(name), {
        class: "chip code",
        "aria-pressed": String(name === this.gate),
      }),
    );
    byId("gates").replaceChildren(...(buttons.length > 1 ? buttons : []));
  }

  chooseGate(name) {
    this.gate = name;
    for (const one of byId("gates").children) {
      one.setAttribute("aria-pressed", String(one.textContent === name));
    }
    this.showWeights();
  }

  showWeights() {
    const { u } = this.state;
    const gate = this.data.gates.find(({ name }) => name === this.gate);
    this.bars("input-weights", gate?.weights[u], "It reads the layer below, not characters.");
    this.bars("output-weights", this.data.outputs[u], "The layer above reads it, not the output.");
  }

  // Bars of weights [character, weight], the largest first.
  bars(id, weights, otherwise) {
    if (!weights) {
      byId(id).replaceChildren(element("p", { class: "quiet" }, otherwise));
      return;
    }
    const largest = Math.max(...weights.map(([, weight]) => Math.abs(weight))) || 1;
    const rows = weights.map(([c, weight]) => {
      const bar = element("span", { class: weight < 0 ? "bar negative" : "bar positive" });
      bar.style.setProperty("--part", Math.abs(weight) / largest);
      const char = element("span", { class: "code key" }, spell(this.data.vocabulary[c]));
      return element("li", {}, char, bar, element("span", { class: "code" }, signed(weight)));
    });
    const half = Math.ceil(rows.length / 2);
    byId(id).replaceChildren(
      element("ol", { "aria-label": "largest weights" }, ...rows.slice(0, half)),
      element("ol", { "aria-label": "smallest weights" }, ...rows.slice(half)),
    );
  }
}

function range(from, to) {
  return Array.from({ length: to - from }, (_, k) => from + k);
}

function letter(char) {
  const spelled = spell(char);
  return spelled.length > 2 ? "▯" : spelled;
}

// The characters of the text sorted by the value of a unit, the smallest first; those of equal
// value in the order of the text.
function byValue(unit) {
  const starts = new Uint32Array(2 * STEPS + 2);
  for (const value of unit.values) starts[value + 1]++;
  for (let k = 1; k < starts.length; k++) starts[k] += starts[k - 1];
  const sorted = new Uint32Array(unit.values.length);
  unit.values.forEach((value, n) => {
    sorted[starts[value]++] = n;
  });
  return sorted;
}
