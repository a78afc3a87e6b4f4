// The operator's page: puts the parts together, and draws what has changed once a frame.

import { Api, Refused } from "./api.js";
import { Emergency } from "./emergency.js";
import { entry, keep, kept, plainly } from "./entry.js";
import { Generations } from "./generations.js";
import { bar } from "./header.js";
import { Labelling } from "./labelling.js";
import { Seen, banner, beep, ledger } from "./ledger.js";
import { Live } from "./live.js";
import { Orders } from "./orders.js";
import { progress } from "./progress.js";
import { Rasters } from "./raster.js";
import { Spectrum } from "./spectrum.js";
import { Store } from "./store.js";
import { subjects } from "./subjects.js";
import { html, nothing, render } from "./vendor/lit-html.js";

const TICK_MS = 1000;
const AGAIN_MS = 2000;
const URGENT_MS = 3000; // an emergency that is not confirmed by then is sent again

const EMERGENCY = { emergency: true, reason: "emergency stop at the dashboard" };

const page = document.getElementById("page");
const root = new URL(document.body.dataset.root, location.href).href;
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Words for screen readers: `loud` interrupts, `calm` waits. */
const voices = Object.fromEntries(
  [
    ["loud", "assertive"],
    ["calm", "polite"],
  ].map(([name, live]) => {
    const voice = document.createElement("p");
    voice.className = "unseen";
    voice.id = name;
    voice.setAttribute("aria-live", live);
    document.body.append(voice);
    return [name, voice];
  }),
);
const say = (words, voice = "calm") => (voices[voice].textContent = words);

/** Where a phone's reader jumps to. */
const PARTS = html`<nav class="parts" aria-label="Parts of the page">${Object.entries({
  subjects: "Subjects",
  rasters: "Trials",
  labelling: "Labelling",
  generations: "Errors",
  spectrum: "Spectrum",
  ledger: "Ledger",
}).map(([id, name]) => html`<a href="#${id}">${name}</a>`)}</nav>`;

class App {
  studies = [];
  ui = { filter: null, alarmsOnly: false, sound: false };
  seen = new Seen();
  #asked = 0;
  #theme = 0;

  constructor(api, studies, study) {
    Object.assign(this, { api, studies, study });
    this.store = new Store();
    this.live = new Live(api, this.store, study, {
      changed: () => this.changed(),
      alarmed: (alarms) => this.#alarmed(alarms),
      shut: (error) => this.#shut(error),
    });
    const order = (kind, message, patience) => this.api.order(kind, study, message, patience);
    this.orders = new Orders((kind) => this.store.may(kind), order, say);
    this.emergency = new Emergency(
      (one) => this.api.order("stop", one, EMERGENCY, URGENT_MS),
      [study, ...studies.filter((one) => one !== study)],
      (words) => say(words, "loud"),
    );
    this.rasters = new Rasters(this.store, (session) => this.live.raster(session));
    this.generations = new Generations(this.store, () => this.changed());
    this.spectrum = new Spectrum(this.store);
    this.labelling = new Labelling(this.store, this.live);
    this.timer = setInterval(() => this.changed(), TICK_MS);
    dark.onchange = () => this.#restyle();
  }

  /** Draw with the next frame, however often this is called until then. */
  changed() {
    this.#asked ||= requestAnimationFrame(() => {
      this.#asked = 0;
      this.#draw();
    });
  }

  set = (more) => {
    Object.assign(this.ui, more);
    this.changed();
  };

  open = (study) => {
    this.close();
    const path = location.pathname.replace(
      /\/dashboard.*$/,
      `/dashboard/${encodeURIComponent(study)}`,
    );
    location.assign(path);
  };

  close() {
    clearInterval(this.timer);
    cancelAnimationFrame(this.#asked);
    this.#asked = -1; // draws no more
    this.live.close();
    this.orders.remove();
  }

  #draw() {
    const { store } = this;
    document.title = this.#title();
    document.body.classList.toggle("stale", this.live.connection.state === "away");
    render(
      html`${bar(this)}${store.overview ? this.#panels() : html`<main><p class="empty">Loading ...</p></main>`}`,
      page,
    );
    if (!store.overview) return;
    this.rasters.draw();
    this.generations.draw(this.#theme);
    this.spectrum.draw(this.#theme);
  }

  #panels() {
    return html`${banner(this)}${PARTS}<main tabindex="-1">
      ${notes(this.store.overview)}
      ${progress(this)}
      <div class="column">${subjects(this)}${this.rasters.view()}${ledger(this)}</div>
      <div class="column">${this.labelling.view()}${this.generations.view()}${this.spectrum.view()}</div>
    </main>`;
  }

  #title() {
    const open = this.store.overview ? this.seen.open(this.store.alarms).length : 0;
    return `${open ? `(${open}) ` : ""}${this.study}`;
  }

  #alarmed(alarms) {
    const [latest] = alarms;
    say(`Alarm: ${latest.name} of ${latest.subject}: ${latest.detail}`, "loud");
    if (this.ui.sound) beep();
  }

  #restyle() {
    this.#theme += 1;
    this.rasters.restyle();
    this.labelling.restyle();
    this.changed();
  }

  #shut(error) {
    this.close();
    ask(plainly(error, this.api.secret), error.status !== 404);
  }
}

/** What is to be known of a study before its numbers are read. */
function notes(overview) {
  if (overview.finished) {
    return html`<p class="notice">The study is finished. Its report: <code>penchant analyse</code>.</p>`;
  }
  return nothing;
}

/** Ask for a token, or say what is wrong where no token would help. */
function ask(fault, helps = true) {
  keep("");
  document.title = "Penchant";
  const enter = (secret) => {
    keep(secret);
    start();
  };
  render(
    helps
      ? entry({ fault, enter })
      : html`<main class="entry"><p class="panel fault" role="alert">${fault}</p></main>`,
    page,
  );
}

async function start() {
  const api = new Api(root, kept());
  try {
    const { studies } = await api.get("studies");
    const study = document.body.dataset.study || studies[0];
    if (!study) return ask("No study is served here.", false);
    return new App(api, studies, study).changed();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status && error.status < 500) return ask(plainly(error, api.secret));
    return setTimeout(start, AGAIN_MS); // the server is not there yet
  }
}

page.replaceChildren(); // what the server sent is there to be seen until now
start();
