// What an operator can order of a session, asked in one dialog: what, why, and be sure.

import { Refused } from "./api.js";
import { html, nothing, render } from "./vendor/lit-html.js";

/** Orders by the name of the right to them; `to` is "mouse-07" or "all sessions". */
const ORDERS = {
  pause: {
    name: "Pause",
    tells: "The trial under way is finished, then nothing is shown until you resume.",
    fits: (row) => row.session && !row.paused,
  },
  resume: {
    name: "Resume",
    tells: "Trials go on where they were.",
    fits: (row) => row.paused,
  },
  reward: {
    name: "Free reward",
    tells: "The rig gives it at once if its own limits allow, and the ledger counts it.",
    fits: (row) => row.session && row.status !== "lost" && row.free_microlitre !== 0,
    amount: true,
  },
  stop: {
    name: "Stop",
    tells:
      "The trial under way is finished, then the session ends. Its answers stay in the journal, and its labelling goes to another session.",
    fits: (row) => row.session,
    grave: true,
  },
  emergency: {
    name: "Emergency stop",
    tells: "The session ends at once, in the middle of a trial. The rig goes to its safe state.",
    fits: (row) => row.session,
    grave: true,
  },
  abandon: {
    name: "Give session up",
    tells:
      "The session ends as if the subject had left, and its labelling goes to another session. Use it for one that is lost for good.",
    fits: (row) => row.session,
    grave: true,
  },
  drop_out: {
    name: "Drop out",
    tells: "The subject leaves the study for good: its session ends and it gets no other.",
    fits: (row) => row.status !== "dropped" && row.subject,
    grave: true,
  },
};

const ALL = {
  pause: "Every session finishes its trial, then nothing is shown until you resume.",
  resume: "Trials go on where they were, and sessions may begin again.",
  stop: "Every session ends after its trial, and none begins until you resume.",
};

/** A name of the page's own: an order that is sent again is the same order. */
const ownName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) =>
    b.toString(16).padStart(2, "0"),
  ).join("");

/** The message of an order, as the protocol has it. */
function message(kind, row, { reason, microlitre }) {
  const session = row.session ? { session: row.session } : {};
  switch (kind) {
    case "reward":
      return ["give_reward", { ...session, microlitre, reason, uid: ownName() }];
    case "emergency":
      return ["stop", { ...session, reason, emergency: true }];
    case "drop_out":
      return ["drop_out", { subject: row.subject, reason }];
    default:
      return [kind, { ...session, reason }];
  }
}

export class Orders {
  #row = null;
  #from = null; // what had the focus
  #kind = null;
  #fault = "";
  #sending = false;
  #message = null; // kept over a failed try, so that its name is the same

  /** `may` tells rights, `send(kind, message)` gives an order, `said` is told the outcome. */
  constructor(may, send, said) {
    Object.assign(this, { may, send, said });
    this.element = document.createElement("dialog");
    this.element.setAttribute("aria-labelledby", "order-title");
    this.leave = (event) => event.key === "Escape" && this.close();
    document.addEventListener("keydown", this.leave);
    this.scrim = document.createElement("div");
    this.scrim.className = "scrim";
    this.scrim.addEventListener("click", () => this.close());
    document.body.append(this.scrim, this.element);
  }

  /** Orders that fit a subject's row as it is. */
  fitting(row) {
    return Object.keys(ORDERS).filter((kind) => this.may(kind) && ORDERS[kind].fits(row));
  }

  /** Whether there is anything to order at all. */
  get any() {
    return Object.keys(ORDERS).some(this.may);
  }

  /** Ask what is to be done with a subject. */
  choose(row) {
    this.#open(row, null);
  }

  /** Ask about one order to all sessions. */
  all(kind) {
    this.#open({ subject: "", session: "" }, kind);
  }

  #open(row, kind) {
    this.#row = row;
    this.#fault = "";
    this.#from = document.activeElement;
    // Not a modal one, which would put the emergency stop out of reach.
    document.querySelector("main").inert = true;
    this.element.show();
    this.#step(kind);
  }

  close() {
    if (!this.element.open) return;
    this.element.close();
    document.querySelector("main").inert = false;
    this.#from?.focus();
  }

  /** Take the dialog away for good. */
  remove() {
    this.close();
    document.removeEventListener("keydown", this.leave);
    this.element.remove();
    this.scrim.remove();
  }

  #step(kind) {
    this.#kind = kind;
    this.#message = null;
    this.#draw();
    const first = kind ? "input, [type=submit]" : "button";
    this.element.querySelector(first)?.focus();
  }

  #draw() {
    render(this.#kind ? this.#sure() : this.#choices(), this.element);
  }

  #choices() {
    const row = this.#row;
    const fitting = this.fitting(row);
    return html`
      <h2 id="order-title">${row.subject}</h2>
      <p class="quiet">${row.session ? `Session ${row.session}` : "No session under way"}${row.rig ? `, ${row.rig}` : nothing}</p>
      ${
        row.free_microlitre === 0 && this.may("reward")
          ? html`<p class="quiet">No free reward: its cap is reached.</p>`
          : nothing
      }
      <div class="choices">
        ${fitting.map(
          (
            kind,
          ) => html`<button type="button" data-order=${kind} class=${ORDERS[kind].grave ? "grave" : ""}
            @click=${() => this.#step(kind)}>${ORDERS[kind].name}</button>`,
        )}
      </div>
      <div class="buttons"><button type="button" @click=${() => this.close()}>Close</button></div>`;
  }

  #sure() {
    const { name, tells, amount, grave } = ORDERS[this.#kind];
    const of = this.#row.subject || "all sessions";
    const most = this.#row.free_microlitre;
    return html`
      <form @submit=${(event) => this.#submit(event)}>
        <h2 id="order-title">${name}: ${of}</h2>
        <p>${this.#row.subject ? tells : ALL[this.#kind]}</p>
        ${
          amount
            ? html`<label>Volume in microlitres ${most === null ? nothing : html`<span class="quiet">at most ${most}</span>`}
              <input name="microlitre" type="number" inputmode="decimal" min="0.1" step="any" required
                max=${most ?? 1000} value=${Math.min(3, most ?? 3)}></label>`
            : nothing
        }
        <label>Reason, for the journal
          <input name="reason" maxlength="1000" required autocomplete="off" value=""></label>
        <p class="fault" role="alert">${this.#fault}</p>
        <div class="buttons">
          <button type="button" @click=${() => this.close()}>Cancel</button>
          <button type="submit" class=${grave ? "grave" : "main"} ?disabled=${this.#sending}>${name}</button>
        </div>
      </form>`;
  }

  async #submit(event) {
    event.preventDefault();
    const filled = new FormData(event.target);
    const asked = {
      reason: filled.get("reason").trim(),
      microlitre: Number(filled.get("microlitre")),
    };
    if (!asked.reason) return;
    const order = message(this.#kind, this.#row, asked);
    if (this.#message?.[1].uid && this.#message[1].microlitre === asked.microlitre) {
      order[1].uid = this.#message[1].uid; // it may have been heard, and its reply lost
    }
    this.#message = order;
    this.#sending = true;
    this.#fault = "";
    this.#draw();
    try {
      await this.send(...order);
      this.close();
      this.said(`${ORDERS[this.#kind].name}: ${this.#row.subject || "all sessions"}. Done.`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#fault = error.message;
    } finally {
      this.#sending = false;
      this.#draw();
    }
  }
}
