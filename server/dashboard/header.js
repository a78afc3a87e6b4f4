// The bar that never scrolls away: which study, in which mode, is it heard, stop.

import { html, nothing } from "./vendor/lit-html.js";
import { age, clock } from "./words.js";

const MODES = {
  live: ["Live", "real subjects"],
  "dry-run": ["Dry run", "no real subject"],
  imported: ["Imported", "trials made elsewhere"],
};

const STATES = { live: "Connected", connecting: "Connecting", away: "No connection" };

/** The bar; `app` is what the page is made of. */
export function bar(app) {
  const { overview } = app.store;
  const [mode, who] = MODES[overview?.mode] ?? [overview?.mode ?? "", ""];
  return html`
    <header class="bar" data-mode=${overview?.mode ?? "none"}>
      <div class="which">
        <h1>${studies(app)}</h1>
        ${overview ? html`<p class="mode" title=${who}>${mode}<span class="who">${who}</span></p>` : nothing}
      </div>
      <dl class="facts">
        <div><dt>Server</dt><dd id="connection" data-state=${app.live.connection.state}>${STATES[app.live.connection.state]}</dd></div>
        <div><dt>You are</dt><dd>${overview?.role ?? "–"}</dd></div>
        <div><dt>Server's time</dt><dd class="number"><time>${overview ? clock(app.store.now) : "–"}</time></dd></div>
      </dl>
      ${
        app.store.may("emergency")
          ? app.emergency.element
          : overview
            ? html`<p class="quiet watching">Watching only</p>`
            : nothing
      }
    </header>
    ${away(app)}`;
}

function studies(app) {
  if (app.studies.length < 2) return app.study;
  const go = (event) => app.open(event.target.value);
  return html`<select aria-label="Study" @change=${go}>
    ${app.studies.map((name) => html`<option ?selected=${name === app.study}>${name}</option>`)}
  </select>`;
}

function away(app) {
  const { state, since } = app.live.connection;
  if (state !== "away") return nothing;
  return html`<p class="notice away" role="alert">
    <strong>The server has not been heard since ${clock(since)}</strong>
    (<span aria-hidden="true">${age(Date.now() / 1000 - since)}</span>). What you see is as it was then.
    The page connects again by itself.
  </p>`;
}
