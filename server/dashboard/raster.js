// A row per running session, a mark per trial: its label above, the answer below.

import { colour, styled } from "./colours.js";
import { repeat } from "./vendor/directives/repeat.js";
import { html, nothing } from "./vendor/lit-html.js";
import { condition } from "./subjects.js";
import { decimal, plural, signed } from "./words.js";

const HINT = "Point at a trial, or go through the trials by the arrow keys.";
const HIGH = 22; // of a row
const LABEL = [1, 6]; // from, height
const ANSWER = [8, 10];
const TEST = [20, 2];
const NARROWEST = 3; // of a trial; a longer session scrolls
const WIDEST = 14;

/** The canvas of one session; draws only what has changed. */
class Row {
  #drawn = "";
  #wide = 0;
  at = null; // the trial that is pointed at

  constructor(session, rasters) {
    this.session = session;
    this.rasters = rasters;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = -1;
    this.canvas.setAttribute("role", "img");
    this.canvas.dataset.session = session;
    this.canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => this.go(null));
    this.canvas.addEventListener("focus", () => rasters.focused(this));
    this.canvas.addEventListener("blur", () => this.go(null));
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  get trials() {
    return this.rasters.store.rasters.get(this.session);
  }

  get step() {
    const trials = Math.max(1, this.trials?.trials || 1);
    return Math.min(WIDEST, Math.max(NARROWEST, this.#wide / trials));
  }

  /** Point at a trial, or at none. */
  go(at) {
    this.at = at;
    this.rasters.tell(this);
    this.draw(this.#wide);
  }

  draw(wide) {
    const { trials } = this;
    if (!trials || !wide) return;
    this.#wide = wide;
    const whole = Math.max(wide, Math.ceil(NARROWEST * trials.trials));
    const version = `${trials.drawn} ${trials.index.length} ${whole} ${this.at} ${this.rasters.theme} ${devicePixelRatio}`;
    if (version === this.#drawn) return;
    this.#drawn = version;
    const { canvas } = this;
    if (canvas.width !== whole * devicePixelRatio) {
      canvas.width = whole * devicePixelRatio;
      canvas.height = HIGH * devicePixelRatio;
      canvas.style.width = `${whole}px`;
      canvas.style.height = `${HIGH}px`;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.clearRect(0, 0, whole, HIGH);
    this.#ground(pen, trials);
    trials.index.forEach((index, i) => this.#mark(pen, trials, index, i));
    canvas.setAttribute("aria-label", described(trials));
  }

  /** Where trials are to come, and which of them are tests. */
  #ground(pen, { trials, training_trials: training }) {
    const { ink, ground } = this.rasters.inks;
    pen.fillStyle = ground;
    pen.fillRect(0, ANSWER[0], trials * this.step, ANSWER[1]);
    pen.fillStyle = ink;
    pen.fillRect(training * this.step, TEST[0], (trials - training) * this.step, TEST[1]);
  }

  #mark(pen, trials, index, i) {
    const { step } = this;
    const x = index * step;
    const wide = Math.max(step - 1, 2);
    const { ink } = this.rasters.inks;
    const [label, value, outcome] = [trials.label[i], trials.value[i], trials.outcome[i]];
    const block = ([from, high], shade) => {
      pen.fillStyle = shade;
      pen.fillRect(x, from, wide, high);
    };
    if (label !== null) block(LABEL, colour(label));
    if (value !== null) block(ANSWER, colour(value));
    else if (outcome !== "responded")
      this.#failed(pen, x + wide / 2, Math.min(wide, 7) / 2, outcome);
    if (index === this.at) {
      pen.strokeStyle = ink;
      pen.lineWidth = 1.5;
      pen.strokeRect(x - 0.5, 0.75, wide + 1, HIGH - 4);
    }
  }

  /** A trial without an answer: a ring if omitted, a cross if it failed. */
  #failed(pen, x, radius, outcome) {
    const y = ANSWER[0] + ANSWER[1] / 2;
    pen.strokeStyle = this.rasters.inks.ink;
    pen.lineWidth = 1;
    pen.beginPath();
    if (outcome === "omission") pen.arc(x, y, Math.max(1, radius - 0.5), 0, 2 * Math.PI);
    else {
      pen.moveTo(x - radius, y - radius);
      pen.lineTo(x + radius, y + radius);
      pen.moveTo(x + radius, y - radius);
      pen.lineTo(x - radius, y + radius);
    }
    pen.stroke();
  }

  #point(event) {
    const at = Math.floor(event.offsetX / this.step);
    if (at !== this.at) this.go(at);
  }

  #key(event) {
    const last = Math.max(...(this.trials?.index ?? [0]), 0);
    const at = this.at ?? last;
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last };
    if (event.key in moves) this.go(Math.min(last, Math.max(0, moves[event.key])));
    else if (event.key === "ArrowDown") this.rasters.neighbour(this, 1);
    else if (event.key === "ArrowUp") this.rasters.neighbour(this, -1);
    else return;
    event.preventDefault();
  }
}

