// Stimuli by the names of their parameters, drawn on a canvas or played.
//
// Each is made ready before its trial: `draw` and `begin` take no time then.

import { fileOf } from "./files.js";
import { BIGGEST_BLOB, blob, gabor, onRing } from "./geometry.js";

const INK = "#161616";
const PAPER = "#f7f6f2";
const GOLDEN = (Math.sqrt(5) - 1) / 2;
const MARGIN = 0.96; // of the field that a stimulus may fill

const still = { begin: () => {}, end: () => {} };

/** As large as wanted, or as fits: how much larger than `diameter` it gets is `reach`. */
const fitting = ({ field, sizeDeg, pxPerDeg }, reach) =>
  Math.min(sizeDeg * pxPerDeg, (MARGIN * Math.min(field.width, field.height)) / reach);

function outlined(context, fill) {
  if (fill) {
    context.fillStyle = fill;
    context.fill();
  }
  context.strokeStyle = INK;
  context.lineWidth = 2;
  context.stroke();
}

/** Each trial has a phase of its own, so that no pixel tells the angle. */
function grating(stimulus, at, index) {
  const diameter = fitting(at, 1);
  const side = Math.round(diameter * at.pixelRatio);
  const picture = document.createElement("canvas");
  picture.width = picture.height = side;
  const context = picture.getContext("2d");
  const image = context.createImageData(side, side);
  const phase = (index * GOLDEN) % 1;
  const sizeDeg = diameter / at.pxPerDeg;
  gabor(side, sizeDeg, Number(stimulus.orientation_deg), phase).forEach((level, n) => {
    image.data.fill(Math.round(255.5 * level), 4 * n, 4 * n + 3);
    image.data[4 * n + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  const corner = -side / at.pixelRatio / 2;
  const draw = (onto) => onto.drawImage(picture, corner, corner, -2 * corner, -2 * corner);
  return { ...still, draw, diameter };
}

function dot(stimulus, at) {
  const diameter = fitting(at, 1 + 1 / 8);
  const radius = diameter / 2;
  const { x, y } = onRing(Number(stimulus.direction_deg), radius);
  const circle = (context, left, down, r, fill) => {
    context.beginPath();
    context.arc(left, down, r, 0, 2 * Math.PI);
    outlined(context, fill);
  };
  const draw = (context) => {
    circle(context, 0, 0, radius, null);
    circle(context, x, -y, Math.max(5, radius / 8), PAPER);
  };
  return { ...still, draw, diameter };
}

function shape(stimulus, at) {
  const diameter = fitting(at, BIGGEST_BLOB);
  const contour = blob(stimulus.parameters.map(Number), diameter / 2);
  const draw = (context) => {
    context.beginPath();
    for (const { x, y } of contour) context.lineTo(x, -y);
    context.closePath();
    outlined(context, PAPER);
  };
  return { ...still, draw, diameter };
}

async function picture(stimulus, at) {
  const diameter = fitting(at, 1);
  const image = await at.files.image(fileOf(stimulus));
  const zoom = diameter / Math.max(image.naturalWidth, image.naturalHeight);
  const [width, height] = [zoom * image.naturalWidth, zoom * image.naturalHeight];
  const draw = (context) =>
    context.drawImage(image, -width / 2, -height / 2, width, height);
  return { ...still, draw, diameter };
}

/** Nothing but the fixation cross is seen while something is heard. */
async function played(buffer, at) {
  await at.sound.ready();
  return {
    draw: at.cross,
    begin: () => at.sound.play(buffer),
    end: () => at.sound.stop(),
    clocks: { audio_latency_s: at.sound.latencyMs / 1000 },
  };
}

const tone = (stimulus, at) =>
  played(at.sound.tone(Number(stimulus.frequency_hz), Number(stimulus.phase_deg)), at);

const recording = async (stimulus, at) => {
  const bytes = await (await at.files.bytes(stimulus.file)).arrayBuffer();
  return played(await at.sound.recording(bytes), at);
};

// What shows a stimulus that has a parameter of this name; the first that fits.
const KINDS = {
  file: picture,
  image: picture,
  orientation_deg: grating,
  direction_deg: dot,
  parameters: shape,
  phase_deg: tone,
};

/** Nothing here can show it. */
export class Unshowable extends Error {}

/** A stimulus ready to be shown in trial `index`; `at` says where and how large. */
export async function prepared(stimulus, at, index) {
  const kind = Object.keys(KINDS).find((name) => stimulus[name] != null);
  if (kind === undefined) {
    const named = Object.keys(stimulus).join(", ") || "nothing";
    const known = Object.keys(KINDS).join(", ");
    throw new Unshowable(`no way is known to show a stimulus of ${named}: expected ${known}`);
  }
  const sounds = kind === "file" && /\.wav$/i.test(stimulus.file);
  return (sounds ? recording : KINDS[kind])(stimulus, at, index);
}
