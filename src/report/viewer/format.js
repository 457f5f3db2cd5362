// Formatting of numbers and names.

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"];

function bytes(amount) {
  if (amount < 0) return "−" + bytes(-amount);
  if (amount < 1024) return `${amount} B`;
  let unit = 0;
  let whole = amount / 1024;
  while (whole >= 1024 && unit + 1 < UNITS.length) {
    whole /= 1024;
    unit += 1;
  }
  return `${(Math.floor(whole * 10) / 10).toFixed(1)} ${UNITS[unit]}`;
}

function change(amount) {
  return amount > 0 ? "+" + bytes(amount) : bytes(amount);
}

function count(number) {
  return String(Math.abs(number)).replace(/\B(?=(\d{3})+$)/g, "\u202f").replace(/^/, number < 0 ? "−" : "");
}

// A number and its noun, which is given in the singular.
function counted(number, noun) {
  return `${count(number)} ${noun}${Math.abs(number) === 1 ? "" : "s"}`;
}

function seconds(nanoseconds) {
  if (nanoseconds < 1e3) return `${nanoseconds} ns`;
  if (nanoseconds < 1e6) return `${(nanoseconds / 1e3).toFixed(1)} µs`;
  if (nanoseconds < 1e9) return `${(nanoseconds / 1e6).toFixed(1)} ms`;
  return `${(nanoseconds / 1e9).toFixed(3)} s`;
}

function percent(part, whole) {
  return whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "–";
}

// Removes control characters and characters that change the text direction.
function plain(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "�");
}

// Creates an element with a text, which is never parsed as markup.
function element(name, text, className) {
  const created = document.createElement(name);
  if (text !== undefined) created.textContent = text;
  if (className) created.className = className;
  return created;
}

function byId(id) {
  return document.getElementById(id);
}
