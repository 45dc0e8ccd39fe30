// Makers of elements. Text only ever enters the page as text nodes, never as markup.

const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

function setAttributes(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) target.addEventListener(name.slice(2), value);
    else if (value !== null) target.setAttribute(name, value);
  }
}

function button(label, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, label);
}

const NAMES = { "\n": "↵", "\r": "␍", "\t": "⇥", " ": "␣" };

// A visible form of a character: pictures for control characters, names for spaces.
function spell(char) {
  const code = char.codePointAt(0);
  if (NAMES[char]) return NAMES[char];
  if (code < 32) return String.fromCodePoint(0x2400 + code);
  if (/[\p{Cc}\p{Cf}\p{Zs}\p{Zl}\p{Zp}]/u.test(char)) return `U+${code.toString(16).toUpperCase()}`;
  return char;
}

// What the text shows for a character: spaces stay, other invisible ones are spelled.
function visible(char) {
  return char === " " ? char : spell(char);
}

function signed(value, digits = 2) {
  return value === null ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
}

function scoreText(concept, u) {
  const score = concept.score[u];
  return score === null ? "–" : score.toFixed(3).replace("-", "−");
}

const measure = (concept) => (concept.kind === "count" ? "R²" : "AUC");

// The condition under which a unit says yes, such as "> +0.31".
function condition(concept, u) {
  const side = concept.sign[u] < 0 ? "<" : ">";
  return concept.threshold[u] === null ? "" : `${side} ${signed(concept.threshold[u])}`;
}

// The class of a value of a unit. Browsers find rules by class faster than by attribute.
function level(unit, n) {
  const step = unit.values[n] - STEPS;
  return step < 0 ? `n${-step}` : `p${step}`;
}

function addLevels() {
  const sheet = document.styleSheets[0];
  for (let step = 1; step <= STEPS; step++) {
    for (const [sign, hue] of [["p", "positive"], ["n", "negative"]]) {
      const share = ((100 * step) / STEPS).toFixed(1);
      const colour = `color-mix(in oklab, var(--${hue}) ${share}%, transparent)`;
      sheet.insertRule(`.${sign}${step} { background-color: ${colour}; }`);
    }
  }
}

// A piece of the text around characters from..to, coloured by a unit, with these marked.
function snippet(data, unit, from, to, before = 32, after = 14) {
  const line = element("span", { class: "code snippet" });
  const start = Math.max(0, from - before);
  const end = Math.min(data.chars.length, to + after);
  if (start > 0) line.append("…");
  for (let n = start; n < end; n++) {
    const marked = n >= from && n < to ? "marked" : "";
    line.append(element("span", { class: `${level(unit, n)} ${marked}` }, visible(data.chars[n])));
  }
  if (end < data.chars.length) line.append("…");
  return line;
}
