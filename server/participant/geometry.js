// Where and how large things are: angles, contours and units, as plain numbers.

export const DISTANCE_CM = 57; // at which a participant is taken to sit
export const UNMEASURED_PX_PER_CM = 96 / 2.54; // what browsers mean by a centimetre
export const CARD_CM = { width: 8.56, height: 5.398 }; // ISO/IEC 7810 ID-1

const LOBES = [2, 3, 5];
const DEPTH = 0.25;

/** Radius at most, in mean radii, for parameters on the unit sphere. */
export const BIGGEST_BLOB = 1 + DEPTH * Math.sqrt(3);

const radians = (degrees) => (degrees * Math.PI) / 180;

export const pxPerDegree = (pxPerCm) => pxPerCm * DISTANCE_CM * Math.tan(radians(1));

/** The place on a ring at an angle counter-clockwise from the right; y is up. */
export const onRing = (directionDeg, radius) => ({
  x: radius * Math.cos(radians(directionDeg)),
  y: radius * Math.sin(radians(directionDeg)),
});

/** A closed contour whose shape is a point on the sphere; y is up. */
export function blob(parameters, radius, points = 240) {
  return Array.from({ length: points }, (_, step) => {
    const phi = (2 * Math.PI * step) / points;
    const waves = LOBES.reduce((sum, k, i) => sum + parameters[i] * Math.cos(k * phi), 0);
    const r = radius * (1 + DEPTH * waves);
    return { x: r * Math.cos(phi), y: r * Math.sin(phi) };
  });
}

const CYCLES_PER_DEG = 1;
const CONTRAST = 0.9;
const SDS_TO_THE_EDGE = 3;

/**
 * Grey levels of a Gabor, row by row from the top, in [0, 1]. Stripes lie at
 * `orientationDeg`, counter-clockwise from horizontal; `phase` is in cycles.
 */
export function gabor(side, sizeDeg, orientationDeg, phase) {
  const levels = new Float32Array(side * side);
  const [sine, cosine] = [Math.sin, Math.cos].map((of) => of(radians(orientationDeg)));
  const perDeg = side / sizeDeg;
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const [x, y] = [column + 0.5 - side / 2, side / 2 - row - 0.5];
      const across = (y * cosine - x * sine) / perDeg; // degrees across the stripes
      const sds = (Math.hypot(x, y) / (side / 2)) * SDS_TO_THE_EDGE;
      const window = sds < SDS_TO_THE_EDGE ? Math.exp((-sds * sds) / 2) : 0;
      const wave = Math.sin(2 * Math.PI * (CYCLES_PER_DEG * across + phase));
      levels[row * side + column] = 0.5 + 0.5 * CONTRAST * window * wave;
    }
  }
  return levels;
}
