// Asks the server over HTTP: pages of numbers, and orders with who gives them.

/** What the server refused, or that it did not answer (`status` 0). */
export class Refused extends Error {
  constructor(status, name, detail) {
    super(detail);
    Object.assign(this, { status, name });
  }
}

const PATIENCE_MS = 15_000;

export class Api {
  /** `root` is the server's address, `secret` a token or nothing. */
  constructor(root, secret = "") {
    this.root = root.replace(/\/$/, "");
    this.secret = secret;
  }

  get headers() {
    return this.secret ? { Authorization: `Bearer ${this.secret}` } : {};
  }

  /** JSON of a page under `/api/v1/`. */
  async get(page, query = {}) {
    return (await this.#fetch(page, query, {})).json();
  }

  /** A picture as an address that an `<img>` takes: it could not send the token. */
  async picture(address, study) {
    const url = new URL(address, `${this.root}/`);
    url.searchParams.set("study", study);
    const reply = await this.#ask(url, {});
    return URL.createObjectURL(await reply.blob());
  }

  /** The reply to an order. */
  async order(kind, study, message, patienceMs = PATIENCE_MS) {
    const init = { method: "POST", body: JSON.stringify(message), patienceMs };
    return (await this.#fetch(kind, { study }, init)).json();
  }

  #fetch(page, query, init) {
    const url = new URL(`${this.root}/api/v1/${page}`);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) url.searchParams.set(name, value);
    }
    return this.#ask(url, init);
  }

  async #ask(url, { patienceMs = PATIENCE_MS, ...init }) {
    let reply;
    try {
      const signal = AbortSignal.timeout(patienceMs);
      reply = await fetch(url, { ...init, signal, headers: this.headers, cache: "no-cache" });
    } catch {
      throw new Refused(0, "away", "The server does not answer.");
    }
    if (reply.ok) return reply;
    const said = await reply.json().catch(() => ({}));
    throw new Refused(reply.status, said.error ?? "fault", said.detail ?? reply.statusText);
  }
}
