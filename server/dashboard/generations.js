// The error of each generation: best, median and quartiles, component after component.

import { Chart, FONT, axis } from "./chart.js";
import { series, styled } from "./colours.js";
import { html, nothing } from "./vendor/lit-html.js";
import { decimal, without } from "./words.js";

const CHANCE = 1; // the relative error of whoever answers nothing
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
const TABLED = 12; // rows of the table, the last ones

const faint = (hex, share) =>
  `${hex}${Math.round(255 * share)
    .toString(16)
    .padStart(2, "0")}`;

/** The last generation that has been told; the one after it is under way. */
function last(generations) {
  if (!generations) return -1;
  const { median } = Object.values(generations.groups)[0] ?? { median: [] };
  return median.findLastIndex((error) => error !== null);
}

/** Parts of the x axis by component: [component, first x, last x]. */
function spans({ component }, x) {
  const parts = [];
  component.forEach((one, i) => {
    if (parts.at(-1)?.[0] !== one) parts.push([one, x[i], x[i]]);
    parts.at(-1)[2] = x[i];
  });
  return parts;
}

/** Draws what lies behind the curves: components, and the error of pure chance. */
function behind(plot, parts, name) {
  const { ctx: pen, bbox } = plot;
  const ratio = devicePixelRatio;
  pen.save();
  pen.beginPath();
  pen.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  pen.clip();
  pen.font = FONT.replace("13px", `${12 * ratio}px`);
  pen.textAlign = "left";
  pen.textBaseline = "alphabetic";
  parts.forEach(([component, first], i) => {
    const from = i === 0 ? bbox.left : plot.valToPos((first + parts[i - 1][2]) / 2, "x", true);
    const to = parts[i + 1]
      ? plot.valToPos((parts[i][2] + parts[i + 1][1]) / 2, "x", true)
      : bbox.left + bbox.width;
    if (i % 2) {
      pen.fillStyle = styled("ground");
      pen.fillRect(from, bbox.top, to - from, bbox.height);
    }
    pen.fillStyle = styled("quiet");
    const words = to - from > 110 * ratio ? `component ${component + 1}` : `${component + 1}`;
    pen.fillText(words, from + 6 * ratio, bbox.top + 14 * ratio);
  });
  const y = plot.valToPos(CHANCE, "y", true);
  pen.strokeStyle = styled("quiet");
  pen.setLineDash([4 * ratio, 4 * ratio]);
  pen.beginPath();
  pen.moveTo(bbox.left, y);
  pen.lineTo(bbox.left + bbox.width, y);
  pen.stroke();
  pen.fillStyle = styled("quiet");
  pen.textAlign = "right";
  pen.fillText(name, bbox.left + bbox.width - 4 * ratio, bbox.top + 14 * ratio);
  pen.restore();
}

export class Generations {
  #charts = new Map(); // by group
  #picked = null;

  constructor(store, changed) {
    Object.assign(this, { store, changed });
  }

