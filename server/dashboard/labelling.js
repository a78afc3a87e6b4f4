// The labelling that the search is at, or one that it has found, drawn on its space.

import { Items, MOST, Pictures } from "./items.js";
import { Line, Plane, Points, Ring } from "./plain.js";
import { Globe, SphereMap } from "./sphere.js";
import { html, nothing } from "./vendor/lit-html.js";
import { COMPUTING, decimal, without } from "./words.js";

export class Labelling {
  #pictures = {};
  #planes = [];

  constructor(store, live) {
    Object.assign(this, { store, live });
    this.images = new Pictures(live.api, live.study);
  }

  view() {
    const { labelling } = this.store;
    return html`<section class="panel labelling" aria-labelledby="labelling-title" id="labelling">
      <header><h2 id="labelling-title">Labelling</h2>${labelling ? this.#choice(labelling) : nothing}</header>
      ${
        labelling?.pending
          ? html`<p class="empty">${COMPUTING}</p>`
          : labelling
          ? html`${this.#drawing(labelling)}${scale()}<p class="quiet">${about(labelling, this.store.overview.groups.length > 0)}</p>`
          : html`<p class="empty">${without(labelling, "No generation has ended yet.")}</p>`
      }
    </section>`;
  }

  /** Pictures are drawn by themselves, in their own frames. */
  restyle() {
    for (const one of [...Object.values(this.#pictures), ...this.#planes]) one.again?.();
  }

  #choice({ components, component }) {
    const { store, live } = this;
    const pick = (event) =>
      live.labelling(event.target.value === "" ? null : Number(event.target.value));
    return html`<label class="choice"><span class="unseen">Which labelling</span><select @change=${pick}>
      <option value="" ?selected=${store.component === null}>Current best</option>
      ${Array.from(
        { length: components },
        (_, k) => html`<option value=${k}
        ?selected=${store.component === k && component === k}>Component ${k + 1}</option>`,
      )}
    </select></label>`;
  }

  #one(kind, make) {
    this.#pictures[kind] ??= make();
    this.#pictures[kind].show(this.store.labelling);
    return this.#pictures[kind].canvas ?? this.#pictures[kind].element;
  }

  #drawing(labelling) {
    switch (labelling.view) {
      case "ring":
        return this.#one("ring", () => new Ring());
      case "line":
        return this.#one("line", () => new Line());
      case "sphere":
        return html`<div class="sphere">${this.#one("map", () => new SphereMap())}
          ${this.#one("globe", () => new Globe())}</div>`;
      case "planes":
        return html`<div class="planes">${labelling.planes.map((plane, i) => this.#plane(plane, i))}</div>
          ${labelling.planes.length && labelling.note ? html`<p class="quiet">${labelling.note}</p>` : nothing}`;
      case "items":
        return this.#one("items", () => new Items(this.images));
      default:
        return this.#one("points", () => new Points());
    }
  }

  #plane(plane, i) {
    this.#planes[i] ??= new Plane();
    this.#planes[i].show(plane);
    return this.#planes[i].canvas;
  }
}

function scale() {
  return html`<div class="scale"><span>−1</span><svg aria-hidden="true" class="colours"></svg><span>+1</span></div>`;
}

function about(labelling, grouped) {
  const { component, generation, provisional, relative_error: error, shown, total } = labelling;
  const parts = [`Component ${component + 1}`];
  if (provisional) parts.push(`best of generation ${generation + 1} so far, not yet final`);
  if (error !== null && error !== undefined) {
    parts.push(`relative error ${decimal(error)}${grouped ? " on average over groups" : ""}`);
  }
  const seen = Math.min(shown ?? 0, MOST);
  if (total > seen) parts.push(`${seen} of ${total} stimuli shown`);
  return `${parts.join(", ")}.`;
}
