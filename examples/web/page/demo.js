// The page of the demonstration. The module in WebAssembly computes; this script calls one of its methods at a time and draws.
// Functions such as `bytes`, `byId` and `BlockMap` are the viewer's.

import start, { Demo } from "./demo_module.js";

const WANTED = 0.9;
// The milliseconds of a frame, which has as many steps as fit.
const FRAME = 150;
const MOST_STEPS = 20;
// Validations begin so many milliseconds apart or more: on a slow device so that they take a fifth of the time.
const PAUSE = 2000;
const SHARE = 5;
// Milliseconds between the states that a screen reader speaks.
const SPOKEN = 10000;
const LEAK = 16;
// Milliseconds that a saved report can be read for.
const REVOKED = 60000;
const NAMES = ["background", "circle", "box", "line"];

const page = { calls: 0, step: 0, steps: 1, overlap: 0, running: true, looping: false, map: null, counted: "", mapped: "", pictures: null, validated: -Infinity, validation: 0, spoken: -Infinity, seed: 1 };
const plots = {
  loss: new Plot(byId("loss-plot"), "Loss", ["--accent"], (value) => value.toFixed(3)),
  overlap: new Plot(byId("overlap-plot"), "Intersection over union", ["--accent"], (value) => value.toFixed(3), 1),
  memory: new Plot(byId("memory-plot"), "Reserved and allocated memory", ["--warn", "--accent"], bytes),
};

// The module's object, which only a task in its turn gets: no method can run while another one waits for the GPU.
const turns = (() => {
  let demo = null;
  let last = Promise.resolve();
  const then = (task) => {
    const result = last.then(task);
    last = result.catch(() => {}).then(() => { document.documentElement.dataset.calls = String(page.calls += 1); });
    return result;
  };
  return {
    take: (task) => then(() => task(demo)),
    // The new object exists before the old one is freed: if it is refused, the old one stays.
    open: (seed) => then(async () => {
      const opened = await Demo.open(seed);
      demo?.free();
      demo = opened;
    }),
  };
})();
const inTurn = turns.take;

function say(text) {
  byId("answer").textContent = plain(text.replaceAll("\n", "\u2424")).replaceAll("\u2424", "\n");
}

function classColour(number) {
  return number === 0 ? themeColour("--hole") : groupColour(number - 1);
}

function missing(text) {
  byId("missing").hidden = false;
  byId("missing-text").textContent = text;
  for (const section of document.querySelectorAll("main section:not(#missing)")) section.hidden = true;
}

function showMemory(demo) {
  const memory = demo.memory();
  page.counted = `${memory.reserved} bytes in ${memory.segments} segments`;
  byId("allocated").textContent = bytes(memory.allocated);
  byId("reserved").textContent = bytes(memory.reserved);
  byId("reserved").dataset.bytes = String(memory.reserved);
  byId("peak").textContent = bytes(memory.peak);
  byId("segments").textContent = count(memory.segments);
  byId("staging").textContent = bytes(memory.staging);
  byId("limit").textContent = memory.limit > 0 ? bytes(memory.limit) : "none";
  plots.memory.add(page.step, [memory.reserved, memory.allocated]);
  memory.free();
  plots.memory.draw();
}

// Shows the snapshot of the moment that `showMemory` has counted.
function showSnapshot(demo) {
  page.mapped = page.counted;
  const model = new Model(JSON.parse(demo.snapshot()));
  if (page.map) {
    page.map.replace(model);
  } else {
    page.map = new BlockMap(model, "", (text) => { byId("details").textContent = text; });
    page.map.plan();
    byId("maps").replaceChildren(page.map.holder);
  }
  legend(byId("legend"), model.grouped("site").totals, (group) => `${bytes(group.bytes)} in ${count(group.blocks)}`);
  // A table in use is not replaced.
  const place = byId("holders-place");
  if (!place.contains(document.activeElement)) {
    const holders = holdersTable(model);
    holders.id = "holders";
    place.replaceChildren(holders);
  }
}

