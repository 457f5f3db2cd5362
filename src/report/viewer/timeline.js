// Memory over time, as a stacked area chart per call site, computed backwards from the current counters.

const MARKS = { segment_created: "+", segment_released: "−", move: "→", spill: "↓", return: "↑", trim: "✂", out_of_memory: "!" };
const MARK_NAMES = { segment_created: "segment created", segment_released: "segment released", move: "move", spill: "moved to host memory", return: "returned from host memory", trim: "trim", out_of_memory: "out of memory" };

// A block was allocated on the device or returned to it.
const isPlaced = (event) => event.kind === "allocate" || event.kind === "return";
// A block on the device was freed or moved to host memory. A block that is freed in host memory has no segment.
const isRemoved = (event) => event.kind === "spill" || (event.kind === "free" && event.segment !== undefined);

// The bytes of every call site after each event. A block belongs to the call site that allocated it.
class History {
  constructor(model) {
    this.model = model;
    this.events = model.snapshot.events;
    const length = this.events.length;
    this.time = new Float64Array(length);
    this.allocated = new Float64Array(length);
    this.reserved = new Float64Array(length);
    this.site = new Int32Array(length);
    const stats = model.snapshot.stats;
    let allocated = stats.allocated.current;
    let reserved = stats.reserved.current;
    for (let at = length - 1; at >= 0; at -= 1) {
      const event = this.events[at];
      this.time[at] = event.time;
      this.allocated[at] = allocated;
      this.reserved[at] = reserved;
      this.site[at] = event.site === undefined ? -1 : event.site;
      if (isPlaced(event)) allocated -= event.size;
      else if (isRemoved(event)) allocated += event.size;
      else if (event.kind === "segment_created") reserved -= event.size;
      else if (event.kind === "segment_released") reserved += event.size;
    }
    this.rank();
  }

  // Ranks the call sites by peak bytes, and computes the bytes of the first ones after each event.
  rank() {
    const sites = this.model.snapshot.sites.length;
    const now = new Float64Array(sites + 1);
    for (let at = 0; at < this.model.of.length; at += 1) {
      if (this.model.state[at] === 0) now[this.model.of[at].origin ? this.model.of[at].origin.site : sites] += this.model.size[at];
    }
    const most = Float64Array.from(now);
    const walk = (step) => {
      const held = Float64Array.from(now);
      for (let at = this.events.length - 1; at >= 0; at -= 1) {
        step(at, held);
        const event = this.events[at];
        const site = this.site[at] < 0 ? sites : this.site[at];
        if (isPlaced(event)) held[site] -= event.size;
        else if (isRemoved(event)) held[site] += event.size;
        most[site] = Math.max(most[site], held[site]);
      }
    };
    walk(() => {});
    const order = Array.from(most.keys()).filter((site) => most[site] > 0).sort((a, b) => most[b] - most[a]);
    this.order = order;
    this.shown = order.slice(0, DISTINCT);
    this.held = this.shown.map(() => new Float64Array(this.events.length));
    walk((at, held) => this.shown.forEach((site, rank) => { this.held[rank][at] = held[site]; }));
    this.names = order.map((site) => (site === sites ? "unknown" : this.model.sites[site]));
    this.most = order.map((site) => most[site]);
  }

  // The growth of each call site between two events.
  growth(from, to) {
    const sites = new Map();
    for (let at = from + 1; at <= to; at += 1) {
      const { kind, size } = this.events[at];
      if (kind !== "allocate" && kind !== "free") continue;
      const sign = kind === "allocate" ? 1 : -1;
      const grown = sites.get(this.site[at]) || { bytes: 0, blocks: 0, allocations: 0 };
      grown.bytes += sign * size;
      grown.blocks += sign;
      if (sign > 0) grown.allocations += 1;
      sites.set(this.site[at], grown);
    }
    return Array.from(sites, ([site, grown]) => ({ name: site < 0 ? "unknown" : this.model.sites[site], ...grown }));
  }
}

class Timeline {
  constructor(history, onMove) {
    this.history = history;
    this.onMove = onMove;
    this.across = "time";
    this.cursor = history.events.length - 1;
    this.from = 0;
    this.to = history.events.length - 1;
    this.canvas = byId("time");
    this.canvas.setAttribute("aria-label", "Memory over time; the arrow keys move through the events, and the growth table below has the same data");
    this.canvas.onmousemove = (event) => this.moveTo(this.eventAt(event));
    this.canvas.onkeydown = (event) => this.key(event);
    this.observer = new ResizeObserver(() => this.plan());
    this.observer.observe(byId("time-frame"));
    this.plan();
  }

  close() {
    this.observer.disconnect();
    this.closed = true;
  }

  plan() {
    if (this.planned || this.closed) return;
    this.planned = true;
    requestAnimationFrame(() => { this.planned = false; if (!this.closed) this.draw(); });
  }

  // The horizontal position of an event, from 0 to 1.
  place(at) {
    const { time } = this.history;
    const last = time.length - 1;
    if (this.across === "event") return last > 0 ? at / last : 0;
    const span = time[last] - time[0];
    return span > 0 ? (time[at] - time[0]) / span : 0;
  }

