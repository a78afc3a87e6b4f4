// Colours of labels: the same in every picture of Penchant, the report's included.
// Blue to red as in ColorBrewer's RdBu (Brewer 1994-2013), which the colour-blind can read.

const STOPS = [
  [5, 48, 97],
  [33, 102, 172],
  [67, 147, 195],
  [146, 197, 222],
  [209, 229, 240],
  [247, 247, 247],
  [253, 219, 199],
  [244, 165, 130],
  [214, 96, 77],
  [178, 24, 43],
  [103, 0, 31],
];
const STEPS = 256;
const TABLE = new Uint8ClampedArray(3 * (STEPS + 1));

for (let i = 0; i <= STEPS; i += 1) {
  const at = (i / STEPS) * (STOPS.length - 1);
  const from = Math.min(Math.floor(at), STOPS.length - 2);
  for (let c = 0; c < 3; c += 1) {
    TABLE[3 * i + c] = STOPS[from][c] + (at - from) * (STOPS[from + 1][c] - STOPS[from][c]);
  }
}

const place = (label) => 3 * Math.round((STEPS * (Math.min(1, Math.max(-1, label)) + 1)) / 2);

/** Write the colour of a label into the pixels of an `ImageData`. */
export function paint(pixels, at, label) {
  const from = place(label);
  pixels[at] = TABLE[from];
  pixels[at + 1] = TABLE[from + 1];
  pixels[at + 2] = TABLE[from + 2];
  pixels[at + 3] = 255;
}

/** The colour of a label in CSS. */
export function colour(label) {
  const from = place(label);
  return `rgb(${TABLE[from]},${TABLE[from + 1]},${TABLE[from + 2]})`;
}

/** A colour of the page's style, light or dark as it is now. */
export const styled = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const SERIES = 6;

/** Colours that the colour-blind tell apart (Okabe & Ito 2008), of groups and components. */
export const series = (number) => styled(`series-${number % SERIES}`);
