// Labellings of a ring, of a line, over planes of two features, and of single points.

import { colour, paint, styled } from "./colours.js";
import { Picture } from "./picture.js";

const FONT = (ratio) => `${12 * ratio}px system-ui, 'DejaVu Sans', sans-serif`;

/** A number as short as it can be. */
const short = (number) => String(Number(number.toPrecision(3)));

/** A curve over `x` from `low` to `high`, in the colours of its height, in a frame. */
function curve(pen, box, { x, label, low, high, ticks, name }, ratio) {
  const across = (at) => box.left + ((at - low) / (high - low)) * box.wide;
  const up = (value) => box.top + ((1 - value) / 2) * box.high;
  pen.font = FONT(ratio);
  pen.fillStyle = styled("quiet");
  pen.strokeStyle = styled("line");
  pen.lineWidth = ratio;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const value of [-1, 0, 1]) {
    pen.beginPath();
    pen.moveTo(box.left, up(value));
    pen.lineTo(box.left + box.wide, up(value));
    pen.stroke();
    pen.fillText(value < 0 ? "−1" : value > 0 ? "+1" : "0", box.left - 6 * ratio, up(value));
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const tick of ticks) pen.fillText(short(tick), across(tick), box.top + box.high + 6 * ratio);
  pen.fillText(name, box.left + box.wide / 2, box.top + box.high + 22 * ratio);
  pen.lineCap = "round";
  pen.lineJoin = "round";
  const trace = (i) => (
    pen.moveTo(across(x[i]), up(label[i])),
    pen.lineTo(across(x[i + 1]), up(label[i + 1]))
  );
  pen.strokeStyle = styled("quiet");
  pen.lineWidth = 5.5 * ratio;
  pen.beginPath();
  for (let i = 0; i + 1 < x.length; i += 1) trace(i);
  pen.stroke();
  pen.lineWidth = 3.5 * ratio;
  for (let i = 0; i + 1 < x.length; i += 1) {
    pen.strokeStyle = colour((label[i] + label[i + 1]) / 2);
    pen.beginPath();
    trace(i);
    pen.stroke();
  }
}

/** A ring beside the same as a curve; of orientations, half a turn is all of it. */
export class Ring extends Picture {
  constructor() {
    super(0.42, "Labels around the circle");
  }

  paint(pen, wide, high, ratio) {
    const { angle_deg: angle, label, turn_deg: turn, name } = this.shown;
    const radius = Math.min(high / 2 - 22 * ratio, 0.19 * wide);
    const centre = [radius + 22 * ratio, high / 2];
    const thick = 0.3 * radius;
    const each = (2 * Math.PI) / angle.length;
    pen.lineWidth = thick;
    pen.lineCap = "butt";
    angle.forEach((degrees, i) => {
      const at = (-2 * Math.PI * degrees) / turn;
      pen.strokeStyle = colour(label[i]);
      pen.beginPath();
      pen.arc(...centre, radius - thick / 2, at - each / 2 - 0.01, at + each / 2 + 0.01);
      pen.stroke();
    });
    pen.strokeStyle = styled("quiet");
    pen.lineWidth = ratio;
    for (const edge of [radius, radius - thick]) {
      pen.beginPath();
      pen.arc(...centre, edge, 0, 2 * Math.PI);
      pen.stroke();
    }
    pen.font = FONT(ratio);
    pen.fillStyle = styled("quiet");
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (let quarter = 0; quarter < 4; quarter += 1) {
      const at = (-Math.PI * quarter) / 2;
      const out = radius + 13 * ratio;
      const words = `${short((turn * quarter) / 4)}°`;
      pen.fillText(words, centre[0] + out * Math.cos(at), centre[1] + out * Math.sin(at));
    }
    const left = 2 * radius + 92 * ratio;
    const box = { left, top: 14 * ratio, wide: wide - left - 14 * ratio, high: high - 60 * ratio };
    const whole = {
      x: [...angle, angle[0] + turn],
      label: [...label, label[0]],
      low: angle[0],
      high: angle[0] + turn,
    };
    curve(pen, box, { ...whole, ticks: [0, turn / 2, turn], name: `${name} (deg)` }, ratio);
  }
}

