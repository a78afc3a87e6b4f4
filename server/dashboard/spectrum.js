// The bias spectrum: the subjects' error on labellings of each order, beside what chance gives.

import { Chart, FONT, axis } from "./chart.js";
import { series, styled } from "./colours.js";
import { html, nothing } from "./vendor/lit-html.js";
import { COMPUTING, decimal, without } from "./words.js";

const NOTHING =
  "Too few sessions have ended to tell the orders apart. A low error will mean: easily generalised.";
const ASIDE = 0.16; // of an order: the null stands so far to the right

const known = (number) => number !== null && number !== undefined;

/** A value with its interval: a dot (square, if of the null) on a bar with caps. */
function whisker(plot, at, [value, low, high], { colour, square }) {
  const { ctx: pen } = plot;
  const ratio = devicePixelRatio;
  const x = plot.valToPos(at, "x", true);
  const y = (number) => plot.valToPos(number, "y", true);
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = 2 * ratio;
  if (known(low) && known(high)) {
    pen.beginPath();
    pen.moveTo(x, y(low));
    pen.lineTo(x, y(high));
    for (const end of [low, high]) {
      pen.moveTo(x - 4 * ratio, y(end));
      pen.lineTo(x + 4 * ratio, y(end));
    }
    pen.stroke();
  }
  const size = 4.5 * ratio;
  pen.beginPath();
  if (square) pen.rect(x - size, y(value) - size, 2 * size, 2 * size);
  else pen.arc(x, y(value), size, 0, 2 * Math.PI);
  if (square) pen.fillStyle = styled("paper");
  pen.fill();
  pen.stroke();
}

function drawn(plot, spectrum) {
  const { ctx: pen, bbox } = plot;
  pen.save();
  spectrum.orders.forEach((_, i) => {
    const value = spectrum.error[i];
    if (known(value)) {
      whisker(plot, i, [value, spectrum.low[i], spectrum.high[i]], { colour: series(0) });
    } else {
      pen.font = FONT.replace("13px", `${15 * devicePixelRatio}px`);
      pen.fillStyle = styled("quiet");
      pen.textAlign = "center";
      const x = plot.valToPos(i, "x", true);
      pen.fillText("?", x, bbox.top + bbox.height - 8 * devicePixelRatio);
    }
    const none = spectrum.null;
    if (none && known(none.median[i])) {
      const colour = styled("quiet");
      whisker(plot, i + ASIDE, [none.median[i], none.low[i], none.high[i]], {
        colour,
        square: true,
      });
    }
  });
  pen.restore();
}

export class Spectrum {
  #chart = new Chart(210);

  constructor(store) {
    this.store = store;
  }

  view() {
    const { spectrum, overview } = this.store;
    const whose = overview.groups.length ? "all groups together" : "subjects";
    const some = spectrum?.error?.some(known);
    return html`<section class="panel spectrum" aria-labelledby="spectrum-title" id="spectrum">
      <header><h2 id="spectrum-title">Bias spectrum</h2>
        ${
          some
            ? html`<ul class="legend"><li><i class="swatch dot filled"></i>${whose}</li>
              ${spectrum.null ? html`<li><i class="swatch square"></i>by chance</li>` : nothing}
              ${spectrum.error.every(known) ? nothing : html`<li><b>?</b> not known yet</li>`}</ul>`
            : nothing
        }</header>
      ${
        some
          ? html`${this.#chart.element}<p class="quiet how">${spectrum.how}</p>${table(spectrum)}`
          : html`<p class="empty">${spectrum?.pending ? COMPUTING : without(spectrum, NOTHING)}</p>`
      }
      ${some ? powers(spectrum) : nothing}
    </section>`;
  }

  draw(theme) {
    const { spectrum } = this.store;
    if (!spectrum?.error?.some(known)) return;
    const numbers = [spectrum.error, spectrum.high, spectrum.null?.high ?? []].flat().filter(known);
    const top = Math.max(1.1, ...numbers);
    const x = spectrum.orders.map((_, i) => i);
    const about = `${theme} ${spectrum.orders} ${top.toFixed(1)}`;
    this.#chart.draw(about, () => this.#options(x.length, top), [x, spectrum.error]);
  }

  #options(number, top) {
    const names = (_, splits) => splits.map((at) => this.store.spectrum.orders[at] ?? "");
    return {
      padding: [8, 10, 0, 0],
      cursor: { show: false },
      scales: { x: { time: false, range: [-0.5, number - 0.5] }, y: { range: [0, top * 1.04] } },
      axes: [
        axis("order of the basis", {
          splits: () => Array.from({ length: number }, (_, i) => i),
          values: names,
          grid: { show: false },
        }),
        axis("relative error", { size: 44 }),
      ],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: { draw: [(plot) => drawn(plot, this.store.spectrum)] },
    };
  }
}

function table(spectrum) {
  const none = spectrum.null;
  const between = (low, high) => (known(low) ? `${decimal(low)} to ${decimal(high)}` : "–");
  return html`<details><summary>As a table</summary><div class="scroll"><table>
    <caption class="unseen">Relative error by order, with intervals</caption>
    <thead><tr><th scope="col">Order</th><th scope="col" class="number">Error</th><th scope="col" class="number">Interval</th>
      ${none ? html`<th scope="col" class="number">By chance</th><th scope="col" class="number">Interval</th>` : nothing}</tr></thead>
    <tbody>${spectrum.orders.map(
      (order, i) => html`<tr><th scope="row">${order}</th>
      <td class="number">${known(spectrum.error[i]) ? decimal(spectrum.error[i]) : "not known"}</td>
      <td class="number">${between(spectrum.low[i], spectrum.high[i])}</td>
      ${none ? html`<td class="number">${decimal(none.median[i])}</td><td class="number">${between(none.low[i], none.high[i])}</td>` : nothing}</tr>`,
    )}</tbody>
  </table></div></details>`;
}

/** How the power of each component found is spread over the orders. */
function powers({ orders, power }) {
  if (!power?.length) return nothing;
  const shade = (share) => `p${Math.round(10 * Math.min(1, Math.max(0, share)))}`;
  return html`<div class="scroll"><table class="powers">
    <caption>Power of each component found, by order</caption>
    <thead><tr><td></td>${orders.map((order) => html`<th scope="col">${order}</th>`)}</tr></thead>
    <tbody>${power.map(
      (shares, k) => html`<tr><th scope="row">Component ${k + 1}</th>
      ${orders.map((_, i) => html`<td class=${shade(shares[i] ?? 0)}>${known(shares[i]) ? decimal(shares[i]) : "–"}</td>`)}</tr>`,
    )}</tbody>
  </table></div>`;
}
