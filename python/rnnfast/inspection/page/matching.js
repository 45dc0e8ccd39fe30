// Select and match, after LSTMVis (Strobelt et al. 2018): the units that are on all over a selected
// span and off just outside, then other spans where the same units are on.

const MOST_MATCHES = 40;

// Returns 1 where a unit is on with a positive value, -1 with a negative one, 0 where it is off.
function side(unit, n, above) {
  const value = part(unit, n);
  return value > above ? 1 : value < -above ? -1 : 0;
}

// Returns {unit, u, side} of each unit that is on, on one side, all over [from, to).
function chooseUnits(data, [from, to], above, offOutside) {
  const chosen = [];
  data.units.forEach((unit, u) => {
    const first = side(unit, from, above);
    if (first === 0) return;
    for (let n = from + 1; n < to; n++) if (side(unit, n, above) !== first) return;
    const outside = [from - 1, to].filter((n) => n >= 0 && n < data.chars.length);
    if (offOutside && outside.some((n) => side(unit, n, above) === first)) return;
    chosen.push({ unit, u, side: first });
  });
  return chosen;
}

// Returns matches {from, to, agree}, best first: those with the most chosen units on all over,
// and among these those of the most similar length. Spans do not overlap each other or the
// selected one. Each is as long as its units stay on, and has at least half of the chosen units.
function findMatches(data, [from, to], above, chosen) {
  const length = data.chars.length;
  const counts = new Uint16Array(length);
  for (const one of chosen) {
    for (let n = 0; n < length; n++) if (side(one.unit, n, above) === one.side) counts[n]++;
  }
  const taken = new Uint8Array(length).fill(1, from, to);
  const found = [];
  const least = Math.max(1, Math.ceil(chosen.length / 2));
  for (let agree = chosen.length; agree >= least && found.length < MOST_MATCHES; agree--) {
    for (let n = 0; n < length; n++) {
      if (counts[n] !== agree || taken[n]) continue;
      const on = chosen.filter((one) => side(one.unit, n, above) === one.side);
      const holds = (k) =>
        k >= 0 && k < length && !taken[k] && on.every((one) => side(one.unit, k, above) === one.side);
      let first = n;
      let last = n;
      while (holds(first - 1)) first--;
      while (holds(last + 1)) last++;
      taken.fill(1, first, last + 1);
      found.push({ from: first, to: last + 1, agree });
    }
  }
  const unlike = (match) => Math.abs(match.to - match.from - (to - from));
  found.sort((a, b) => b.agree - a.agree || unlike(a) - unlike(b) || a.from - b.from);
  return found.slice(0, MOST_MATCHES);
}

class Matching {
  constructor(data, state, { show, go, pane }) {
    Object.assign(this, { data, state, show, go, pane });
    byId("find").addEventListener("click", () => this.find());
    byId("on-above").addEventListener("input", () => this.update());
    byId("off-outside").addEventListener("change", () => this.update());
  }

  // Shows the units of the selected span; matches of an earlier one go away.
  update() {
    const { span } = this.state;
    byId("match-controls").hidden = span === null;
    byId("hint").hidden = span !== null;
    byId("matches").replaceChildren();
    byId("match-summary").textContent = "";
    this.pane.unmark("match");
    if (span === null) return;
    this.above = Number(byId("on-above").value);
    byId("on-above-value").textContent = `${Math.round(100 * this.above)}% of a unit's largest value`;
    this.chosen = chooseUnits(this.data, span, this.above, byId("off-outside").checked);
    byId("selected").replaceWith(this.selected(span));
    byId("chosen-title").textContent = this.chosen.length
      ? `Units that are on all over it: ${this.chosen.length} of ${this.data.units.length}`
      : "No unit is on all over it. Choose a lower limit, or a shorter piece.";
    const chips = this.chosen.map(({ unit, u, side: which }) =>
      button(`${unit.name} ${which > 0 ? "+" : "−"}`, () => this.show(u), { class: "chip code" }),
    );
    byId("chosen").replaceChildren(...chips.slice(0, 60));
    byId("find").disabled = this.chosen.length === 0;
  }

  selected([from, to]) {
    const shown = snippet(this.data, this.state.unit, from, Math.min(to, from + 80), 0, 0);
    shown.id = "selected";
    return shown;
  }

  find() {
    const { span } = this.state;
    if (span === null || this.chosen.length === 0) return;
    const found = findMatches(this.data, span, this.above, this.chosen);
    byId("match-summary").textContent = found.length
      ? `${found.length} ${found.length < MOST_MATCHES ? "matches" : "best matches"}`
      : "No other place has half of these units on.";
    this.pane.unmark("match");
    for (const { from, to } of found) this.pane.mark("match", from, to);
    byId("matches").replaceChildren(...found.map((match) => this.item(match)));
  }

  item({ from, to, agree }) {
    const shown = snippet(this.data, this.state.unit, from, Math.min(to, from + 60), 24, 12);
    const count = element("span", { class: "badge code" }, `${agree}/${this.chosen.length}`);
    const label = `${agree} of ${this.chosen.length} units agree; go to line ${this.pane.placeOf(from)[0]}`;
    const jump = button("", () => this.go(from), { "aria-label": label, title: label });
    jump.append(count, shown);
    return element("li", {}, jump);
  }
}
