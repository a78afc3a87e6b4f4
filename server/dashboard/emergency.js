// The emergency stop: two presses, or one that is held; by pointer, touch and keyboard.

import { Refused } from "./api.js";
import { clock } from "./words.js";

const HOLD_MS = 700;
const ARMED_MS = 4000; // for the second press
const AGAIN_MS = 1000; // until the server has confirmed it
const PRESSING = ["Enter", " "];

export class Emergency {
  state = "ready"; // armed, sending, confirmed, failed
  #timers = { hold: 0, armed: 0 };
  #held = false;

  /**
   * `send(study)` gives the order to one study; all of `studies` are given it, as an
   * emergency is of a room, not of a study. `said` hears what is to be read out at once.
   */
  constructor(send, studies, said) {
    Object.assign(this, { send, studies, said });
    this.several = studies.length > 1;
    this.all = this.several ? `all ${studies.length} studies` : "all";
    this.element = document.createElement("button");
    this.element.id = "emergency";
    this.element.type = "button";
    this.element.title = `Every session of ${studies.join(", ")} ends at once`;
    this.element.setAttribute("aria-keyshortcuts", "Control+.");
    this.#show("ready");
    this.#listen();
  }

  /** The first press arms, the second fires. */
  press() {
    if (this.state === "armed") return this.fire();
    if (this.state === "sending") return undefined;
    this.#show("armed");
    const whole = this.several ? ` of ${this.all}` : "";
    this.said(`Emergency stop armed. Press again to stop every session${whole} at once.`);
    clearTimeout(this.#timers.armed);
    this.#timers.armed = setTimeout(() => {
      if (this.state === "armed") this.#show("ready");
    }, ARMED_MS);
    return undefined;
  }

  /** Tell the server, and again until it has confirmed or refused. */
  async fire() {
    this.#show("sending");
    this.said("Emergency stop is being sent.");
    const refused = new Map(); // why, by study
    let left = this.studies;
    for (let failed = 1; ; failed += 1) {
      const done = await Promise.all(left.map((study) => this.#tell(study, refused)));
      left = left.filter((_, i) => !done[i]);
      if (!left.length) break;
      const which = this.several ? ` by ${left.join(", ")}` : "";
      this.#show("sending", `Not confirmed${which}: stop the rigs by hand`);
      if (failed === 1) {
        this.said(`The emergency stop is not confirmed${which}. Stop the rigs by hand.`);
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
    if (refused.size) {
      const who = this.several ? ` by ${[...refused.keys()].join(", ")}` : "";
      return this.#over("failed", `Refused${who}`, [...refused.values()].join("; "));
    }
    return this.#over("confirmed", `Stopped, ${clock(Date.now() / 1000)}`);
  }

  /** Whether a study has answered, if only with a refusal. */
  async #tell(study, refused) {
    try {
      await this.send(study);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (!error.status || error.status >= 500 || error.status === 429) return false;
      refused.set(study, this.several ? `${study}: ${error.message}` : error.message);
    }
    return true;
  }

  #over(state, words, detail = "") {
    this.#show(state, words);
    const good = state === "confirmed";
    this.said(
      good ? "Emergency stop confirmed by the server." : `Emergency stop refused: ${detail}`,
    );
    setTimeout(() => this.#show("ready"), 3 * ARMED_MS);
  }

  #show(state, words) {
    const texts = {
      ready: this.several ? "Emergency stop: all studies" : "Emergency stop",
      armed: `Press again: stop ${this.all}`,
      sending: "Sending ...",
    };
    this.state = state;
    this.element.dataset.state = state;
    this.element.textContent = words ?? texts[state];
  }

  #hold() {
    this.#held = false;
    clearTimeout(this.#timers.hold);
    this.element.classList.add("held");
    this.#timers.hold = setTimeout(() => {
      this.#held = true;
      this.#release();
      if (["ready", "armed"].includes(this.state)) this.fire();
    }, HOLD_MS);
  }

  #release() {
    clearTimeout(this.#timers.hold);
    this.element.classList.remove("held");
  }

  #listen() {
    const { element } = this;
    element.addEventListener("pointerdown", () => this.#hold());
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) {
      element.addEventListener(end, () => this.#release());
    }
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("click", () => {
      if (!this.#held) this.press(); // of a press that was held, the click is its end
      this.#held = false;
    });
    element.addEventListener("keydown", (event) => {
      if (!PRESSING.includes(event.key)) return;
      event.preventDefault(); // a key that is held would click again and again
      if (!event.repeat) this.#hold();
    });
    element.addEventListener("keyup", (event) => {
      if (!PRESSING.includes(event.key)) return;
      event.preventDefault();
      this.#release();
      if (!this.#held) this.press();
      this.#held = false;
    });
    document.addEventListener("keydown", (event) => {
      if (!event.ctrlKey || event.key !== "." || event.repeat) return;
      if (!element.isConnected) return; // whoever may not stop has no button
      event.preventDefault();
      element.focus();
      this.press();
    });
  }
}
