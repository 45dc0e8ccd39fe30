// The text: one span a character, coloured by a unit where it is on screen; a cursor and a span.

class TextPane {
  constructor(data, state, changed) {
    Object.assign(this, { data, state, changed });
    this.box = byId("text");
    this.lines = []; // the first character of each line
    this.spans = [];
    this.seen = new Set(); // lines on screen or near it
    this.watcher = new IntersectionObserver((entries) => this.scrolled(entries), {
      root: this.box,
      rootMargin: "100% 0px",
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
    let line = null;
    const all = document.createDocumentFragment();
    this.data.chars.forEach((char, n) => {
      if (line === null) {
        line = all.appendChild(element("div", { class: "line" }));
        this.lines.push(n);
      }
      const span = line.appendChild(document.createElement("span"));
      span.n = n;
      if (char === "\n") span.className = "end";
      else span.textContent = visible(char);
      if (char === "\t") span.className = "tab";
      this.spans.push(span);
      if (char === "\n") line = null;
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

  // Colours a line by the unit and underlines it by the concept.
  paint(line) {
    const { unit, concept, underline } = this.state;
    for (const span of line.children) {
      span.dataset.v = level(unit, span.n);
      const truth = underline && concept ? Math.round(8 * truthAt(concept, span.n)) : 0;
      if (truth > 0) span.dataset.t = truth;
      else delete span.dataset.t;
    }
  }

  repaint() {
    for (const line of this.seen) this.paint(line);
  }

  mark(name, from, to) {
    for (let n = from; n < to; n++) this.spans[n].classList.add(name);
  }

  unmark(name) {
    for (const span of this.box.querySelectorAll(`.${name}`)) span.classList.remove(name);
  }

  lineOf(n) {
    let low = 0;
    let high = this.lines.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.lines[middle] <= n) low = middle;
      else high = middle;
    }
    return low;
  }

  lineEnd(line) {
    return this.lines[line + 1] ?? this.data.chars.length;
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
    spans[state.cursor].classList.remove("cursor");
    state.cursor = to;
    spans[to].classList.add("cursor");
    this.reveal(spans[to], scroll);
    this.describe(to);
    this.changed("cursor");
  }

  // Scrolls the text alone: on a phone the page should stay where it is.
  reveal(span, scroll) {
    const { box } = this;
    const top = span.offsetTop - box.offsetTop;
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
    const line = this.lineOf(state.cursor);
    const targets = {
      ArrowLeft: () => state.cursor - 1,
      ArrowRight: () => state.cursor + 1,
      ArrowUp: () => this.sameColumn(line, -1),
      ArrowDown: () => this.sameColumn(line, 1),
      PageUp: () => this.sameColumn(line, -15),
      PageDown: () => this.sameColumn(line, 15),
      Home: () => this.lines[line],
      End: () => this.lineEnd(line) - 1,
    };
    if (targets[event.key]) this.move(targets[event.key](), { extend: event.shiftKey });
    else if (event.key === "Enter") this.changed("find");
    else if (event.key === "Escape") this.clearSpan();
    else return;
    event.preventDefault();
  }

  sameColumn(line, step) {
    const to = Math.max(0, Math.min(this.lines.length - 1, line + step));
    const column = this.state.cursor - this.lines[line];
    return Math.min(this.lines[to] + column, this.lineEnd(to) - 1);
  }

  describe(n) {
    const { unit, concept } = this.state;
    const line = this.lineOf(n);
    const place = `line ${line + 1}, column ${n - this.lines[line] + 1}`;
    const parts = [place, spell(this.data.chars[n]), `${unit.name} ${signed(valueAt(unit, n))}`];
    if (concept) {
      const truth = concept.truth[n];
      parts.push(`${concept.name}: ${concept.kind === "count" ? truth : truth ? "yes" : "no"}`);
    }
    byId("status").textContent = parts.join(" · ");
  }
}
