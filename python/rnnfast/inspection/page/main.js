// Joins the parts: the state of the page, and what follows when it changes.

function start(data) {
  const state = { u: 0, unit: data.units[0], concept: null, cursor: 0, span: null, anchor: null };
  state.underline = byId("underline").checked;
  addLevels();
  byId("summary").textContent = summary(data);

  const pane = new TextPane(data, state, (what) => {
    if (what === "cursor") panel.showCurve();
    else if (what === "span") matching.update();
    else matching.find();
  });
  const go = (n, scroll = "center") => pane.move(n, { scroll });
  const panel = new UnitPanel(data, state, { go, choose, pane });
  const matching = new Matching(data, state, { show, go, pane });
  const ranking = new Ranking(data, state, { choose, show });

  function refresh() {
    const { unit, concept } = state;
    byId("unit-name").textContent = unit.name;
    byId("lowest").textContent = signed(-unit.scale);
    byId("highest").textContent = signed(unit.scale);
    byId("legend").setAttribute("aria-label",
      `Colours from blue, ${signed(-unit.scale)}, to red, ${signed(unit.scale)}`);
    byId("concept").value = concept ? concept.name : "";
    pane.repaint();
    pane.describe(state.cursor);
    panel.show();
    ranking.mark();
  }

  function show(u) {
    state.u = u;
    state.unit = data.units[u];
    refresh();
  }

  function choose(concept, u = state.u) {
    state.concept = concept;
    show(u);
  }

  const neighbour = (step) => show((state.u + step + data.units.length) % data.units.length);
  byId("previous").addEventListener("click", () => neighbour(-1));
  byId("next").addEventListener("click", () => neighbour(1));
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input[type=search]") || event.ctrlKey || event.metaKey) return;
    if (event.key === ",") neighbour(-1);
    if (event.key === ".") neighbour(1);
  });
  byId("underline").addEventListener("change", (event) => {
    state.underline = event.target.checked;
    pane.repaint();
  });
  byId("concept").append(
    element("option", { value: "" }, "no concept"),
    ...data.concepts.map(({ name }) => element("option", { value: name }, name)),
  );
  byId("concept").addEventListener("change", (event) => {
    state.concept = data.concepts.find(({ name }) => name === event.target.value) ?? null;
    refresh();
  });

  const [first] = data.concepts;
  if (first) choose(first, rankingOf(first)[0]);
  else refresh();
  pane.move(first ? firstChange(first) : 0, { scroll: "center" });
  matching.update();
}

function summary(data) {
  const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  const end = data.start + data.chars.length;
  const where = `characters ${data.start.toLocaleString("en")} to ${end.toLocaleString("en")}`;
  const held = data.start >= data.held_out ? ", held out when thresholds were chosen" : "";
  return `${count(data.total, "unit")}, ${count(data.concepts.length, "concept")}; `
    + `the text shows ${where} of ${data.length.toLocaleString("en")}${held}.`;
}

// A place worth showing first: where the concept first changes.
function firstChange(concept) {
  const n = concept.truth.findIndex((value, k) => k > 0 && value !== concept.truth[k - 1]);
  return Math.max(0, n);
}

loadData().then(start).catch((error) => {
  const notice = byId("failure");
  notice.hidden = false;
  notice.textContent = `The report could not be shown: ${error.message}. `
    + "It needs a browser of 2023 or later.";
  console.error(error);
});
