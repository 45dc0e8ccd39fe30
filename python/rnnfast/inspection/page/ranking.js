// The concepts with their best units, and the list of all units.

const SHOWN_UNITS = 5; // of a concept

class Ranking {
  constructor(data, state, { choose, show }) {
    Object.assign(this, { data, state, choose, show });
    this.list = byId("units");
    byId("concepts").replaceChildren(...data.concepts.map((concept) => this.card(concept)));
    this.options = data.units.map((unit, u) => this.option(unit, u));
    this.list.append(...this.options);
    this.list.addEventListener("keydown", (event) => this.pressed(event));
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.show(this.options.indexOf(option));
    });
    byId("filter").addEventListener("input", (event) => this.filter(event.target.value));
    const { left_out: out, total } = data;
    byId("left-out").hidden = out === 0;
    byId("left-out").textContent = `${out} of ${total} units are left out: those that rank lowest `
      + "for every concept. All of them would make the file larger than 5 MB.";
  }

  card(concept) {
    const [best] = rankingOf(concept);
    const name = button(concept.name, () => this.choose(concept, best), { class: "link name" });
    const bar = element("span", { class: "bar" });
    bar.style.setProperty("--part", strength(concept, best));
    const chips = rankingOf(concept).slice(0, SHOWN_UNITS).map((u) => this.chip(concept, u));
    const card = element("li", {}, name, element("span", { class: "code score" },
      `${measure(concept)} ${scoreText(concept, best)}`), bar);
    card.append(element("span", { class: "chips" }, ...chips));
    const notes = [this.chance(concept, best), this.probe(concept)].filter(Boolean);
    if (notes.length) card.append(element("span", { class: "quiet" }, notes.join(" · ")));
    concept.card = card;
    return card;
  }

  chip(concept, u) {
    const { name } = this.data.units[u];
    const title = `${measure(concept)} ${scoreText(concept, u)} ${condition(concept, u)}`.trim();
    return button(name, () => this.choose(concept, u), { class: "chip code", title,
      "aria-label": `${name}, ${title}` });
  }

  chance(concept, best) {
    const p = concept.p_value[best];
    if (p === null) return "";
    const limit = condition(concept, best);
    return `${limit ? `yes ${limit}, ` : ""}p ${p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`}`;
  }

  probe(concept) {
    const { units, score } = concept.probe ?? { units: [] };
    if (units.length < 2) return ""; // one unit needs no others
    return `${units.length} units together: ${score.toFixed(3)}`;
  }

  option(unit, u) {
    const best = this.data.concepts[unit.best];
    const what = best ? `${best.name} ${scoreText(best, u)}` : "";
    return element("div", { role: "option", id: `unit-${u}`, "aria-selected": "false" },
      element("span", { class: "code" }, unit.name), element("span", { class: "quiet" }, what));
  }

  filter(words) {
    const wanted = words.toLowerCase().trim();
    for (const option of this.options) {
      option.hidden = !option.textContent.toLowerCase().includes(wanted);
    }
  }

  // Marks the unit and the concept of the state.
  mark() {
    const { u, concept } = this.state;
    for (const one of this.list.querySelectorAll("[aria-selected=true]")) {
      one.setAttribute("aria-selected", "false");
    }
    const option = this.options[u];
    option.setAttribute("aria-selected", "true");
    this.list.setAttribute("aria-activedescendant", option.id);
    const top = option.offsetTop; // in the list, which is positioned
    const below = top + option.offsetHeight > this.list.scrollTop + this.list.clientHeight;
    if (top < this.list.scrollTop || below) this.list.scrollTop = top - this.list.clientHeight / 2;
    for (const one of this.data.concepts) {
      const chosen = one === concept;
      one.card.classList.toggle("current", chosen);
      one.card.querySelector(".name").setAttribute("aria-pressed", String(chosen));
    }
  }

  pressed(event) {
    const there = this.options.map((_, u) => u).filter((u) => !this.options[u].hidden);
    const place = there.indexOf(this.state.u);
    const steps = {
      ArrowUp: Math.max(0, place - 1),
      ArrowDown: Math.min(there.length - 1, place + 1),
      Home: 0,
      End: there.length - 1,
    };
    if (!(event.key in steps) || there.length === 0) return;
    event.preventDefault();
    this.show(there[steps[event.key]]);
  }
}
