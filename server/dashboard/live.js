// Keeps a store up to date: pages once, then pushes; all anew where one was missed.

import { Refused } from "./api.js";
import { io } from "./vendor/socket.io.js";

const AGAIN_MS = 2000;
const LONGEST_MS = 5000; // between two tries to connect
const WITHOUT = 404; // there is nothing to show yet

export class Live {
  connection = { state: "connecting", since: Date.now() / 1000 };
  #asking = new Map(); // pages under way, and whether one is wanted again
  #timer = 0;
  #after = Number.POSITIVE_INFINITY; // the first generation that is to be asked for

  /** `changed` is called after each change; `alarmed` with alarms that are new. */
  constructor(api, store, study, { changed, alarmed, shut }) {
    Object.assign(this, { api, store, study, changed, alarmed, shut });
    const at = new URL(api.root);
    const path = `${at.pathname.replace(/\/$/, "")}/socket.io`;
    this.socket = io(at.origin, {
      path,
      query: { study },
      auth: { watch: true, token: api.secret },
      reconnectionDelay: 500,
      reconnectionDelayMax: LONGEST_MS,
    });
    this.socket.on("connect", () => this.#connected());
    this.socket.on("disconnect", () => this.#away());
    this.socket.on("connect_error", () => this.#away());
    this.socket.on("dashboard", (news) => this.#hear(news));
  }

  close() {
    clearTimeout(this.#timer);
    this.socket.disconnect();
  }

  /** Everything that changes as a whole. */
  async refresh() {
    const told = await this.#page("overview", {}, (overview) => {
      const missed = this.store.take(overview);
      if (missed.length) this.alarmed(missed);
    });
    if (!told) return;
    this.store.rasters.forEach((_, session) => this.raster(session));
    this.#generations(0); // any of them may have changed meanwhile
    this.#part("spectrum");
    this.labelling();
  }

  /** The labelling of a component, or of the one that the search is at. */
  labelling(component = this.store.component) {
    this.store.component = component;
    return this.#part("labelling", { component });
  }

  /** The trials of one session. */
  raster(session) {
    this.store.expect(session);
    return this.#page("raster", { session }, (raster) => this.store.takeRaster(raster), session);
  }

  #part(name, query = {}) {
    return this.#page(name, query, (part) => this.store.takePart(name, part));
  }

  #generations(after) {
    this.#after = Math.min(this.#after, after);
    const query = () => {
      const first = this.#after; // of all that were wanted while another was under way
      this.#after = Number.POSITIVE_INFINITY;
      return { after: Number.isFinite(first) ? first : this.store.generations?.next };
    };
    return this.#page("generations", query, (part) => {
      this.store.takeGenerations(part);
      if (part.next < part.rows) setTimeout(() => this.#generations(part.next));
    });
  }

  #hear(news) {
    if (news.study !== this.study) return;
    if (this.store.push(news)) return this.refresh();
    if (news.generations !== undefined) this.#generations(Number(news.generations));
    if (news.spectrum) this.#part("spectrum");
    if (news.labelling) this.labelling();
    if (news.alarms?.length) this.alarmed(news.alarms);
    this.changed();
  }

  /** Ask for a page; once more, but only once, if it is wanted while it is under way. */
  async #page(name, query, take, of = "") {
    const key = `${name} ${of}`;
    if (this.#asking.has(key)) {
      this.#asking.set(key, () => this.#page(name, query, take, of));
      return false;
    }
    this.#asking.set(key, null);
    const asked = typeof query === "function" ? query() : query;
    try {
      take(await this.api.get(`dashboard/${name}`, { study: this.study, ...asked }));
      return true;
    } catch (error) {
      this.#refused(error, name);
      return false;
    } finally {
      const again = this.#asking.get(key);
      this.#asking.delete(key);
      again?.();
      this.changed();
    }
  }

  #refused(error, name) {
    if (!(error instanceof Refused)) throw error;
    if ([401, 403].includes(error.status)) return this.shut(error);
    if (error.status === WITHOUT && this.store.overview) {
      if (name in this.store) this.store[name] ??= null;
      return undefined;
    }
    if (error.status === WITHOUT) return this.shut(error);
    return this.#again();
  }

  #connected() {
    this.#state("live");
    this.refresh();
  }

  #away() {
    this.#state("away");
    const refused = !this.socket.active; // at the door: a page tells why
    if (refused || !this.store.overview) this.#again();
  }

  #again() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!this.socket.connected && !this.socket.active) this.socket.connect();
      this.refresh();
    }, AGAIN_MS);
  }

  #state(state) {
    if (this.connection.state === state) return;
    this.connection = { state, since: Date.now() / 1000 };
    this.changed();
  }
}