  // The last event at or before a position.
  at(place) {
    let low = 0;
    let high = this.history.time.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.place(middle) <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  eventAt(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.at((event.clientX - box.left - this.inset()) / Math.max(1, box.width - this.inset() - 8));
  }

  inset() {
    return 76;
  }

  draw() {
    const started = performance.now();
    const { canvas, history } = this;
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = byId("time-frame").getBoundingClientRect();
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const left = this.inset();
    const columns = Math.max(1, Math.floor(width - left - 8));
    const floor = height - 22;
    const ceiling = 20;
    let most = 1;
    for (const reserved of history.reserved) if (reserved > most) most = reserved;
    const y = (amount) => floor - ((floor - ceiling) * amount) / most;
    this.axis(context, left, columns, floor, most, y);
    const colours = history.shown.map((_, rank) => groupColour(rank));
    const hole = hatching(context);
    const rest = groupColour(DISTINCT);
    // Each pixel column shows its event with the most allocated bytes.
    let at = 0;
    const length = history.events.length;
    for (let column = 0; column < columns; column += 1) {
      const end = (column + 1) / columns;
      let shown = at;
      while (at + 1 < length && this.place(at + 1) <= end) {
        at += 1;
        if (history.allocated[at] > history.allocated[shown] || this.place(shown) < column / columns) shown = at;
      }
      const x = left + column;
      let below = 0;
      for (let rank = 0; rank < colours.length; rank += 1) {
        const held = history.held[rank][shown];
        if (held <= 0) continue;
        context.fillStyle = colours[rank];
        context.fillRect(x, y(below + held), 1, y(below) - y(below + held));
        below += held;
      }
      if (history.allocated[shown] > below) {
        context.fillStyle = rest;
        context.fillRect(x, y(history.allocated[shown]), 1, y(below) - y(history.allocated[shown]));
        below = history.allocated[shown];
      }
      if (history.reserved[shown] > below) {
        context.fillStyle = hole;
        context.fillRect(x, y(history.reserved[shown]), 1, y(below) - y(history.reserved[shown]));
      }
    }
    this.marks(context, left, columns);
    this.lines(context, left, columns, ceiling, floor);
    this.drawMilliseconds = performance.now() - started;
  }

  axis(context, left, columns, floor, most, y) {
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = themeColour("--quiet");
    context.strokeStyle = themeColour("--line");
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const line = Math.round(y(most * share)) + 0.5;
      context.fillText(bytes(Math.round(most * share)), left - 8, line);
      context.beginPath();
      context.moveTo(left, line);
      context.lineTo(left + columns, line);
      context.stroke();
    }
    context.textBaseline = "alphabetic";
    const { time } = this.history;
    const last = time.length - 1;
    const text = (share) => (this.across === "event" ? count(Math.round(last * share)) : seconds(time[0] + (time[last] - time[0]) * share));
    for (const share of [0, 0.5, 1]) {
      context.textAlign = share === 0 ? "left" : share === 1 ? "right" : "center";
      context.fillText(text(share), left + columns * share, floor + 17);
    }
    context.textAlign = "left";
  }

  // Symbols above the chart for events other than allocations and frees, without overlaps.
  marks(context, left, columns) {
    const taken = {};
    context.textAlign = "center";
    this.history.events.forEach((event, at) => {
      const mark = MARKS[event.kind];
      if (!mark) return;
      const column = Math.round(this.place(at) * (columns - 1));
      const slot = `${Math.floor(column / 14)}`;
      const urgent = event.kind === "out_of_memory";
      if (taken[slot] && !urgent) return;
      taken[slot] = true;
      context.fillStyle = urgent ? themeColour("--warn") : themeColour("--quiet");
      context.font = `${urgent ? "bold 15px" : "12px"} system-ui, sans-serif`;
      context.fillText(mark, left + column, 12);
    });
    context.textAlign = "left";
  }

  lines(context, left, columns, ceiling, floor) {
    const line = (at, colour, dash) => {
      const x = Math.round(left + this.place(at) * (columns - 1)) + 0.5;
      context.strokeStyle = colour;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(x, ceiling - 4);
      context.lineTo(x, floor);
      context.stroke();
      context.setLineDash([]);
    };
    line(this.from, themeColour("--accent"), [4, 3]);
    line(this.to, themeColour("--accent"), [4, 3]);
    line(this.cursor, themeColour("--ink"), []);
  }

  moveTo(at) {
    this.cursor = at;
    this.onMove(this.describe(at));
    this.plan();
  }

  describe(at) {
    const { events, allocated, reserved, site, model } = this.history;
    const event = events[at];
    const what = { allocate: "allocated", free: "freed" }[event.kind] || MARK_NAMES[event.kind];
    const by = site[at] < 0 ? "" : `, ${model.sites[site[at]]}`;
    const scope = event.scope === undefined ? "" : ` in ${model.scopes[event.scope]}`;
    return `Event ${count(at + 1)} of ${count(events.length)}, ${seconds(event.time)}: ${what} ${bytes(event.size)}${by}${scope}\n` +
      `${bytes(allocated[at])} allocated, ${bytes(reserved[at])} reserved`;
  }

  key(event) {
    const last = this.history.events.length - 1;
    const step = event.shiftKey ? Math.max(1, Math.round(last / 50)) : 1;
    const moves = { ArrowRight: this.cursor + step, ArrowLeft: this.cursor - step, Home: 0, End: last };
    if (moves[event.key] === undefined) return;
    this.moveTo(Math.min(Math.max(moves[event.key], 0), last));
    event.preventDefault();
  }
}