  view() {
    const { generations } = this.store;
    const known = last(generations) >= 0;
    return html`<section class="panel generations" aria-labelledby="generations-title" id="generations">
      <header><h2 id="generations-title">Error per generation</h2>
        <ul class="legend"><li><i class="swatch line"></i>median</li><li><i class="swatch band"></i>quartiles</li>
          <li><i class="swatch dot"></i>best</li><li><i class="swatch dashed"></i>knows nothing</li></ul></header>
      ${
        known
          ? html`${Object.keys(generations.groups).map((group) => this.#chart(group).element)}
            <p class="readout">${this.#words(generations)}</p>${table(generations)}`
          : html`<p class="empty">${without(generations, "The first generation is not complete yet.")}</p>`
      }
    </section>`;
  }

  draw(theme) {
    const { generations } = this.store;
    if (last(generations) < 0) return;
    const x = generations.sessions_so_far;
    const parts = spans(generations, x);
    const groups = Object.entries(generations.groups);
    const top = Math.max(
      1.15,
      ...groups.flatMap(([, g]) => g.upper_quartile.filter((e) => e !== null)),
    );
    groups.forEach(([group, g], i) => {
      const data = [x, g.upper_quartile, g.lower_quartile, g.median, g.best];
      const about = `${theme} ${JSON.stringify(parts.map(([c, first]) => [c, first]))} ${Math.min(x.length, 4)} ${top > 3}`;
      const options = () => this.#options(group, series(i), top > 3 ? 3 : top);
      this.#chart(group).draw(about + top.toFixed(1), options, data);
    });
  }

  #chart(group) {
    if (!this.#charts.has(group)) this.#charts.set(group, new Chart());
    return this.#charts.get(group);
  }

  #options(group, colour, top) {
    const line = { points: { show: false }, spanGaps: false };
    const few = this.store.generations.component.length < 4;
    const margin = (low, high) => 0.015 * (high - low) || 1;
    const drawn = ({ store } = this) => spans(store.generations, store.generations.sessions_so_far);
    return {
      padding: [8, 10, 0, 0],
      cursor: { y: false, sync: { key: "generations" }, points: { show: false } },
      scales: {
        x: {
          time: false,
          range: (_, low, high) => [low - margin(low, high), high + margin(low, high)],
        },
        y: { range: [0, top] },
      },
      axes: [axis("sessions so far", { incrs: WHOLE }), axis("relative error", { size: 44 })],
      bands: [{ series: [1, 2], fill: faint(colour, 0.22) }],
      series: [
        {},
        { ...line, width: 0 },
        { ...line, width: 0 },
        { ...line, stroke: colour, width: 2, points: { show: few, size: 6 } },
        {
          stroke: styled("ink"),
          width: 0,
          paths: () => null,
          points: { show: true, size: 6, fill: styled("paper") },
        },
      ],
      hooks: {
        drawClear: [(plot) => behind(plot, drawn(), group)],
        setCursor: [({ cursor }) => this.#point(cursor.idx)],
      },
    };
  }

  #point(index) {
    if (index === this.#picked) return;
    this.#picked = index;
    this.changed();
  }

  /** The generation that is pointed at, or the last one. */
  #words(generations) {
    const i = this.#picked ?? last(generations);
    const at = `Component ${generations.component[i] + 1}, generation ${generations.generation[i] + 1}`;
    const groups = Object.entries(generations.groups).map(([name, g]) => {
      const who = name ? `${name}: ` : "";
      return `${who}median ${decimal(g.median[i])} (${decimal(g.lower_quartile[i])} to ${decimal(g.upper_quartile[i])}), best ${decimal(g.best[i])}`;
    });
    return `${at}. ${groups.join("; ")}`;
  }
}

/** The same as numbers, for whoever cannot see the curves. */
function table(generations) {
  const all = generations.component
    .map((_, i) => i)
    .slice(0, last(generations) + 1)
    .slice(-TABLED)
    .reverse();
  const groups = Object.entries(generations.groups);
  const cells = (g, i) => [g.best[i], g.lower_quartile[i], g.median[i], g.upper_quartile[i]];
  return html`<details><summary>As a table</summary><div class="scroll"><table>
    <caption class="unseen">Relative error of the last ${all.length} generations</caption>
    <thead><tr><th scope="col">Component</th><th scope="col">Generation</th>${groups.map(([name]) =>
      ["best", "lower quartile", "median", "upper quartile"].map(
        (column) =>
          html`<th scope="col" class="number">${name ? html`${name}, ` : nothing}${column}</th>`,
      ),
    )}</tr></thead>
    <tbody>${all.map(
      (
        i,
      ) => html`<tr><td class="number">${generations.component[i] + 1}</td><td class="number">${generations.generation[i] + 1}</td>
      ${groups.map(([, g]) => cells(g, i).map((cell) => html`<td class="number">${decimal(cell)}</td>`))}</tr>`,
    )}</tbody>
  </table></div></details>`;
}
