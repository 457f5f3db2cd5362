// Tables that can be sorted by a click on a column header, or with the keyboard.

const ROWS = 100;

// Columns are {head, number, upward, text(row), key(row)}. Numbers sort in descending order first, unless `upward` is set.
function table(caption, note, columns, rows, sortBy) {
  const frame = element("div", undefined, "table");
  const created = element("table");
  const title = element("caption", caption);
  if (note) title.append(" ", element("small", note));
  const head = element("tr");
  const body = element("tbody");
  const state = { by: sortBy, down: columns[sortBy].number === true && !columns[sortBy].upward, shown: ROWS };
  const more = element("button", undefined, "more");
  more.type = "button";

  const fill = () => {
    const { key } = columns[state.by];
    const sorted = rows.slice().sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * (state.down ? -1 : 1);
    });
    body.replaceChildren(...sorted.slice(0, state.shown).map((row) => {
      const line = element("tr");
      for (const column of columns) line.append(element("td", column.text(row), column.number ? "number" : ""));
      return line;
    }));
    more.hidden = rows.length <= state.shown;
    more.textContent = `Show ${count(Math.min(ROWS * 10, rows.length - state.shown))} more of ${count(rows.length)}`;
    Array.from(head.children).forEach((cell, place) => {
      if (place === state.by) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  };

  columns.forEach((column, place) => {
    const cell = element("th", undefined, column.number ? "number" : "");
    cell.scope = "col";
    const button = element("button", column.head);
    button.type = "button";
    button.addEventListener("click", () => {
      state.down = state.by === place ? !state.down : column.number === true && !column.upward;
      state.by = place;
      fill();
    });
    cell.append(button);
    head.append(cell);
  });
  more.addEventListener("click", () => { state.shown += ROWS * 10; fill(); });
  const top = element("thead");
  top.append(head);
  created.append(title, top, body);
  frame.append(created, more);
  fill();
  return frame;
}

const column = (head, key, show) => ({ head, key, text: (row) => (show || String)(key(row)), number: show !== undefined });

function holdersTable(model) {
  const groups = new Map();
  for (let at = 0; at < model.of.length; at += 1) {
    if (model.state[at] !== 0) continue;
    const [site, label] = [model.name(at, "site"), model.name(at, "label")];
    const key = `${site}\n${label}`;
    const group = groups.get(key) || { site, label: model.of[at].origin && model.of[at].origin.label !== undefined ? label : "", bytes: 0, blocks: 0, oldest: 0 };
    group.bytes += model.of[at].requested;
    group.blocks += 1;
    group.oldest = Math.max(group.oldest, model.of[at].origin ? model.of[at].origin.age : 0);
    groups.set(key, group);
  }
  return table("Holders", "current bytes per call site and label", [
    column("Call site", (row) => row.site),
    column("Label", (row) => row.label),
    column("Bytes", (row) => row.bytes, bytes),
    column("Blocks", (row) => row.blocks, count),
    column("Oldest, in allocations", (row) => row.oldest, count),
  ], Array.from(groups.values()), 2);
}

function growthTable(history, from, to) {
  return table("Growth", `between event ${count(from + 1)} and event ${count(to + 1)}, after rounding`, [
    column("Call site", (row) => row.name),
    column("Bytes", (row) => row.bytes, change),
    column("Blocks", (row) => row.blocks, count),
    column("Allocations", (row) => row.allocations, count),
  ], history.growth(from, to), 1);
}

