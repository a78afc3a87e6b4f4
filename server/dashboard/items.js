// Pictures or named stimuli from label -1 to 1: the lowest, the middle ones, the highest.

import { colour } from "./colours.js";
import { signed } from "./words.js";

export const MOST = 42; // so that both ends of the labels are in sight at once
const KEPT = 400; // pictures held at a time

/** Pictures by address, fetched once each. */
export class Pictures {
  #known = new Map();

  constructor(api, study) {
    Object.assign(this, { api, study });
  }

  /** Put a picture into an `<img>` as soon as it is here. */
  async into(image, address) {
    if (!this.#known.has(address)) {
      this.#known.set(address, this.api.picture(address, this.study));
    }
    this.#drop();
    try {
      image.src = await this.#known.get(address);
    } catch {
      this.#known.delete(address); // the name stands in its place
    }
  }

  #drop() {
    for (const [address, got] of this.#known) {
      if (this.#known.size <= KEPT) return;
      this.#known.delete(address);
      got.then(URL.revokeObjectURL, () => {});
    }
  }
}

/** Some of the items, from the lowest label to the highest. */
function evenly(items) {
  if (items.length <= MOST) return items;
  return Array.from({ length: MOST }, (_, i) => items[Math.round((i * (items.length - 1)) / (MOST - 1))]);
}

/** Stimuli as a grid, each with its label. */
export class Items {
  #shown = null;

  constructor(pictures) {
    this.pictures = pictures;
    this.element = document.createElement("ol");
    this.element.className = "items";
    this.seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        this.seen.unobserve(target);
        this.pictures.into(target, target.dataset.address);
      }
    });
  }

  show(labelling) {
    if (labelling === this.#shown) return;
    this.#shown = labelling;
    this.seen.disconnect();
    this.element.replaceChildren(...evenly(labelling.items).map((item) => this.#one(item)));
  }

  #one({ name, label, url }) {
    const place = document.createElement("li");
    place.style.setProperty("--label", colour(label));
    const words = document.createElement("span");
    words.textContent = signed(label);
    if (url) {
      const image = document.createElement("img");
      image.alt = name;
      image.dataset.address = url;
      place.append(image);
      this.seen.observe(image);
    } else {
      const said = document.createElement("b");
      said.textContent = name;
      place.append(said);
    }
    place.title = `${name}: ${signed(label)}`;
    place.append(words);
    return place;
  }
}
