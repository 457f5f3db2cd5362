// A snapshot prepared for drawing: blocks and events in flat arrays, and the groups that have colours.

const STATES = { active_allocated: 0, active_pending_free: 1, inactive: 2 };
const STATE_NAMES = ["allocated", "freed, still pinned", "free"];
const INACTIVE = 2;
const DISTINCT = 11;

class Model {
  constructor(snapshot) {
    this.snapshot = snapshot;
    this.plans = snapshot.plans || [];
    this.sites = snapshot.sites.map((site) => plain(`${site.file}:${site.line}`));
    this.scopes = snapshot.scopes.map((_, number) => this.scopePath(number));
    let blocks = 0;
    for (const segment of snapshot.segments) blocks += segment.blocks.length;
    this.offset = new Float64Array(blocks);
    this.size = new Float64Array(blocks);
    this.state = new Uint8Array(blocks);
    this.of = new Array(blocks);
    this.segments = [];
    let at = 0;
    for (const segment of snapshot.segments) {
      const first = at;
      for (const block of segment.blocks) {
        this.offset[at] = block.offset;
        this.size[at] = block.size;
        this.state[at] = STATES[block.state];
        this.of[at] = block;
        at += 1;
      }
      this.segments.push({ id: segment.id, pool: segment.planned ? "arena" : segment.pool, bytes: segment.bytes, active: segment.active, first, end: at });
    }
    this.largest = this.segments.reduce((most, segment) => Math.max(most, segment.bytes), 1);
    this.groups = {};
  }

  scopePath(number) {
    const names = [];
    for (let scope = this.snapshot.scopes[number]; scope && names.length < 64; scope = this.snapshot.scopes[scope.parent]) {
      names.unshift(plain(scope.name));
    }
    return names.join("/");
  }

  // The name of the group that a block belongs to.
  name(at, by) {
    if (by === "state") return STATE_NAMES[this.state[at]];
    const origin = this.of[at].origin;
    if (!origin) return "unknown";
    switch (by) {
      case "site": return this.sites[origin.site];
      case "scope": return origin.scope === undefined ? "outside any scope" : this.scopes[origin.scope];
      case "dtype": return origin.dtype === undefined ? "bytes" : plain(origin.dtype);
      default: return origin.label === undefined ? "no label" : plain(origin.label);
    }
  }

  // The groups, largest first, and the group of each block. The first DISTINCT groups have separate colours; the others
  // share one.
  grouped(by) {
    if (this.groups[by]) return this.groups[by];
    const numbers = new Map();
    const totals = [];
    const own = new Int32Array(this.of.length).fill(-1);
    for (let at = 0; at < this.of.length; at += 1) {
      if (this.state[at] === INACTIVE) continue;
      const name = this.name(at, by);
      if (!numbers.has(name)) {
        numbers.set(name, totals.length);
        totals.push({ name, bytes: 0, blocks: 0 });
      }
      own[at] = numbers.get(name);
      totals[own[at]].bytes += this.of[at].requested;
      totals[own[at]].blocks += 1;
    }
    const order = totals.map((_, number) => number).sort((a, b) => totals[b].bytes - totals[a].bytes || a - b);
    const rank = new Int32Array(totals.length);
    order.forEach((number, place) => { rank[number] = place; });
    for (let at = 0; at < own.length; at += 1) if (own[at] >= 0) own[at] = rank[own[at]];
    this.groups[by] = { totals: order.map((number) => totals[number]), of: own };
    return this.groups[by];
  }

  // The blocks that match a filter, their number and their bytes; null without a filter.
  matching(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0) return null;
    const matches = new Uint8Array(this.of.length);
    let total = 0;
    let blocks = 0;
    for (let at = 0; at < matches.length; at += 1) {
      if (this.state[at] === INACTIVE) continue;
      const all = ["site", "scope", "dtype", "label"].map((by) => this.name(at, by)).join(" ").toLowerCase();
      if (words.every((word) => all.includes(word))) {
        matches[at] = 1;
        total += this.of[at].requested;
        blocks += 1;
      }
    }
    return { matches, total, blocks };
  }

  // The block that contains a byte of a segment.
  blockAt(segment, offset) {
    let low = segment.first;
    let high = segment.end - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.offset[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  segmentOf(at) {
    return this.segments.findIndex((segment) => at >= segment.first && at < segment.end);
  }

  describe(at) {
    const block = this.of[at];
    const segment = this.segments[this.segmentOf(at)];
    const place = `segment ${segment.id} at ${bytes(block.offset)}`;
    if (this.state[at] === INACTIVE) return `Hole of ${bytes(block.size)}, ${place}`;
    const origin = block.origin;
    const lines = [`${bytes(block.requested)}${block.size > block.requested ? ` in a block of ${bytes(block.size)}` : ""}, ${place}`];
    if (this.state[at] === 1) lines[0] += ", freed and still pinned";
    else if (block.pins) lines[0] += ", pinned";
    if (origin) {
      const what = [];
      if (origin.label !== undefined) what.push(`“${plain(origin.label)}”`);
      if (origin.dtype !== undefined) what.push(plain(origin.dtype));
      if (origin.shape !== undefined) what.push(`[${origin.shape.join(", ")}]`);
      if (origin.scope !== undefined) what.push(`in ${this.scopes[origin.scope]}`);
      what.push(`${counted(origin.age, "allocation")} old`);
      lines.push(what.join(", "), `allocated by ${this.sites[origin.site]}`);
    }
    return lines.join("\n");
  }

  // The breakdown of the memory, as in the text report.
  split() {
    const split = { live: 0, rounding: 0, pendingFree: 0, split: 0, releasable: 0 };
    for (const segment of this.segments) {
      let free = 0;
      for (let at = segment.first; at < segment.end; at += 1) {
        const block = this.of[at];
        if (this.state[at] === 0) {
          split.live += block.requested;
          split.rounding += block.size - block.requested;
        } else if (this.state[at] === 1) split.pendingFree += block.size;
        else free += block.size;
      }
      if (segment.active > 0) split.split += free;
      else split.releasable += free;
    }
    return split;
  }
}