function segmentsTable(model) {
  const rows = model.segments.map((segment) => {
    let holes = 0;
    let largest = 0;
    let pinned = 0;
    let first = "";
    for (let at = segment.first; at < segment.end; at += 1) {
      if (model.state[at] === INACTIVE) {
        holes += 1;
        largest = Math.max(largest, model.size[at]);
      } else {
        if (model.of[at].pins > 0) pinned += 1;
        if (!first) first = model.name(at, "site");
      }
    }
    return { ...segment, holes, largest, pinned, first, blocks: segment.end - segment.first - holes };
  });
  return table("Segments", "the map as a table", [
    { ...column("Segment", (row) => row.id, String), upward: true },
    column("Pool", (row) => row.pool),
    column("Size", (row) => row.bytes, bytes),
    column("Active", (row) => row.active, bytes),
    { head: "Full", number: true, key: (row) => row.active / row.bytes, text: (row) => percent(row.active, row.bytes) },
    column("Blocks", (row) => row.blocks, count),
    column("Pinned", (row) => row.pinned, count),
    column("Holes", (row) => row.holes, count),
    column("Largest hole", (row) => row.largest, bytes),
    column("First holder", (row) => row.first),
  ], rows, 0);
}

function scopesTable(model) {
  return table("Scopes", "totals over all entries, including nested scopes", [
    { head: "Scope", key: (row) => row.path, text: (row) => row.path },
    column("Entries", (row) => row.entries, count),
    column("Allocated", (row) => row.counts.allocated, bytes),
    column("Freed", (row) => row.counts.freed, bytes),
    column("Peak", (row) => row.counts.peak, bytes),
    column("Growth", (row) => row.counts.current, change),
  ], model.snapshot.scopes.map((scope, number) => ({ ...scope, path: model.scopes[number] })), 0);
}

function pinsTable(model) {
  return table("Pins", "blocks that cannot be moved or reused", [
    column("Pinned by", (row) => model.sites[row.site]),
    { ...column("Segment", (row) => row.segment, String), upward: true },
    column("At", (row) => row.offset, bytes),
  ], model.snapshot.pins, 1);
}

function countersTable(model) {
  const { stats } = model.snapshot;
  const sized = ["requested", "allocated", "active", "reserved", "inactive_split", "pinned"];
  const counted = ["blocks", "active_blocks", "segments"];
  const rows = sized.map((name) => ({ name, show: bytes, ...stats[name] })).concat(counted.map((name) => ({ name, show: count, ...stats[name] })));
  const shown = (head, key) => ({ head, number: true, key: (row) => row[key], text: (row) => row.show(row[key]) });
  return table("Counters", "", [
    { head: "Counter", key: (row) => row.name, text: (row) => row.name.replace("_", " ") },
    shown("Now", "current"), shown("Peak", "peak"), shown("Allocated", "allocated"), shown("Freed", "freed"),
  ], rows, 0);
}

function remediesTable(model) {
  const rows = Object.entries(model.snapshot.remedies).map(([name, amount]) => ({ name: name.replaceAll("_", " "), amount }));
  const sized = ["bytes moved", "bytes released", "bytes spilled", "relieved"];
  return table("Remedies", "how often each measure against out-of-memory was used", [
    { head: "Measure", key: (row) => row.name, text: (row) => row.name },
    { head: "Amount", number: true, key: (row) => row.amount, text: (row) => (sized.includes(row.name) ? bytes : count)(row.amount) },
  ], rows, 0);
}

// The places of the blocks: device, host memory, and in transit. Null in a pool without spilling.
function spillTable(model) {
  const { spill, stats } = model.snapshot;
  if (!spill || spill.limit === undefined || spill.limit === null) return null;
  const rows = [["on the device", stats.allocated.current, bytes], ["in host memory", spill.host, bytes], ["in transit", spill.in_transit, bytes], ["host buffers, idle", spill.idle, bytes], ["kept on the device", spill.kept, bytes], ["moved to host memory", spill.moved_out, bytes], ["returned to the device", spill.moved_in, bytes], ["stalls", spill.stalls, count]].map(([name, amount, show]) => ({ name, amount, show }));
  return table("Spilling", "bytes in each place, and moved between them", [
    { head: "Place", key: (row) => row.name, text: (row) => row.name },
    { head: "Amount", number: true, key: (row) => row.amount, text: (row) => row.show(row.amount) },
  ], rows, 0);
}