/** Of one feature only. */
export class Line extends Picture {
  constructor() {
    super(0.42, "Labels along the feature");
  }

  paint(pen, wide, high, ratio) {
    const { x, label, name, unit } = this.shown;
    const [low, top] = [Math.min(...x), Math.max(...x)];
    const box = {
      left: 40 * ratio,
      top: 14 * ratio,
      wide: wide - 60 * ratio,
      high: high - 60 * ratio,
    };
    const words = unit ? `${name} (${unit})` : name;
    curve(
      pen,
      box,
      { x, label, low, high: top, ticks: [low, (low + top) / 2, top], name: words },
      ratio,
    );
  }
}

/** Two features, the others at their middle. */
export class Plane extends Picture {
  constructor() {
    super(1, "Labels over two features");
  }

  paint(pen, wide, high, ratio) {
    const { columns, rows, label, x, y, x_unit: xUnit, y_unit: yUnit } = this.shown;
    this.canvas.setAttribute("aria-label", `Labels over ${x} and ${y}`);
    const [left, low] = [34 * ratio, 34 * ratio];
    const [across, up] = [wide - left - 4 * ratio, high - low - 4 * ratio];
    const grid = new OffscreenCanvas(columns, rows);
    const brush = grid.getContext("2d");
    const image = brush.createImageData(columns, rows);
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        paint(
          image.data,
          4 * ((rows - 1 - row) * columns + column),
          label[row * columns + column] / 100,
        );
      }
    }
    brush.putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(grid, left, 4 * ratio, across, up);
    pen.strokeStyle = styled("quiet");
    pen.lineWidth = ratio;
    pen.strokeRect(left, 4 * ratio, across, up);
    pen.font = FONT(ratio);
    pen.fillStyle = styled("quiet");
    const ends = ([from, to], place) => [
      [from, place[0]],
      [to, place[1]],
    ];
    pen.textBaseline = "top";
    for (const [value, at] of ends(this.shown.x_range, [left, left + across])) {
      pen.textAlign = at === left ? "left" : "right";
      pen.fillText(short(value), at, 4 * ratio + up + 5 * ratio);
    }
    pen.textAlign = "center";
    pen.fillText(named(x, xUnit), left + across / 2, 4 * ratio + up + 17 * ratio);
    pen.save();
    pen.translate(0, 4 * ratio + up);
    pen.rotate(-Math.PI / 2);
    for (const [value, at] of ends(this.shown.y_range, [0, up])) {
      pen.textAlign = at === 0 ? "left" : "right";
      pen.fillText(short(value), at, 18 * ratio);
    }
    pen.textAlign = "center";
    pen.fillText(named(y, yUnit), up / 2, 4 * ratio);
    pen.restore();
  }
}

const named = (name, unit) => `${name.replaceAll("_", " ")}${unit ? ` (${unit})` : ""}`;

/** Every stimulus at its place in the space's own view. */
export class Points extends Picture {
  constructor() {
    super(0.8, "Labels of the stimuli, each at its place");
  }

  paint(pen, wide, high, ratio) {
    const { x, y, label } = this.shown;
    const size = Math.min(7, Math.max(2, 60 / Math.sqrt(x.length))) * ratio;
    const placed = (values, whole, turned) => {
      const [low, top] = [Math.min(...values), Math.max(...values)];
      const margin = size + 6 * ratio;
      const at = (value) => margin + ((value - low) / (top - low || 1)) * (whole - 2 * margin);
      return values.map((value) => (turned ? whole - at(value) : at(value)));
    };
    const [across, up] = [placed(x, wide, false), placed(y, high, true)];
    pen.strokeStyle = styled("quiet");
    pen.lineWidth = 0.5 * ratio;
    label.forEach((value, i) => {
      pen.fillStyle = colour(value);
      pen.beginPath();
      pen.arc(across[i], up[i], size, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    });
  }
}
