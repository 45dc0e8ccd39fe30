// The text: one span a character, coloured by a unit where it is on screen; a cursor and a span.
// A row is a line of the text, or a part of a long one: only rows on screen are coloured.

const LONGEST_ROW = 400;

function endsRow(char, length) {
  return char === "\n" || length === LONGEST_ROW || (char === " " && length > 0.8 * LONGEST_ROW);
}

class TextPane {
  constructor(data, state, changed) {
    Object.assign(this, { data, state, changed });
    this.box = byId("text");
    this.rows = []; // the first character of each row
    this.places = []; // of these in the text: [line, column]
    this.spans = [];
    this.seen = new Set(); // rows on screen or near it
    this.watcher = new IntersectionObserver((entries) => this.scrolled(entries), {
      root: this.box,
      rootMargin: "50% 0px",
    });
    this.build();
    this.box.addEventListener("keydown", (event) => this.pressed(event));
    this.box.addEventListener("click", (event) => this.clicked(event));
    this.box.addEventListener("pointerover", (event) => {
      if (event.target.n !== undefined) this.describe(event.target.n);
    });
    document.addEventListener("selectionchange", () => this.selected());
  }

  build() {
    const all = document.createDocumentFragment();
    let place = [1, 1];
    let row = null;
    this.data.chars.forEach((char, n) => {
      if (row === null) {
        row = all.appendChild(element("div", { class: "row" }));
        this.rows.push(n);
        this.places.push(place);
      }
      const span = row.appendChild(document.createElement("span"));
      span.n = n;
      span.kind = { "\n": "end ", "\t": "tab " }[char] ?? "";
      if (char !== "\n") span.textContent = visible(char);
      this.spans.push(span);
      const length = row.childNodes.length;
      if (endsRow(char, length)) {
        place = char === "\n" ? [place[0] + 1, 1] : [place[0], place[1] + length];
        row = null;
      }
    });
    this.box.replaceChildren(all);
    for (const div of this.box.children) this.watcher.observe(div);
  }

  scrolled(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.seen.add(target);
      else this.seen.delete(target);
      if (isIntersecting) this.paint(target);
    }
  }

  // Colours a row by the unit and underlines it by the concept.
  paint(row) {
    const { unit, concept, underline } = this.state;
    for (const span of row.children) {
      const truth = underline && concept ? Math.round(8 * truthAt(concept, span.n)) : 0;
      span.className = `${span.kind}${level(unit, span.n)}${truth > 0 ? ` t${truth}` : ""}`;
    }
  }

  repaint() {
    for (const row of this.seen) this.paint(row);
  }

  // Marks are attributes, as painting replaces classes.
  mark(name, from, to) {
    for (let n = from; n < to; n++) this.spans[n].toggleAttribute(`data-${name}`, true);
  }

  unmark(name) {
    const attribute = `data-${name}`;
    for (const span of this.box.querySelectorAll(`[${attribute}]`)) span.removeAttribute(attribute);
  }

  rowOf(n) {
    let low = 0;
    let high = this.rows.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.rows[middle] <= n) low = middle;
      else high = middle;
    }
    return low;
  }

  rowEnd(row) {
    return this.rows[row + 1] ?? this.data.chars.length;
  }

  // The line and the column of a character, from 1.
  placeOf(n) {
    const row = this.rowOf(n);
    const [line, column] = this.places[row];
    return [line, column + n - this.rows[row]];
  }

  // Moves the cursor; `extend` keeps the other end of the span, as Shift does.
  move(n, { extend = false, scroll = "nearest" } = {}) {
    const { state, spans } = this;
    const to = Math.max(0, Math.min(spans.length - 1, n));
    if (extend) {
      state.anchor ??= state.cursor;
      this.setSpan(Math.min(state.anchor, to), Math.max(state.anchor, to) + 1);
    } else {
      state.anchor = null;
    }
    this.unmark("cursor");
    state.cursor = to;
    this.mark("cursor", to, to + 1);
    this.reveal(spans[to], scroll);
    this.describe(to);
    this.changed("cursor");
  }

  // Scrolls the text alone: on a phone the page should stay where it is.
  reveal(span, scroll) {
    const { box } = this;
    const top = span.offsetTop; // in the text, which is positioned
    const margin = scroll === "center" ? box.clientHeight / 2 : span.offsetHeight;
    const above = top - box.scrollTop < margin;
    const below = top - box.scrollTop > box.clientHeight - margin - span.offsetHeight;
    if (scroll === "center" || above) box.scrollTop = top - margin;
    else if (below) box.scrollTop = top - box.clientHeight + margin + span.offsetHeight;
  }

  setSpan(from, to) {
    this.unmark("chosen");
    this.mark("chosen", from, to);
    this.state.span = [from, to];
    this.changed("span");
  }

  clearSpan() {
    this.unmark("chosen");
    this.unmark("match");
    this.state.span = null;
    this.state.anchor = null;
    getSelection().removeAllRanges();
    this.changed("span");
  }

  clicked(event) {
    if (event.target.n !== undefined && getSelection().isCollapsed) this.move(event.target.n);
  }

  // Takes over what is selected with the mouse or by touch.
  selected() {
    const selection = getSelection();
    if (selection.isCollapsed || !this.box.contains(selection.anchorNode)) return;
    const range = selection.getRangeAt(0);
    const from = this.boundary(range.startContainer, range.startOffset);
    const to = this.boundary(range.endContainer, range.endOffset);
    if (from < to) this.setSpan(from, to);
  }

  // The number of characters before a point of the document.
  boundary(node, offset) {
    if (!this.box.contains(node)) return this.spans.length;
    const span = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    if (span.n !== undefined) return span.n + (offset > 0 ? 1 : 0);
    const next = span.childNodes[offset];
    if (next === undefined) return span === this.box ? this.spans.length : span.lastChild.n + 1;
    return next.n ?? next.firstChild.n;
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { state } = this;
    const row = this.rowOf(state.cursor);
    const targets = {
      ArrowLeft: () => state.cursor - 1,
      ArrowRight: () => state.cursor + 1,
      ArrowUp: () => this.sameColumn(row, -1),
      ArrowDown: () => this.sameColumn(row, 1),
      PageUp: () => this.sameColumn(row, -15),
      PageDown: () => this.sameColumn(row, 15),
      Home: () => this.rows[row],
      End: () => this.rowEnd(row) - 1,
    };
    if (targets[event.key]) this.move(targets[event.key](), { extend: event.shiftKey });
    else if (event.key === "Enter") this.changed("find");
    else if (event.key === "Escape") this.clearSpan();
    else return;
    event.preventDefault();
  }

  sameColumn(row, step) {
    const to = Math.max(0, Math.min(this.rows.length - 1, row + step));
    const column = this.state.cursor - this.rows[row];
    return Math.min(this.rows[to] + column, this.rowEnd(to) - 1);
  }

  describe(n) {
    const { unit, concept } = this.state;
    const [line, column] = this.placeOf(n);
    const parts = [`line ${line}, column ${column}`, spell(this.data.chars[n]), `${unit.name} ${signed(valueAt(unit, n))}`];
    if (concept) {
      const truth = concept.truth[n];
      parts.push(`${concept.name}: ${concept.kind === "count" ? truth : truth ? "yes" : "no"}`);
    }
    byId("status").textContent = parts.join(" · ");
  }
}
