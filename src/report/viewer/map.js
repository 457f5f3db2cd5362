// The map: one row per segment, with each block drawn to scale. Only visible rows are drawn. Blocks narrower than a pixel
// are merged.

const ROW = 26;
const BAR = 18;
const NAME_WIDTH = 150;

class BlockMap {
  constructor(model, title, onSelect) {
    this.title = title;
    this.onSelect = onSelect;
    this.zoom = 1;
    this.left = 0;
    this.selected = -1;
    this.by = "site";
    this.filter = null;
    this.holder = element("div");
    if (title) this.holder.append(element("h3", title));
    this.frame = element("div", undefined, "map");
    this.canvas = element("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "map of segments");
    this.describe(model);
    this.canvas.setAttribute("aria-describedby", "details");
    this.tall = element("div", undefined, "tall");
    this.frame.append(this.tall, this.canvas);
    this.holder.append(this.frame);
    this.frame.addEventListener("scroll", () => this.plan());
    this.canvas.addEventListener("mousemove", (event) => this.point(event));
    this.canvas.addEventListener("click", (event) => { this.point(event); this.canvas.focus(); });
    this.canvas.addEventListener("dblclick", () => this.zoomToSelected());
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.plan()).observe(this.frame);
  }

  describe(model) {
    this.model = model;
    this.canvas.setAttribute("aria-label", `${this.title || "Map"}: ${counted(model.segments.length, "segment")} with ${counted(model.of.length, "block")}; the tables below list the same`);
  }

  // Shows another snapshot in the same place.
  replace(model) {
    this.describe(model);
    this.selected = Math.min(this.selected, model.of.length - 1);
    this.plan();
  }

