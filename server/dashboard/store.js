// What the page knows of one study: taken from the server's pages, kept up by its pushes.

import { natural } from "./words.js";

const LONGEST = 100; // of alarms and of the ledger
const COLUMNS = ["index", "phase", "outcome", "value", "label", "reaction_time_s"];
const SERIES = ["component", "generation", "sessions_so_far"];

export class Store {
  overview = null;
  subjects = new Map(); // rows by subject, in the order of their names
  alarms = [];
  ledger = [];
  rasters = new Map(); // trials by session, once its row has been seen
  generations; // until the server has told; null if it has none
  spectrum;
  labelling;
  component = null; // the one to be shown; null follows the search
  #ahead = 0; // seconds of the server's clock before this computer's

  /** The server's time, in seconds since 1970. */
  get now() {
    return Date.now() / 1000 + this.#ahead;
  }

  /** Whether the caller may give an order of a kind. */
  may(order) {
    return Boolean(this.overview?.may.includes(order));
  }

  /** A row of each subject, by name. */
  get rows() {
    return [...this.subjects.values()];
  }

  /** Sessions that are under way or lost, by name of their subject. */
  get sessions() {
    return this.rows.filter((row) => row.session);
  }

  /**
   * All anew; what was known of another process of the server is forgotten.
   * Returns the alarms that came while this page did not hear.
   */
  take(overview) {
    const known = this.overview;
    if (known?.epoch !== overview.epoch) {
      for (const raster of this.rasters.values()) for (const name of COLUMNS) raster[name] = [];
      this.generations = undefined;
    } else if (overview.revision < known.revision) {
      return []; // pushes were faster
    }
    const latest = this.alarms[0]?.at ?? known?.now;
    const { subjects, alarms, ledger, ...rest } = overview;
    this.overview = rest;
    this.alarms = alarms;
    this.ledger = ledger ?? [];
    this.subjects = new Map();
    this.#merge(subjects);
    const live = new Set(this.sessions.map(({ session }) => session));
    for (const session of this.rasters.keys()) if (!live.has(session)) this.rasters.delete(session);
    this.#ahead = overview.now - Date.now() / 1000;
    return latest === undefined ? [] : alarms.filter(({ at }) => at > latest);
  }

  /** A part as a whole; what is shown stays until the server has computed the next. */
  takePart(name, part) {
    const known = this[name];
    const same = known && !known.pending && known.component === part.component;
    if (!(part.pending && same)) this[name] = part;
  }

  /** What is new; returns whether something before it was missed. */
  push(news) {
    const { overview } = this;
    if (!overview || news.study !== overview.study) return false;
    const same = news.epoch === undefined || news.epoch === overview.epoch;
    if (!same || news.revision > overview.revision + 1) return true;
    if (news.revision <= overview.revision) return false; // its page has told already
    Object.assign(overview, news.overview, { revision: news.revision });
    if (news.now) this.#ahead = news.now - Date.now() / 1000;
    if (news.subjects) this.#merge(news.subjects);
    for (const [subject, at] of Object.entries(news.seen ?? {})) {
      const row = this.subjects.get(subject);
      if (row) row.last_seen_at = at;
    }
    for (const [session, columns] of Object.entries(news.trials ?? {})) {
      this.#append(session, columns);
    }
    this.alarms = [...(news.alarms ?? []), ...this.alarms].slice(0, LONGEST);
    this.ledger = [...(news.ledger ?? []), ...this.ledger].slice(0, LONGEST);
    return false;
  }

  /** From now on pushed trials of a session are kept. */
  expect(session) {
    if (this.rasters.has(session)) return;
    const empty = Object.fromEntries(COLUMNS.map((name) => [name, []]));
    this.rasters.set(session, { ...empty, trials: 0, training_trials: 0, drawn: 0 });
  }

  /** Trials of one session, from the server's page; pushes may have been faster. */
  takeRaster(raster) {
    const before = this.rasters.get(raster.session);
    this.rasters.set(raster.session, { ...raster, drawn: before?.drawn ?? 0 });
    this.#append(raster.session, before ?? raster);
  }

  /** Rows of generations: those from `from` on are new, or have changed. */
  takeGenerations(part) {
    const known = this.generations ?? { groups: {} };
    const cut = (column = []) => column.slice(0, part.from);
    const joined = { next: part.next, groups: {} };
    for (const name of SERIES) joined[name] = [...cut(known[name]), ...part[name]];
    for (const [group, columns] of Object.entries(part.groups)) {
      const before = known.groups[group] ?? {};
      joined.groups[group] = Object.fromEntries(
        Object.entries(columns).map(([name, column]) => [name, [...cut(before[name]), ...column]]),
      );
    }
    this.generations = joined;
  }

  #merge(rows) {
    const before = this.subjects.size;
    for (const row of rows) {
      const gone = this.subjects.get(row.subject)?.session;
      if (gone && gone !== row.session) this.rasters.delete(gone);
      this.subjects.set(row.subject, row);
    }
    if (this.subjects.size === before) return;
    const sorted = [...this.subjects.values()].sort((a, b) => natural(a.subject, b.subject));
    this.subjects = new Map(sorted.map((row) => [row.subject, row]));
  }

  #append(session, columns) {
    const raster = this.rasters.get(session);
    if (!raster) return; // asked for once its row is seen
    const known = new Set(raster.index);
    columns.index.forEach((index, i) => {
      if (known.has(index)) return;
      for (const name of COLUMNS) raster[name].push(columns[name][i]);
    });
    raster.drawn += 1;
  }
}
