// A labelling on the sphere: an equal-area map, and a globe to be turned.

import { paint, styled } from "./colours.js";
import { Picture } from "./picture.js";

const { geoProjection, geoGraticule10, geoPath, geoOrthographic } = d3;
const DEGREE = Math.PI / 180;
const STEP_DEG = 10; // of an arrow key
const FIRST = [-20, -25]; // how the globe is held at first

/** Hammer's projection, which keeps areas; the report's maps have it too. */
function hammer(longitude, latitude) {
  const depth = Math.sqrt(1 + Math.cos(latitude) * Math.cos(longitude / 2));
  return [
    (2 * Math.SQRT2 * Math.cos(latitude) * Math.sin(longitude / 2)) / depth,
    (Math.SQRT2 * Math.sin(latitude)) / depth,
  ];
}

/** Longitude and latitude of a place on the map; null outside of it. */
hammer.invert = (x, y) => {
  const inside = 1 - (x / 4) ** 2 - (y / 2) ** 2;
  if (inside < 0.5) return null;
  const depth = Math.sqrt(inside);
  return [
    2 * Math.atan2(depth * x, 2 * (2 * inside - 1)),
    Math.asin(Math.max(-1, Math.min(1, depth * y))),
  ];
};

/** The label at a place, between the four points of the grid around it. */
function sampled({ rows, columns, label }, longitude, latitude) {
  const row = ((90 - latitude / DEGREE) / 180) * (rows - 1);
  const column = (((longitude / DEGREE + 180) / 360) * columns + columns) % columns;
  const [top, left] = [Math.min(Math.floor(row), rows - 2), Math.floor(column)];
  const [down, across] = [row - top, column - left];
  const right = (left + 1) % columns;
  const at = (r, c) => label[r * columns + c];
  const upper = at(top, left) * (1 - across) + at(top, right) * across;
  const lower = at(top + 1, left) * (1 - across) + at(top + 1, right) * across;
  return (upper * (1 - down) + lower * down) / 100;
}

/** Fill the pixels whose place on the sphere `whereOf` tells. */
function fill(pen, wide, high, whereOf, grid) {
  const image = pen.createImageData(wide, high);
  for (let y = 0; y < high; y += 1) {
    for (let x = 0; x < wide; x += 1) {
      const place = whereOf(x + 0.5, y + 0.5);
      if (place) paint(image.data, 4 * (y * wide + x), sampled(grid, place[0], place[1]));
    }
  }
  pen.putImageData(image, 0, 0);
}

function lines(pen, projection, ratio) {
  const path = geoPath(projection, pen);
  pen.lineWidth = 0.5 * ratio;
  pen.strokeStyle = "rgba(0, 0, 0, 0.25)";
  pen.beginPath();
  path(geoGraticule10());
  pen.stroke();
  pen.lineWidth = 1.5 * ratio;
  pen.strokeStyle = styled("quiet");
  pen.beginPath();
  path({ type: "Sphere" });
  pen.stroke();
}

/** The whole sphere at once. */
export class SphereMap extends Picture {
  constructor() {
    super(0.5, "Equal-area map of the labelling on the sphere");
  }

  paint(pen, wide, high, ratio) {
    const scale = (wide / 2 - 2 * ratio) / (2 * Math.SQRT2);
    const projection = geoProjection(hammer)
      .scale(scale)
      .translate([wide / 2, high / 2]);
    const where = (x, y) => hammer.invert((x - wide / 2) / scale, (high / 2 - y) / scale);
    fill(pen, wide, high, where, this.shown);
    lines(pen, projection, ratio);
  }
}

/** Turned by dragging it, or by arrow keys. */
export class Globe extends Picture {
  #held = [...FIRST];
  #from = null;

  constructor() {
    super(1, "Globe with the labelling. Arrow keys turn it, Home turns it back.");
    const { canvas } = this;
    canvas.tabIndex = 0;
    canvas.classList.add("globe");
    canvas.setAttribute("role", "application");
    canvas.addEventListener("pointerdown", (event) => this.#take(event));
    canvas.addEventListener("pointermove", (event) => this.#drag(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => (this.#from = null));
    }
    canvas.addEventListener("dblclick", () => this.#turn(FIRST));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  paint(pen, wide, high, ratio) {
    const radius = wide / 2 - 2 * ratio;
    const [lambda, phi] = this.#held.map((degrees) => degrees * DEGREE);
    const [sine, cosine] = [Math.sin(-phi), Math.cos(-phi)];
    const where = (x, y) => {
      const [east, north] = [(x - wide / 2) / radius, (high / 2 - y) / radius];
      const inside = 1 - east * east - north * north;
      if (inside < 0) return null;
      const near = Math.sqrt(inside); // towards whoever looks
      const [up, out] = [north * cosine + near * sine, near * cosine - north * sine];
      return [Math.atan2(east, out) - lambda, Math.asin(Math.max(-1, Math.min(1, up)))];
    };
    fill(pen, wide, high, where, this.shown);
    const projection = geoOrthographic()
      .rotate(this.#held)
      .scale(radius)
      .translate([wide / 2, high / 2]);
    lines(pen, projection, ratio);
    this.#poles(pen, projection, ratio);
  }

  #poles(pen, projection, ratio) {
    pen.font = `${11 * ratio}px system-ui, sans-serif`;
    pen.textAlign = "center";
    const facing = (latitude) => latitude * this.#held[1] <= 0;
    for (const [name, latitude] of [
      ["N", 90],
      ["S", -90],
    ]) {
      if (!facing(latitude)) continue;
      const [x, y] = projection([0, latitude]);
      pen.fillStyle = "#161616";
      pen.beginPath();
      pen.arc(x, y, 2 * ratio, 0, 2 * Math.PI);
      pen.fill();
      pen.fillText(name, x + 7 * ratio, y - 3 * ratio);
    }
  }

  #take(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.#from = [event.clientX, event.clientY, ...this.#held];
  }

  #drag(event) {
    if (!this.#from) return;
    const [x, y, lambda, phi] = this.#from;
    const perPixel = 180 / this.canvas.clientWidth;
    this.#turn([lambda + (event.clientX - x) * perPixel, phi - (event.clientY - y) * perPixel]);
  }

  #key(event) {
    const [lambda, phi] = this.#held;
    const turns = {
      ArrowLeft: [lambda - STEP_DEG, phi],
      ArrowRight: [lambda + STEP_DEG, phi],
      ArrowUp: [lambda, phi - STEP_DEG],
      ArrowDown: [lambda, phi + STEP_DEG],
      Home: FIRST,
    };
    if (!(event.key in turns)) return;
    event.preventDefault();
    this.#turn(turns[event.key]);
  }

  #turn([lambda, phi]) {
    this.#held = [lambda % 360, Math.max(-90, Math.min(90, phi))];
    this.again();
  }
}