  // Schedules one redraw before the next frame.
  plan() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(() => { this.planned = false; this.draw(); });
  }

  barWidth() {
    return Math.max(40, this.frame.clientWidth - NAME_WIDTH - 10);
  }

  // Pixels per byte.
  scale() {
    return (this.barWidth() * this.zoom) / this.model.largest;
  }

  draw() {
    const started = performance.now();
    const { model, canvas, frame } = this;
    const height = Math.min(416, model.segments.length * ROW + 8);
    const width = frame.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    this.tall.style.height = `${model.segments.length * ROW + 8}px`;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const top = frame.scrollTop;
    const hole = hatching(context);
    const groups = model.grouped(this.by);
    const colours = Array.from({ length: DISTINCT + 1 }, (_, rank) => groupColour(rank));
    const first = Math.max(0, Math.floor(top / ROW));
    const last = Math.min(model.segments.length, Math.ceil((top + height) / ROW));
    for (let row = first; row < last; row += 1) {
      this.drawSegment(context, model.segments[row], row * ROW - top + 6, hole, groups, colours);
    }
    if (this.selected >= 0) this.drawSelection(context, top);
    this.drawMilliseconds = performance.now() - started;
  }

  drawSegment(context, segment, y, hole, groups, colours) {
    const { model } = this;
    const scale = this.scale();
    const width = this.barWidth();
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = themeColour("--quiet");
    context.textBaseline = "middle";
    context.fillText(`${segment.id} ${segment.pool}`, 8, y + BAR / 2, 72);
    context.textAlign = "right";
    context.fillText(bytes(segment.bytes), NAME_WIDTH - 8, y + BAR / 2);
    context.textAlign = "left";
    const from = this.left;
    const to = from + width / scale;
    context.save();
    context.beginPath();
    context.rect(NAME_WIDTH, y, Math.max(0, Math.min(width, (segment.bytes - from) * scale)), BAR);
    context.clip();
    context.translate(NAME_WIDTH, y);
    context.fillStyle = hole;
    context.fillRect(0, 0, width, BAR);
    let at = model.blockAt(segment, from);
    let drawnTo = -1;
    for (; at < segment.end && model.offset[at] < to; at += 1) {
      if (model.state[at] === INACTIVE) continue;
      const x = (model.offset[at] - from) * scale;
      const end = x + model.size[at] * scale;
      // A block narrower than a pixel is drawn if its pixel is still empty.
      if (end - x < 1 && Math.floor(end) <= drawnTo) continue;
      context.globalAlpha = this.filter && !this.filter.matches[at] ? 0.13 : 1;
      context.fillStyle = colours[Math.min(groups.of[at], DISTINCT)];
      const gap = end - x > 4 ? 1 : 0;
      context.fillRect(x, 0, Math.max(end - x - gap, 1), BAR);
      if (this.model.of[at].pins > 0 && end - x >= 3) {
        context.fillStyle = themeColour("--ink");
        context.fillRect(x, 0, Math.min(end - x - gap, 6), 3);
      }
      drawnTo = Math.floor(end);
    }
    context.restore();
    context.globalAlpha = 1;
    context.strokeStyle = themeColour("--line");
    context.strokeRect(NAME_WIDTH + 0.5 - 1, y - 0.5, Math.max(1, Math.min(width, (segment.bytes - from) * scale)) + 1, BAR + 1);
  }

  drawSelection(context, top) {
    const { model, selected } = this;
    const row = model.segmentOf(selected);
    const y = row * ROW - top + 6;
    const scale = this.scale();
    const x = Math.max(0, (model.offset[selected] - this.left) * scale);
    const end = Math.min(this.barWidth(), (model.offset[selected] + model.size[selected] - this.left) * scale);
    if (end < 0 || x > this.barWidth()) return;
    context.strokeStyle = themeColour("--ink");
    context.lineWidth = 2;
    context.strokeRect(NAME_WIDTH + x - 1, y - 2, Math.max(end - x, 1) + 2, BAR + 4);
    context.lineWidth = 1;
  }

  // The block under the pointer, or -1.
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top + this.frame.scrollTop - 2) / ROW);
    const segment = this.model.segments[row];
    const offset = this.left + (event.clientX - box.left - NAME_WIDTH) / this.scale();
    if (!segment || offset < 0 || offset >= segment.bytes) return -1;
    return this.model.blockAt(segment, offset);
  }

  point(event) {
    const found = this.under(event);
    if (found >= 0 && found !== this.selected) this.select(found);
  }

  select(at) {
    this.selected = at;
    this.onSelect(this.model.describe(at));
    this.plan();
  }

  // Zooms around a byte, whose position on the screen does not change.
  zoomBy(factor, around) {
    const before = this.scale();
    const place = (around - this.left) * before;
    const most = Math.max(1, this.model.largest / 4096);
    this.zoom = Math.min(most, Math.max(1, this.zoom * factor));
    this.moveTo(around - place / this.scale());
  }

  moveTo(left) {
    const seen = this.barWidth() / this.scale();
    this.left = Math.max(0, Math.min(left, this.model.largest - seen));
    this.plan();
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      const x = event.clientX - this.canvas.getBoundingClientRect().left - NAME_WIDTH;
      this.zoomBy(Math.exp(-event.deltaY / 200), this.left + Math.max(0, x) / this.scale());
    } else this.moveTo(this.left + event.deltaX / this.scale());
  }

  zoomToSelected() {
    if (this.selected < 0) return;
    const { offset, size, largest } = this.model;
    this.zoom = Math.max(1, Math.min(largest / 4096, largest / (size[this.selected] * 8)));
    this.moveTo(offset[this.selected] + size[this.selected] / 2 - this.barWidth() / this.scale() / 2);
  }

  fit() {
    this.zoom = 1;
    this.moveTo(0);
  }

  key(event) {
    const { model } = this;
    if (model.of.length === 0) return;
    const at = Math.max(this.selected, 0);
    const row = model.segmentOf(at);
    const { first, end } = model.segments[row];
    const inOtherRow = (by) => {
      const other = model.segments[Math.min(Math.max(row + by, 0), model.segments.length - 1)];
      return model.blockAt(other, Math.min(model.offset[at], other.bytes - 1));
    };
    const moves = {
      ArrowRight: () => Math.min(at + (this.selected < 0 ? 0 : 1), model.of.length - 1),
      ArrowLeft: () => Math.max(at - 1, 0),
      ArrowDown: () => inOtherRow(1),
      ArrowUp: () => inOtherRow(-1),
      Home: () => first,
      End: () => end - 1,
    };
    if (moves[event.key]) {
      this.select(moves[event.key]());
      this.show();
    } else if (event.key === "Enter") this.zoomToSelected();
    else if (event.key === "Escape") this.fit();
    else if (event.key === "+" || event.key === "-") {
      this.zoomBy(event.key === "+" ? 2 : 0.5, model.offset[at] + model.size[at] / 2);
    } else return;
    event.preventDefault();
  }

  // Scrolls the selected block into view.
  show() {
    const top = this.model.segmentOf(this.selected) * ROW;
    const { frame } = this;
    if (top < frame.scrollTop) frame.scrollTop = top;
    else if (top + ROW + 8 > frame.scrollTop + frame.clientHeight) frame.scrollTop = top + ROW + 8 - frame.clientHeight;
    const start = this.model.offset[this.selected];
    const seen = this.barWidth() / this.scale();
    if (start < this.left || start > this.left + seen) this.moveTo(start - seen / 4);
  }
}