// Columns of an image, its true classes and its found classes. On a change of colours the same pictures are drawn again.
function drawPictures() {
  if (!page.pictures) return;
  const { size, count: shown, light, truth, found } = page.pictures;
  const canvas = byId("pictures");
  const [rows, scale, gap] = [3, 3, 6];
  const place = (number) => number * (size * scale + gap);
  canvas.width = place(shown) - gap;
  canvas.height = place(rows) - gap;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colours = NAMES.map((_, number) => {
    probe.fillStyle = classColour(number);
    probe.fillRect(0, 0, 1, 1);
    return probe.getImageData(0, 0, 1, 1).data;
  });
  let right = 0;
  for (let picture = 0; picture < shown; picture += 1) {
    for (let row = 0; row < rows; row += 1) {
      const image = new ImageData(size, size);
      for (let at = 0; at < size * size; at += 1) {
        const pixel = picture * size * size + at;
        const colour = row === 0 ? [light[pixel], light[pixel], light[pixel]] : colours[(row === 1 ? truth : found)[pixel]];
        image.data.set([colour[0], colour[1], colour[2], 255], 4 * at);
        if (row === 2 && truth[pixel] === found[pixel]) right += 1;
      }
      const tile = new OffscreenCanvas(size, size);
      tile.getContext("2d").putImageData(image, 0, 0);
      context.drawImage(tile, place(picture), place(row), size * scale, size * scale);
    }
  }
  canvas.setAttribute("aria-label", `${shown} unseen images: ${percent(right, shown * size * size)} of the pixels have the right class`);
  canvas.dataset.right = String(right / (shown * size * size));
}

async function showPictures(demo) {
  const pictures = await demo.pictures();
  const { size, count: shown, light, truth, found } = pictures;
  page.pictures = { size, count: shown, light, truth, found };
  pictures.free();
  drawPictures();
}

function showClasses() {
  byId("classes").replaceChildren(...NAMES.map((name, number) => legendItem(classColour(number), name, "")));
}

function showState() {
  const { step, overlap } = page;
  const done = overlap >= WANTED;
  const text = done
    ? `Trained: step ${count(step)}, the overlap on unseen images is ${overlap.toFixed(3)}.`
    : `Step ${count(step)}: the overlap on unseen images is ${overlap.toFixed(3)} of ${WANTED.toFixed(2)} wanted.`;
  byId("state").textContent = text;
  byId("state").dataset.step = String(step);
  // The text changes several times a second.
  if (performance.now() - page.spoken > SPOKEN) {
    page.spoken = performance.now();
    byId("spoken").textContent = text;
  }
  byId("progress").value = Math.min(1, overlap / WANTED);
}

function showProgress({ step, loss }) {
  page.step = step;
  showState();
  byId("loss").textContent = loss.toFixed(3);
  plots.loss.add(step, [loss]);
  plots.loss.draw();
}

async function validate(demo) {
  page.validated = performance.now();
  const overlap = await demo.validate();
  await showPictures(demo);
  page.overlap = overlap;
  byId("overlap").textContent = overlap.toFixed(3);
  plots.overlap.add(page.step, [overlap]);
  plots.overlap.draw();
  // The validation has changed both.
  showMemory(demo);
  showSnapshot(demo);
  showState();
  page.validation = performance.now() - page.validated;
}

async function frame(demo) {
  const begin = performance.now();
  const progress = await demo.train(page.steps);
  const taken = performance.now() - begin;
  page.steps = Math.max(1, Math.min(MOST_STEPS, Math.round((page.steps * FRAME) / taken)));
  showProgress(progress);
  progress.free();
  showMemory(demo);
  // So that the map has the segments that the totals count.
  if (page.counted !== page.mapped) showSnapshot(demo);
  if (performance.now() - page.validated > Math.max(PAUSE, SHARE * page.validation)) await validate(demo);
}

