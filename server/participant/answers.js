// How a human answers: with two keys or buttons, or on a scale.
//
// Both have an `element`; `begin(give)` hears answers until `end()`, each with the time
// of its event, and `show` marks the answer and the truth, in [-1, 1].

import { drawing, element } from "./dom.js";
import { browserKey } from "./keys.js";
import { TEXTS, keyName } from "./texts.js";

const STEP = 0.05; // of a press of an arrow key, and of each repeat of one held
const TRUTH = "#ffd23f";

const pointer = () => drawing("truth", "0 0 24 18", "1,1 23,1 12,17", TRUTH);
const knob = () => drawing("own", "0 0 24 28", "1,27 1,12 12,1 23,12 23,27", "#ffffff");

/** Choices: one key and one button for each side. */
export class Sides {
  #keyboard;
  #buttons = new Map();
  #stop = () => {};
  #give = null;

  constructor(keyboard, task) {
    this.#keyboard = keyboard;
    this.values = new Map(task.keys.map((key, i) => [browserKey(key), 2 * i - 1]));
    const names = [task.left, task.right];
    task.keys.forEach((key, i) => this.#add(2 * i - 1, names[i], keyName(key)));
    this.element = element("div", { class: "sides" }, ...this.#buttons.values());
  }

  begin(give) {
    this.clear();
    this.#give = give;
    this.#stop = this.#keyboard.listen([...this.values.keys()], (key, at) =>
      give(this.values.get(key), at),
    );
  }

  end() {
    this.#stop();
    this.#give = null;
  }

  show(answer, truth) {
    for (const [side, button] of this.#buttons) {
      button.classList.toggle("chosen", side === answer);
      button.classList.toggle("paid", truth !== null && side === Math.sign(truth));
    }
  }

  clear() {
    this.show(null, null);
  }

  #add(side, name, key) {
    const label = [element("b", {}, name), element("kbd", {}, key), pointer()];
    const about = { type: "button", class: "side", "data-side": side };
    const button = element("button", about, ...label);
    button.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the focus stays where it is
      this.#give?.(side, event.timeStamp);
    });
    button.addEventListener("click", (event) => {
      if (event.detail === 0) this.#give?.(side, event.timeStamp); // by a screen reader, or Enter
    });
    this.#buttons.set(side, button);
  }
}

/**
 * Graded answers: point and click, drag on a touch screen, or arrow keys and Enter.
 * There is no mark before it was moved, so that none suggests an answer.
 */
export class Scale {
  #keyboard;
  #value = null;
  #give = null;
  #stop = () => {};

  constructor(keyboard, task) {
    this.#keyboard = keyboard;
    const about = {
      id: "scale",
      role: "slider",
      tabindex: "0",
      "aria-label": `Answer, from ${task.left} to ${task.right}`,
      "aria-valuemin": "-1",
      "aria-valuemax": "1",
    };
    this.own = knob();
    const word = element("span", { class: "word" }, TEXTS.trueValue);
    this.truth = element("span", { class: "told" }, word, pointer());
    const ticks = ["left", "middle", "right"].map((at) => element("i", { class: at }));
    this.track = element("div", about, ...ticks, this.own, this.truth);
    const ends = [task.left, task.right].map((name) => element("span", {}, name));
    const labels = element("div", { class: "ends", "aria-hidden": "true" }, ...ends);
    this.element = element("div", { class: "scale" }, this.track, labels);
    this.#hear();
    this.clear();
  }

  begin(give) {
    this.clear();
    this.#give = give;
    const keys = ["ArrowLeft", "ArrowRight", "Home", "End", "Enter", " "];
    this.#stop = this.#keyboard.listen(keys, (key, at) => this.#pressed(key, at), true);
  }

  end() {
    this.#stop();
    this.#give = null;
  }

  show(answer, truth) {
    this.#put(this.own, answer);
    this.#put(this.truth, truth);
    if (answer === null) this.track.removeAttribute("aria-valuenow");
    else this.track.setAttribute("aria-valuenow", answer.toFixed(2));
  }

  clear() {
    this.#value = null;
    this.show(null, null);
  }

  #put(mark, value) {
    mark.style.visibility = value === null ? "hidden" : "visible";
    mark.style.left = `${50 * (1 + (value ?? 0))}%`;
  }

  #hear() {
    const at = (event) => this.#pointed(event);
    const zone = this.track;
    zone.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      zone.setPointerCapture(event.pointerId);
      at(event);
      if (event.pointerType === "mouse") this.#confirm(event.timeStamp);
    });
    zone.addEventListener("pointermove", at);
    zone.addEventListener("pointerup", (event) => {
      if (event.pointerType !== "mouse") this.#confirm(event.timeStamp); // it may drag
    });
  }

  #pointed(event) {
    if (this.#give === null) return;
    const box = this.track.getBoundingClientRect();
    this.#move((2 * (event.clientX - box.left)) / box.width - 1);
  }

  #pressed(key, at) {
    if (key === "Enter" || key === " ") return this.#confirm(at);
    const from = this.#value ?? 0;
    const to = { ArrowLeft: from - STEP, ArrowRight: from + STEP, Home: -1, End: 1 };
    this.#move(to[key]);
  }

  #move(value) {
    this.#value = Math.min(Math.max(value, -1), 1);
    this.show(this.#value, null);
  }

  #confirm(at) {
    if (this.#value !== null) this.#give?.(Math.round(1e4 * this.#value) / 1e4, at);
  }
}

export const wayToAnswer = (keyboard, { task, response }) =>
  response === "choice" ? new Sides(keyboard, task) : new Scale(keyboard, task);
