// Renews the lease of a session beside its trials, and hears what operators order.

import { Refused } from "./client.js";

const LONGEST_MS = 5_000; // an emergency stop is heard of within this

export class Heartbeat {
  #over = false;
  #wake = () => {};
  #server = null; // the server's clock, as the last beat told it

  /** `ended` is called with the reply that says that the session is over. */
  constructor(line, assignment, ended) {
    this.line = line;
    this.session = assignment.session;
    this.pauseMs = Math.min(1000 * assignment.heartbeat_s, LONGEST_MS);
    this.ended = ended;
    this.ticker = new Worker(new URL("ticker.js", import.meta.url));
    this.ticker.onmessage = () => this.#wake();
    this.ticker.postMessage(this.pauseMs);
    this.#run();
  }

  /** This computer's clocks, and the server's within half of `round_trip_s`. */
  clocks() {
    const now = performance.now() / 1000;
    const read = { host_monotonic_s: now, host_utc_s: Date.now() / 1000 };
    if (this.#server) {
      read.server_utc_s = this.#server.at + now - this.#server.heard;
      read.round_trip_s = this.#server.roundTrip;
    }
    return read;
  }

  stop() {
    this.#over = true;
    this.ticker.terminate();
    this.#wake();
  }

  async #beat() {
    const sent = performance.now() / 1000;
    const reply = await this.line.ask("heartbeat", { session: this.session });
    const heard = performance.now() / 1000;
    if (reply.at != null) {
      this.#server = { at: reply.at, heard: (sent + heard) / 2, roundTrip: heard - sent };
    }
    return reply;
  }

  async #run() {
    while (!this.#over) {
      try {
        const reply = await this.#beat();
        if (reply.type === "done" && !this.#over) return this.ended(reply);
      } catch (error) {
        if (error instanceof Refused) return; // the trials meet the same fault
        throw error;
      }
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, this.pauseMs);
        this.#wake = () => (clearTimeout(timer), resolve());
      });
    }
  }
}
