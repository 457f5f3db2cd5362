// The plans of repeated steps: the planned blocks of one step by request and address, next to the blocks that are in the arena now.

const PLAN_HEIGHT = 220;
const NOW_WIDTH = 90;
const PLAN_GAP = 12;

class PlanView {
  constructor(model, plan, number, onPoint) {
    this.model = model;
    this.plan = plan;
    this.onPoint = onPoint;
    // The segments of the arena, one above the other.
    this.arena = plan.arena.map((id) => model.segments.find((segment) => segment.id === id && segment.pool === "arena")).filter(Boolean);
    this.bases = [];
    this.height = 0;
    const sizes = plan.segments;
    for (const size of sizes) {
      this.bases.push(this.height);
      this.height += size;
    }
    this.height = Math.max(this.height, 1);
    this.events = plan.requests.reduce((most, request) => Math.max(most, request.upper ?? request.lower + 1), 1);
    this.planned = plan.requests.filter((request) => request.segment !== undefined);
    this.holder = element("div", undefined, "plan");
    this.holder.append(element("h3", `Loop ${number + 1}: ${this.summary()}`));
    this.canvas = element("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${this.summary()}; the table of plans lists the largest requests`);
    this.holder.append(this.canvas);
    this.canvas.addEventListener("mousemove", (event) => {
      const box = this.canvas.getBoundingClientRect();
      this.onPoint(this.describe(event.clientX - box.left, event.clientY - box.top));
    });
    new ResizeObserver(() => this.draw()).observe(this.holder);
  }

  summary() {
    const { plan } = this;
    const rest = plan.requests.length - plan.requests.filter((request) => request.segment !== undefined).length;
    return `${counted(plan.requests.length, "request")}, ${count(rest)} of them outside the arena; ${bytes(this.height)} for a peak of ${bytes(plan.lower_bound)}; `
      + `${count(plan.agreeing)} of ${counted(plan.runs, "step")} agreed, ${count(plan.deviating)} deviated`;
  }

  // Colours by call site: those of the map, then others.
  colours() {
    const names = new Map(this.model.grouped("site").totals.map((group, rank) => [group.name, rank]));
    return (site) => {
      const name = this.model.sites[site];
      if (!names.has(name)) names.set(name, names.size);
      return groupColour(Math.min(names.get(name), DISTINCT));
    };
  }

  draw() {
    const { canvas } = this;
    const width = Math.max(200, this.holder.clientWidth);
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(PLAN_HEIGHT * ratio);
    canvas.style.height = `${PLAN_HEIGHT}px`;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, PLAN_HEIGHT);
    const colour = this.colours();
    const planWidth = this.planWidth();
    context.fillStyle = hatching(context);
    context.fillRect(0, 0, planWidth, PLAN_HEIGHT);
    context.fillRect(planWidth + PLAN_GAP, 0, NOW_WIDTH, PLAN_HEIGHT);
    const y = (segment, offset) => PLAN_HEIGHT - ((this.bases[segment] + offset) / this.height) * PLAN_HEIGHT;
    for (const request of this.planned) {
      const left = (request.lower / this.events) * planWidth;
      const right = (request.upper / this.events) * planWidth;
      const [top, bottom] = [y(request.segment, request.offset + request.size), y(request.segment, request.offset)];
      context.fillStyle = colour(request.site);
      context.fillRect(left, top, Math.max(right - left, 0.5), Math.max(bottom - top - 0.5, 0.5));
    }
    this.arena.forEach((segment, place) => {
      for (let at = segment.first; at < segment.end; at += 1) {
        if (this.model.state[at] === INACTIVE) continue;
        const [top, bottom] = [y(place, this.model.offset[at] + this.model.size[at]), y(place, this.model.offset[at])];
        const { origin } = this.model.of[at];
        context.fillStyle = origin ? colour(origin.site) : groupColour(DISTINCT);
        context.fillRect(planWidth + PLAN_GAP, top, NOW_WIDTH, Math.max(bottom - top - 0.5, 0.5));
      }
    });
  }

  planWidth() {
    return Math.max(200, this.holder.clientWidth) - NOW_WIDTH - PLAN_GAP;
  }

  // What is at a point of the canvas.
  describe(x, y) {
    const address = ((PLAN_HEIGHT - y) / PLAN_HEIGHT) * this.height;
    const contains = (segment, offset, size) => address >= this.bases[segment] + offset && address < this.bases[segment] + offset + size;
    if (x > this.planWidth()) {
      for (const [place, segment] of this.arena.entries()) {
        for (let at = segment.first; at < segment.end; at += 1) {
          if (contains(place, this.model.offset[at], this.model.size[at])) return this.model.describe(at);
        }
      }
      return "";
    }
    const event = (x / this.planWidth()) * this.events;
    const found = this.planned.find((request) => event >= request.lower && event < request.upper && contains(request.segment, request.offset, request.size));
    if (!found) return `Free, at ${bytes(address)} of the arena`;
    return `${bytes(found.bytes)} planned at ${bytes(this.bases[found.segment] + found.offset)} of the arena, from event ${count(found.lower + 1)} to ${count(found.upper + 1)}\n`
      + `allocated by ${this.model.sites[found.site]}`;
  }
}

function plansTable(model) {
  const rows = model.plans.flatMap((plan, number) => plan.requests.map((request) => ({ ...request, number: number + 1 })));
  return table("Plans", "the requests of the steps that are repeated", [
    { ...column("Loop", (row) => row.number, String), upward: true },
    column("Call site", (row) => model.sites[row.site]),
    column("Bytes", (row) => row.bytes, bytes),
    { head: "Place", number: true, key: (row) => (row.segment === undefined ? -1 : row.offset), text: (row) => (row.segment === undefined ? "by the heap" : `${bytes(row.offset)} of segment ${row.segment + 1}`) },
    column("From event", (row) => row.lower + 1, count),
    { head: "To event", number: true, key: (row) => row.upper ?? Infinity, text: (row) => (row.upper === undefined ? "after the step" : count(row.upper + 1)) },
  ], rows, 2);
}