// Trains until it is paused; a refused step pauses, so that the memory can be freed first.
async function loop() {
  page.looping = true;
  while (page.running) {
    try {
      await inTurn(frame);
    } catch (error) {
      say(`The training is paused: ${error.message ?? error}`);
      run(false);
    }
    // The page draws, and the other calls have their turn.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  page.looping = false;
}

function run(running) {
  page.running = running;
  byId("pause").textContent = running ? "Pause" : "Continue";
  // A loop that was told to end may not have ended yet: it then goes on.
  if (running && !page.looping) loop();
}

async function restart() {
  page.seed += 1;
  await turns.open(page.seed);
  Object.values(plots).forEach((plot) => plot.clear());
  Object.assign(page, { step: 0, overlap: 0, pictures: null, spoken: -Infinity });
  byId("limit-input").value = "";
  byId("loss").textContent = "";
  plots.loss.draw();
  // Also while the training is paused, which then draws nothing.
  await inTurn(validate);
}

async function act(name, ...values) {
  try {
    const text = await inTurn((demo) => demo[name](...values));
    say(text);
  } catch (error) {
    say(error.message ?? String(error));
  }
  await inTurn((demo) => { showMemory(demo); showSnapshot(demo); });
}

async function benchmark() {
  const was = page.running;
  run(false);
  byId("benchmark").disabled = true;
  byId("copy").disabled = true;
  const body = byId("benchmark-table").tBodies[0];
  body.replaceChildren();
  try {
    const rows = await inTurn((demo) => demo.benchmarks);
    for (let row = 0; row < rows; row += 1) {
      byId("benchmark-state").textContent = `Measuring ${row + 1} of ${rows}`;
      const cells = await inTurn((demo) => demo.benchmark(row));
      const line = element("tr");
      line.append(...cells.map((cell, place) => element("td", cell, place > 1 ? "number" : "")));
      body.append(line);
    }
    byId("benchmark-state").textContent = "Done.";
    byId("copy").disabled = false;
  } catch (error) {
    byId("benchmark-state").textContent = error.message ?? String(error);
  }
  byId("benchmark").disabled = false;
  run(was);
}

// The table as Markdown.
async function copy() {
  const rows = Array.from(byId("benchmark-table").rows, (row) => `| ${Array.from(row.cells, (cell) => cell.textContent).join(" | ")} |`);
  rows.splice(1, 0, "| --- | --- | ---: | ---: |");
  const text = [`${byId("adapter").textContent}, ${navigator.userAgent}`, "", ...rows, ""].join("\n");
  try {
    await navigator.clipboard.writeText(text);
    byId("benchmark-state").textContent = "The table is on the clipboard.";
  } catch {
    getSelection().selectAllChildren(byId("benchmark-table"));
    byId("benchmark-state").textContent = "The browser refused the clipboard. The table is selected instead.";
  }
}

function save(text) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/html" }));
  link.download = "wgpu-pool.html";
  link.click();
  // The browser may read it after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), REVOKED);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").setAttribute("aria-pressed", String(theme === "dark"));
  showClasses();
  drawPictures();
  Object.values(plots).forEach((plot) => plot.draw());
  if (page.map) page.map.plan();
}

const preference = matchMedia("(prefers-color-scheme: dark)");
setTheme(preference.matches ? "dark" : "light");
preference.addEventListener("change", () => setTheme(preference.matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => setTheme(dark() ? "light" : "dark"));

async function open() {
  if (!navigator.gpu) {
    missing("This browser has no WebGPU, or the page did not come through https.");
    return;
  }
  try {
    await start();
    await turns.open(page.seed);
  } catch (error) {
    missing(`No GPU could be opened: ${error.message ?? error}`);
    return;
  }
  byId("adapter").textContent = await inTurn((demo) => demo.adapter);
  byId("pause").addEventListener("click", () => run(!page.running));
  byId("restart").addEventListener("click", () => restart().catch((error) => say(error.message ?? String(error))));
  byId("benchmark").addEventListener("click", benchmark);
  byId("copy").addEventListener("click", copy);
  byId("save").addEventListener("click", () => inTurn((demo) => save(demo.report())));
  byId("limit-input").addEventListener("change", async (event) => {
    const mib = Math.max(0, Math.min(65536, Math.floor(Number(event.target.value) || 0)));
    await act("set_limit", mib);
  });
  for (const button of document.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => act(button.dataset.action, ...(button.dataset.action === "leak" ? [LEAK] : [])));
  }
  // A page in the background gives its idle memory back.
  document.addEventListener("visibilitychange", () => { if (document.hidden) inTurn((demo) => { demo.trim(); }); });
  // There is no table to copy yet.
  for (const control of document.querySelectorAll("main button:not(#copy), main input")) control.disabled = false;
  loop();
}

open();
