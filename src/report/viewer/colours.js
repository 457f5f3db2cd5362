// Colours of groups: widely spaced hues at three levels of lightness, so that neighbours are distinguishable with
// colour blindness, too.

const dark = () => document.documentElement.dataset.theme === "dark";

function groupColour(rank) {
  if (rank >= DISTINCT) return dark() ? "oklch(0.55 0.02 260)" : "oklch(0.68 0.02 260)";
  const lightness = [0.6, 0.76, 0.46][rank % 3] + (dark() ? 0.06 : 0);
  const hue = (255 + rank * 137.508) % 360;
  return `oklch(${lightness} 0.13 ${hue.toFixed(1)})`;
}

function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// The fill pattern of a hole.
function hatching(context) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const drawn = tile.getContext("2d");
  drawn.fillStyle = themeColour("--hole");
  drawn.fillRect(0, 0, 8, 8);
  drawn.strokeStyle = themeColour("--hatch");
  drawn.lineWidth = 1;
  drawn.beginPath();
  for (const shift of [-8, 0, 8]) {
    drawn.moveTo(shift, 8);
    drawn.lineTo(shift + 8, 0);
  }
  drawn.stroke();
  return context.createPattern(tile, "repeat");
}

// The legend of groups, with the amount of each.
function legend(list, groups, amount) {
  const shown = groups.slice(0, DISTINCT);
  const rest = groups.slice(DISTINCT);
  const items = shown.map((group, rank) => legendItem(groupColour(rank), group.name, amount(group)));
  if (rest.length > 0) {
    const sum = { bytes: 0, blocks: 0 };
    for (const group of rest) {
      sum.bytes += group.bytes;
      sum.blocks += group.blocks;
    }
    items.push(legendItem(groupColour(DISTINCT), `${count(rest.length)} more`, amount(sum)));
  }
  list.replaceChildren(...items);
}

function legendItem(colour, name, amount) {
  const item = element("li");
  const swatch = element("span", undefined, "swatch");
  swatch.style.background = colour;
  item.append(swatch, element("span", name, "name"), element("span", amount, "amount"));
  return item;
}
