// What is wrong and what was ordered or given, newest first; alarms are said aloud.

import { html, nothing } from "./vendor/lit-html.js";
import { moment, spoken } from "./words.js";

const KEPT = "penchant acknowledged";
const LATEST = 3; // alarms that the banner shows

const key = (alarm) => `${alarm.at} ${alarm.name} ${alarm.subject}`;

/** Alarms that somebody at this screen has seen: this browser's own business. */
export class Seen {
  #keys = new Set(JSON.parse(localStorage.getItem(KEPT) ?? "[]"));

  /** Those of `alarms` that nobody has acknowledged here. */
  open(alarms) {
    return alarms.filter((alarm) => !this.#keys.has(key(alarm)));
  }

  acknowledge(alarms) {
    for (const alarm of alarms) this.#keys.add(key(alarm));
    localStorage.setItem(KEPT, JSON.stringify([...this.#keys].slice(-500)));
  }
}

/** A short tone, which a browser allows once somebody has pressed a key here. */
export function beep() {
  const context = new AudioContext();
  const [tone, volume] = [context.createOscillator(), context.createGain()];
  tone.frequency.value = 660;
  volume.gain.setValueAtTime(0.2, context.currentTime);
  volume.gain.linearRampToValueAtTime(0, context.currentTime + 0.6);
  tone.connect(volume).connect(context.destination);
  tone.start();
  tone.stop(context.currentTime + 0.6);
  tone.onended = () => context.close();
}

/** Alarms that nobody here has seen, above everything else. */
export function banner(app) {
  const open = app.seen.open(app.store.alarms);
  if (!open.length) return nothing;
  const done = () => {
    app.seen.acknowledge(open);
    app.changed();
  };
  const more = open.length - LATEST;
  return html`<section class="notice alarms" aria-label="Alarms">
    <ul>${open.slice(0, LATEST).map(
      (alarm) => html`<li><strong>${spoken(alarm.name)}</strong> ${alarm.subject}: ${alarm.detail}
        <time class="quiet">${moment(alarm.at, app.store.now)}</time></li>`,
    )}${more > 0 ? html`<li>and ${more} more, in the ledger</li>` : nothing}</ul>
    <button type="button" id="acknowledge" @click=${done}>Seen</button>
  </section>`;
}

/** Alarms and ledger in one list. */
export function ledger(app) {
  const { store, ui, set } = app;
  const alarms = store.alarms.map((alarm) => ({ ...alarm, what: spoken(alarm.name), alarm: true }));
  const rows = (ui.alarmsOnly ? alarms : [...alarms, ...store.ledger]).sort((a, b) => b.at - a.at);
  return html`<section class="panel ledger" aria-labelledby="ledger-title" id="ledger">
    <header><h2 id="ledger-title">Ledger and alarms</h2>
      <div class="filters">
        <label><input type="checkbox" .checked=${ui.alarmsOnly} @change=${(e) => set({ alarmsOnly: e.target.checked })}> alarms only</label>
        <label><input type="checkbox" .checked=${ui.sound} @change=${(e) => set({ sound: e.target.checked })}> sound</label>
      </div></header>
    ${
      rows.length
        ? html`<ol class="scroll" tabindex="0" aria-label="Entries, newest first">${rows.map(entry(store.now))}</ol>`
        : html`<p class="empty">${ui.alarmsOnly ? "No alarm." : "Nothing was ordered, given or wrong so far."}</p>`
    }
  </section>`;
}

const entry = (now) => (one) => html`<li class=${one.alarm ? "alarm" : ""}>
  <time>${moment(one.at, now)}</time>
  <b>${one.alarm ? html`<svg viewBox="0 0 12 12" aria-hidden="true"><path d="M6 1l5.5 10h-11z"></path></svg>` : nothing}${spoken(one.what)}</b>
  <span>${one.subject ? html`<span class="who">${one.subject}</span> ` : nothing}${one.detail}${
    one.by ? html` <span class="quiet">by ${one.by}</span>` : nothing
  }</span>
</li>`;
