// The page's state and its controls.

const snapshots = JSON.parse(byId("data").textContent);
const models = snapshots.map((snapshot) => new Model(snapshot));
const page = { model: models[models.length - 1], maps: [], plans: [], by: "site", filter: "", timeline: null, history: null };

function showTotals() {
  const { model } = page;
  const { stats, limit, driver } = model.snapshot;
  const before = models.length > 1 && model === models[1] ? models[0].snapshot.stats : null;
  const items = [];
  const add = (name, amount, note) => {
    const item = element("div");
    const value = element("dd", amount);
    value.dataset.total = name;
    if (note) value.append(element("small", note));
    item.append(element("dt", name), value);
    items.push(item);
  };
  for (const name of ["requested", "allocated", "active", "reserved"]) {
    const notes = [`peak ${bytes(stats[name].peak)}`];
    if (before) notes.unshift(`${change(stats[name].current - before[name].current)} since before`);
    add(name, bytes(stats[name].current), notes.join("\n"));
  }
  add("limit", limit === null ? "none" : bytes(limit), limit === null ? "" : `${percent(stats.reserved.current, limit)} reserved`);
  add("driver", driver ? bytes(driver.reserved) : "unknown", driver
    ? `${bytes(driver.own)} staging, ${bytes(driver.foreign)} others, ${bytes(driver.unused)} unused`
    : "not reported by this backend");
  byId("totals").replaceChildren(...items);
  showSplit();
}

function showSplit() {
  const split = page.model.split();
  const reserved = Math.max(1, page.model.snapshot.stats.reserved.current);
  const parts = [
    ["live", split.live, groupColour(0)],
    ["rounding", split.rounding, groupColour(1)],
    ["pending free (pinned)", split.pendingFree, groupColour(2)],
    ["cached, not releasable", split.split, themeColour("--hatch")],
    ["cached, releasable", split.releasable, themeColour("--line")],
  ].filter(([, amount]) => amount > 0);
  byId("split").replaceChildren(...parts.map(([, amount, colour]) => {
    const part = element("i");
    part.style.background = colour;
    part.style.width = `${(100 * amount) / reserved}%`;
    return part;
  }));
  byId("split").setAttribute("aria-label", parts.map(([name, amount]) => `${name} ${bytes(amount)}`).join(", "));
  byId("split-legend").replaceChildren(...parts.map(([name, amount, colour]) => legendItem(colour, name, `${bytes(amount)}, ${percent(amount, reserved)}`)));
}

// The maps of one snapshot, or of two snapshots side by side at the same scale.
function showMaps() {
  const largest = Math.max(...models.map((model) => model.largest));
  page.maps = models.map((model, place) => {
    model.largest = largest;
    const title = models.length > 1 ? ["Before", "After"][place] : "";
    const { reserved, requested } = model.snapshot.stats;
    const sizes = `${counted(model.segments.length, "segment")}, ${bytes(reserved.current)} reserved for ${bytes(requested.current)}`;
    return new BlockMap(model, title ? `${title}: ${sizes}` : "", (text) => { byId("details").textContent = text; });
  });
  byId("maps").replaceChildren(...page.maps.map((map) => map.holder));
}

function colourBy() {
  const { totals } = page.model.grouped(page.by);
  legend(byId("legend"), totals, (group) => `${bytes(group.bytes)} in ${count(group.blocks)}`);
  for (const map of page.maps) {
    map.by = page.by;
    map.plan();
  }
}

function filterBy(text) {
  page.filter = text;
  const filters = page.maps.map((map) => {
    map.filter = map.model.matching(text);
    map.plan();
    return map.filter;
  });
  const found = filters[models.indexOf(page.model)];
  byId("matching").textContent = found ? `Matching: ${bytes(found.total)} in ${counted(found.blocks, "block")}` : "";
}

function showTime() {
  if (page.timeline) page.timeline.close();
  const { events, events_dropped: dropped } = page.model.snapshot;
  byId("time-section").hidden = events.length === 0;
  if (events.length === 0) {
    page.timeline = null;
    return;
  }
  page.history = new History(page.model);
  byId("time-note").textContent = dropped > 0
    ? `The last ${counted(events.length, "event")}; ${counted(dropped, "earlier event")} dropped.`
    : `${counted(events.length, "event")} since recording began, none dropped.`;
  page.timeline = new Timeline(page.history, (text) => { byId("time-details").textContent = text; });
  page.timeline.across = byId("across").value;
  byId("time-details").textContent = page.timeline.describe(events.length - 1);
  const groups = page.history.names.map((name, place) => ({ name, bytes: page.history.most[place], blocks: 0 }));
  legend(byId("time-legend"), groups, (group) => `at most ${bytes(group.bytes)}`);
  for (const id of ["from", "to"]) byId(id).max = String(events.length - 1);
  byId("from").value = "0";
  byId("to").value = String(events.length - 1);
}

