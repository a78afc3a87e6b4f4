// What is said to the server: one message at a time, each until it is acknowledged.

const REPLY_MS = 30_000; // how long one attempt may take
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
const PAUSES_MS = { 429: 1_000, 500: 1_000, 503: FIRST_PAUSE_MS }; // these pass
const FINAL = new Set([400, 409, 410, 413, 422]); // the same again is refused again
const NOT_FOUND = new Set(["unknown_session", "unknown_trial"]);

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The server refused a message; nothing has changed. */
export class Refused extends Error {
  constructor(kind, refusal) {
    super(`${kind} was refused (${refusal.error}): ${refusal.detail}`);
    this.refusal = refusal;
  }

  get final() {
    return FINAL.has(this.refusal.status) || NOT_FOUND.has(this.refusal.error);
  }
}

/** Asks what changes nothing, and tells what must arrive by way of the box. */
export class Line {
  #base;
  #query;
  #secret;
  #busy = Promise.resolve();
  #closed = false;

  /** `trouble` is called with true when the server does not answer, then with false. */
  constructor({ base, study, secret }, box, trouble = () => {}) {
    this.#base = base;
    this.#query = `study=${encodeURIComponent(study)}`;
    this.#secret = secret;
    this.box = box;
    this.trouble = trouble;
  }

  /** The reply to a message that may get lost. A heartbeat never comes in between. */
  ask(kind, message) {
    const body = JSON.stringify(message);
    const sent = this.#busy.then(() => this.#patiently(kind, body));
    this.#busy = sent.catch(() => {});
    return sent;
  }

  /** Keep a message on disk, then deliver it. */
  async tell(kind, message) {
    return this.deliver(await this.box.put(kind, message));
  }

  async deliver(entry) {
    try {
      const reply = await this.ask(entry.kind, entry.message);
      await this.box.done(entry);
      return reply;
    } catch (error) {
      if (error instanceof Refused && error.final) {
        await this.box.refused(entry, error.refusal);
      }
      throw error;
    }
  }

  /** Deliver what an earlier page has left; what is refused for good is set aside. */
  async catchUp() {
    for (const entry of await this.box.pending()) {
      try {
        await this.deliver(entry);
      } catch (error) {
        if (!(error instanceof Refused && error.final)) throw error;
      }
    }
  }

  /** A page of the server, as a response that is all right. */
  page(path, query = {}) {
    const more = new URLSearchParams(query).toString();
    const url = `${this.#base}/${path}?${this.#query}${more && `&${more}`}`;
    return this.#again(async () => {
      const response = await this.#fetch(url, {});
      if (response.ok) return response;
      throw await refusalOf(path, response);
    });
  }

  /** Say nothing any more. */
  close() {
    this.#closed = true;
  }

  // The same message again counts once: the server knows an answer by its uid.
  #patiently(kind, body) {
    const url = `${this.#base}/${kind}?${this.#query}`;
    const headers = { "Content-Type": "application/json" };
    return this.#again(async () => {
      const response = await this.#fetch(url, { method: "POST", body, headers });
      if (!response.ok) throw await refusalOf(kind, response);
      return response.json();
    });
  }

  async #again(attempt) {
    let pause = FIRST_PAUSE_MS;
    let away = false;
    while (!this.#closed) {
      try {
        const answer = await attempt();
        if (away) this.trouble(false);
        return answer;
      } catch (error) {
        const status = error instanceof Refused ? error.refusal.status : 503;
        if (!(status in PAUSES_MS)) {
          if (away) this.trouble(false);
          throw error;
        }
        away = true;
        this.trouble(true);
        await sleep(Math.max(pause, PAUSES_MS[status]) * (0.75 + Math.random() / 2));
        pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
      }
    }
    return new Promise(() => {}); // another page has taken over
  }

  #fetch(url, options) {
    return fetch(url, {
      ...options,
      headers: { ...options.headers, Authorization: `Bearer ${this.#secret}` },
      signal: AbortSignal.timeout(REPLY_MS),
      referrerPolicy: "no-referrer",
    });
  }
}

// What is no refusal of ours comes from a proxy whose server is away.
async function refusalOf(kind, response) {
  const refusal = await response.json();
  if (refusal?.type !== "refusal") throw new Error(`no answer of the server to ${kind}`);
  return new Refused(kind, refusal);
}
