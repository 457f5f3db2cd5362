// A line chart of a few series over the steps of the training. The number of points is bounded: when there are too many,
// every second one is dropped.

const MOST_POINTS = 1200;

class Plot {
  // `series` are CSS variables of colours; `text` formats a value.
  constructor(canvas, name, series, text, largest) {
    this.canvas = canvas;
    this.name = name;
    this.series = series;
    this.text = text;
    this.largest = largest;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() {
    this.points = [];
    this.every = 1;
    this.seen = 0;
  }

  add(at, values) {
    this.seen += 1;
    if (this.seen % this.every !== 0) return;
    this.points.push({ at, values });
    if (this.points.length > MOST_POINTS) {
      this.points = this.points.filter((_, place) => place % 2 === 1);
      this.every *= 2;
    }
  }

  draw() {
    const { canvas, points } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const last = points[points.length - 1];
    if (!last) return;
    const most = this.largest || Math.max(...points.flatMap((point) => point.values), Number.MIN_VALUE);
    const [left, bottom, top] = [4, height - 18, 14];
    const x = (at) => left + ((width - 2 * left) * (at - points[0].at)) / Math.max(last.at - points[0].at, 1e-9);
    const y = (value) => bottom - ((bottom - top) * value) / most;
    context.strokeStyle = themeColour("--line");
    context.fillStyle = themeColour("--quiet");
    context.font = "12px system-ui, sans-serif";
    for (const share of [0, 0.5, 1]) {
      context.beginPath();
      context.moveTo(left, y(most * share));
      context.lineTo(width - left, y(most * share));
      context.stroke();
    }
    context.fillText(this.text(most), left, top - 3);
    context.fillText(`step ${points[0].at}`, left, height - 4);
    context.textAlign = "right";
    context.fillText(`step ${last.at}`, width - left, height - 4);
    context.textAlign = "left";
    context.lineWidth = 2;
    this.series.forEach((colour, place) => {
      context.strokeStyle = themeColour(colour);
      context.beginPath();
      points.forEach((point) => context.lineTo(x(point.at), y(point.values[place])));
      context.stroke();
      // A line of one point is not visible.
      context.beginPath();
      context.arc(x(last.at), y(last.values[place]), 3, 0, 2 * Math.PI);
      context.fillStyle = context.strokeStyle;
      context.fill();
    });
    context.lineWidth = 1;
    const values = last.values.map(this.text).join(" and ");
    canvas.setAttribute("aria-label", `${this.name}: ${values} at step ${last.at}, at most ${this.text(most)}`);
  }
}