function showRange() {
  const { timeline, history } = page;
  if (!timeline) return;
  const [from, to] = [Number(byId("from").value), Number(byId("to").value)].sort((a, b) => a - b);
  timeline.from = from;
  timeline.to = to;
  byId("from-at").textContent = `event ${count(from + 1)}, ${seconds(history.time[from])}`;
  byId("to-at").textContent = `event ${count(to + 1)}, ${seconds(history.time[to])}`;
  timeline.plan();
  const table = growthTable(history, from, to);
  table.id = "growth";
  const old = byId("growth");
  if (old) old.replaceWith(table);
}

function showPlans() {
  const { model } = page;
  page.plans = model.plans.map((plan, number) => new PlanView(model, plan, number, (text) => { byId("plan-details").textContent = text; }));
  byId("plans-section").hidden = page.plans.length === 0;
  byId("plans").replaceChildren(...page.plans.map((view) => view.holder));
}

function showTables() {
  const { model } = page;
  const tables = [holdersTable(model)];
  tables[0].id = "holders";
  if (page.timeline) {
    const growth = element("div");
    growth.id = "growth";
    tables.push(growth);
  }
  if (model.snapshot.scopes.length > 0) tables.push(scopesTable(model));
  if (model.snapshot.pins.length > 0) tables.push(pinsTable(model));
  const spill = spillTable(model);
  if (spill) tables.push(spill);
  if (model.plans.length > 0) tables.push(plansTable(model));
  tables.push(segmentsTable(model), countersTable(model), remediesTable(model));
  byId("tables").replaceChildren(...tables);
}

function showAll() {
  byId("memory").textContent = plain(page.model.snapshot.memory);
  byId("subtitle").textContent = `${counted(page.model.segments.length, "segment")}, ${counted(page.model.snapshot.allocations, "allocation")} so far, granule ${bytes(page.model.snapshot.granule)}`;
  showTotals();
  colourBy();
  filterBy(page.filter);
  showPlans();
  showTime();
  showTables();
  showRange();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").setAttribute("aria-pressed", String(theme === "dark"));
}

function repaint() {
  for (const view of page.plans) view.draw();
  showSplit();
  colourBy();
  if (page.timeline) {
    const groups = page.history.names.map((name, place) => ({ name, bytes: page.history.most[place], blocks: 0 }));
    legend(byId("time-legend"), groups, (group) => `at most ${bytes(group.bytes)}`);
    page.timeline.plan();
  }
}

const preference = matchMedia("(prefers-color-scheme: dark)");
setTheme(preference.matches ? "dark" : "light");
preference.addEventListener("change", () => { setTheme(preference.matches ? "dark" : "light"); repaint(); });
byId("theme").addEventListener("click", () => { setTheme(dark() ? "light" : "dark"); repaint(); });
byId("colour").addEventListener("change", (event) => { page.by = event.target.value; colourBy(); });
byId("filter").addEventListener("input", (event) => filterBy(event.target.value));
byId("across").addEventListener("change", (event) => { page.timeline.across = event.target.value; page.timeline.plan(); });
for (const id of ["from", "to"]) byId(id).addEventListener("input", showRange);
const zoomEach = (factor) => page.maps.forEach((map) => map.zoomBy(factor, map.left + map.barWidth() / map.scale() / 2));
byId("zoom-in").addEventListener("click", () => zoomEach(2));
byId("zoom-out").addEventListener("click", () => zoomEach(0.5));
byId("zoom-all").addEventListener("click", () => page.maps.forEach((map) => map.fit()));
if (models.length > 1) {
  byId("which-label").hidden = false;
  byId("which").append(...["before", "after"].map((name, place) => new Option(name, place)));
  byId("which").value = "1";
  byId("which").addEventListener("change", (event) => { page.model = models[event.target.value]; showAll(); });
}
showMaps();
showAll();
