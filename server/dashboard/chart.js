// Charts by uPlot, in the page's style, as wide as their place.

import { styled } from "./colours.js";

const HIGH = 230;

export const FONT = "13px system-ui, 'DejaVu Sans', 'Liberation Sans', sans-serif";

/** An axis as every chart here has it. */
export const axis = (label, more = {}) => ({
  label,
  font: FONT,
  labelFont: FONT,
  labelGap: 2,
  labelSize: 20,
  size: 30,
  stroke: styled("quiet"),
  grid: { stroke: styled("line"), width: 1 },
  ticks: { stroke: styled("line"), width: 1, size: 4 },
  ...more,
});

/** A chart that is made anew when its options change, and else only given its data. */
export class Chart {
  #plot = null;
  #about = "";

  constructor(high = HIGH) {
    this.high = high;
    this.element = document.createElement("div");
    this.element.className = "chart";
    this.element.setAttribute("aria-hidden", "true"); // a table beside it says the same
    new ResizeObserver(() => this.#resize()).observe(this.element);
  }

  /** `about` tells one set of options from another. */
  draw(about, options, data) {
    if (this.#plot && about === this.#about) return this.#plot.setData(data);
    this.#about = about;
    this.#plot?.destroy();
    const size = { width: this.#wide(), height: this.high };
    this.#plot = new uPlot({ ...size, legend: { show: false }, ...options() }, data, this.element);
    return this.#plot;
  }

  #wide() {
    return Math.max(120, Math.floor(this.element.clientWidth) || 300);
  }

  #resize() {
    if (this.#plot && this.#plot.width !== this.#wide()) {
      this.#plot.setSize({ width: this.#wide(), height: this.high });
    }
  }
}