/** A session's trials in a sentence. */
function described({ index, trials, outcome, phase, training_trials: training }) {
  const missed = outcome.filter((one) => one !== "responded").length;
  const tests = phase.filter((one) => one === "test").length;
  const parts = [
    `${index.length} of ${plural(trials, "trial")}`,
    `${tests} of ${trials - training} tests`,
  ];
  if (missed) parts.push(`${missed} without an answer`);
  return `${parts.join(", ")}. Arrow keys go through the trials.`;
}

/** One trial in words. */
function told(trials, at) {
  const i = trials?.index.indexOf(at) ?? -1;
  if (i < 0) return at === null || at >= (trials?.trials ?? 0) ? "" : `trial ${at + 1}: not yet`;
  const [value, label, seconds] = [trials.value[i], trials.label[i], trials.reaction_time_s[i]];
  const parts = [`trial ${at + 1}, ${trials.phase[i]}`, trials.outcome[i]];
  if (label !== null) parts.push(`label ${signed(label)}`);
  if (value !== null) parts.push(`answer ${signed(value)}`);
  if (seconds !== null) parts.push(`${decimal(seconds)} s`);
  return parts.join(" · ");
}

export class Rasters {
  inks = {};
  theme = 0;
  #rows = new Map();
  #wide = 0;
  #focus = "";

  /** `wanted` is asked for a session's trials once its row is in sight. */
  constructor(store, wanted) {
    Object.assign(this, { store, wanted });
    this.readout = document.createElement("p");
    this.readout.className = "readout";
    this.readout.textContent = HINT;
    this.readout.setAttribute("aria-live", "polite");
    this.list = document.createElement("div"); // measured, not drawn
    this.seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting && !store.rasters.has(target.dataset.session))
          wanted(target.dataset.session);
      }
    });
    this.sized = new ResizeObserver(([{ contentRect }]) => {
      this.#wide = Math.floor(contentRect.width);
      this.draw();
    });
    this.sized.observe(this.list);
    this.list.className = "gauge";
    this.restyle();
  }

  /** Ink as the page's style has it now. */
  restyle() {
    this.inks = { ink: styled("ink"), ground: styled("ground") };
    this.theme += 1;
  }

  view() {
    const rows = this.store.sessions;
    const live = new Set(rows.map((row) => row.session));
    for (const session of this.#rows.keys()) if (!live.has(session)) this.#forget(session);
    return html`<section class="panel rasters" aria-labelledby="raster-title" id="rasters">
      <header><h2 id="raster-title">Trials</h2>${legend()}</header>
      ${
        rows.length === 0
          ? html`<p class="empty">No session is under way.</p>`
          : html`<div class="scroll rows" tabindex="-1">
            <div class="raster gauges"><span></span>${this.list}<span></span></div>
            ${repeat(
              rows,
              (row) => row.session,
              (row) => this.#line(row),
            )}</div>`
      }
      ${rows.length ? this.readout : nothing}
    </section>`;
  }

  /** Draw what has changed since. */
  draw() {
    for (const row of this.#rows.values()) row.draw(this.#wide);
  }

  tell(row) {
    const subject = this.store.rows.find(({ session }) => session === row.session)?.subject ?? "";
    const words = row.at === null ? "" : told(row.trials, row.at);
    this.readout.textContent = words ? `${subject} · ${words}` : HINT;
  }

  focused(row) {
    for (const other of this.#rows.values()) other.canvas.tabIndex = other === row ? 0 : -1;
    this.#focus = row.session;
  }

  neighbour(row, step) {
    const sessions = this.store.sessions.map(({ session }) => session);
    const next = this.#rows.get(sessions[sessions.indexOf(row.session) + step]);
    next?.canvas.focus();
    next?.go(row.at);
  }

  #line(row) {
    if (!this.#rows.has(row.session)) {
      const made = new Row(row.session, this);
      this.#rows.set(row.session, made);
      this.seen.observe(made.canvas);
    }
    if (!this.#rows.has(this.#focus)) this.focused(this.#rows.get(row.session));
    const { canvas } = this.#rows.get(row.session);
    return html`<div class="raster" data-status=${condition(row)}>
      <span class="name" title="session ${row.session}">${row.subject}</span>
      <span class="strip">${canvas}</span>
      <span class="number quiet">${row.trial}/${row.trials}</span>
    </div>`;
  }

  #forget(session) {
    const { canvas } = this.#rows.get(session);
    this.seen.unobserve(canvas);
    this.#rows.delete(session);
  }
}

function legend() {
  return html`<ul class="legend">
    <li><svg class="key" viewBox="0 0 12 18" aria-hidden="true"><rect class="label" y="0" width="12" height="6"></rect><rect class="answer" y="8" width="12" height="10"></rect></svg>
      label above, answer below: alike is right</li>
    <li><svg class="key" viewBox="0 0 12 12" aria-hidden="true"><circle cx="6" cy="6" r="4"></circle></svg> omission</li>
    <li><svg class="key" viewBox="0 0 12 12" aria-hidden="true"><path d="M2 2l8 8M10 2l-8 8"></path></svg> premature, aborted</li>
    <li><svg class="key under" viewBox="0 0 18 12" aria-hidden="true"><rect y="9" width="18" height="2.5"></rect></svg> test</li>
  </ul>`;
}
