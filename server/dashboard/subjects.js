// Who takes part, at which rig, and how it is with them.

import { repeat } from "./vendor/directives/repeat.js";
import { html, nothing, svg } from "./vendor/lit-html.js";
import { age, plural } from "./words.js";

/** Shapes stand beside words, so that nothing rests on colour. */
const SHAPES = {
  running: svg`<circle cx="6" cy="6" r="5"></circle>`,
  paused: svg`<path d="M2 1h3v10h-3zM7 1h3v10h-3z"></path>`,
  silent: svg`<path d="M6 1l5.5 10h-11z"></path>`,
  lost: svg`<path d="M2 2l8 8M10 2l-8 8" class="line"></path>`,
  idle: svg`<circle cx="6" cy="6" r="4" class="line"></circle>`,
  dropped: svg`<path d="M1 6h10" class="line"></path>`,
};

const MANY = 20;

const FILTERS = {
  all: ["All", () => true],
  here: ["In a session", (row) => row.session],
  trouble: ["Need a look", (row) => ["silent", "lost"].includes(row.status) || row.emergency],
};

/** How it is with a subject, in one word. */
export const condition = (row) => (row.paused && row.status === "running" ? "paused" : row.status);

export function subjects(app) {
  const { store } = app;
  const filter = chosen(app);
  const rows = store.rows.filter(FILTERS[filter][1]);
  const columns = shown(store);
  return html`<section class="panel subjects" aria-labelledby="subjects-title" id="subjects">
    <header>
      <h2 id="subjects-title">Subjects and rigs</h2>
      ${filters(app)}
    </header>
    ${
      store.rows.length === 0
        ? html`<p class="empty">Nobody has come yet. Sessions begin when a subject's client says hello.</p>`
        : rows.length === 0
          ? html`<p class="empty">${filter === "trouble" ? "Nobody needs a look." : "Nobody is in a session."}</p>`
          : table(app, rows, columns)
    }
  </section>`;
}

/** Which rows are shown: of many subjects, those who are here, until a reader chooses. */
function chosen({ store, ui }) {
  return ui.filter ?? (store.rows.length > MANY && store.sessions.length ? "here" : "all");
}

function filters(app) {
  const { store, set } = app;
  const numbers = Object.entries(FILTERS).map(([key, [name, fits]]) => [
    key,
    name,
    store.rows.filter(fits).length,
  ]);
  return html`<div class="filters" role="group" aria-label="Show">
    ${numbers.map(
      ([key, name, number]) => html`<button type="button" aria-pressed=${chosen(app) === key}
        @click=${() => set({ filter: key })}>${name} <span class="number">${number}</span></button>`,
    )}
  </div>`;
}

/** Columns that say something in this study. */
function shown({ rows, overview }) {
  return {
    group: overview.groups.length > 0,
    rig: rows.some((row) => row.rig),
    reward: rows.some((row) => row.day_cap_microlitre || row.today_microlitre),
    weight: rows.some((row) => row.weight),
  };
}

function table(app, rows, columns) {
  const head = (name, kind = "") => html`<th scope="col" class=${kind}>${name}</th>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of subjects">
    <table>
      <caption class="unseen">${summary(app.store)}</caption>
      <thead><tr>
        ${head("Subject")}${columns.rig ? head("Rig") : nothing}${head("Status")}${head("Heard", "number")}
        ${head("Trial")}${head("Sessions", "number")}
        ${columns.reward ? head("Water today") : nothing}${columns.weight ? head("Weight", "number") : nothing}
        ${app.orders.any ? head(html`<span class="unseen">Orders</span>`) : nothing}
      </tr></thead>
      <tbody>${repeat(
        rows,
        (row) => row.subject,
        (row) => line(app, row, columns),
      )}</tbody>
    </table>
  </div>`;
}

function line(app, row, columns) {
  const how = condition(row);
  return html`<tr data-subject=${row.subject} data-status=${how}>
    <th scope="row">${row.subject}${columns.group && row.group ? html` <span class="group">${row.group}</span>` : nothing}</th>
    ${columns.rig ? html`<td data-name="Rig">${row.rig || "–"}</td>` : nothing}
    <td data-name="Status"><span class="status ${how}" title=${row.dropped_reason || ""}><svg viewBox="0 0 12 12" aria-hidden="true">${SHAPES[how]}</svg>${row.emergency ? "emergency" : how}${row.paused && how !== "paused" ? ", paused" : ""}</span></td>
    <td data-name="Heard" class="number heard">${heard(app.store, row)}</td>
    <td data-name="Trial">${trial(row)}</td>
    <td data-name="Sessions" class="number">${row.sessions_done}${
      row.sessions_given_up
        ? html` <span class="quiet" title="given up">+${row.sessions_given_up}</span>`
        : nothing
    }</td>
    ${columns.reward ? html`<td data-name="Water today">${water(row)}</td>` : nothing}
    ${columns.weight ? html`<td data-name="Weight" class="number">${weight(row)}</td>` : nothing}
    ${app.orders.any ? html`<td class="act">${act(app, row)}</td>` : nothing}
  </tr>`;
}

const heard = (store, row) =>
  row.last_seen_at === null ? "–" : age(Math.max(0, store.now - row.last_seen_at));

function meter(share, kind = "") {
  return html`<svg class="meter ${kind}" aria-hidden="true"><rect class="whole" width="100%" height="100%"></rect>
    <rect class="part" width="${100 * Math.min(1, share)}%" height="100%"></rect></svg>`;
}

function trial(row) {
  if (!row.session) return html`<span class="quiet">–</span>`;
  return html`<span class="measured">${meter(row.trial / Math.max(1, row.trials), row.phase ?? "")}<span
    class="number">${row.trial}/${row.trials}</span><span class="quiet">${row.phase ?? ""}</span></span>`;
}

function water(row) {
  const { today_microlitre: given, day_cap_microlitre: cap } = row;
  if (given === null) return html`<span class="quiet">–</span>`;
  const amount = Math.round(given).toLocaleString("en");
  if (!cap) return html`<span class="number">${amount} µl</span>`;
  const full = given >= cap;
  return html`<span class="measured">${meter(given / cap, full ? "full" : "")}<span class="number">${amount}${
    full ? html` µl, <b>cap reached</b>` : ` / ${cap.toLocaleString("en")} µl`
  }</span></span>`;
}

function weight({ weight: known }) {
  if (!known) return "–";
  const share = known.baseline_grams
    ? `, ${Math.round((100 * known.grams) / known.baseline_grams)} %`
    : "";
  return `${known.grams} g${share}`;
}

function act(app, row) {
  const fitting = app.store.overview.finished ? [] : app.orders.fitting(row);
  if (!fitting.length) return nothing;
  return html`<button type="button" class="orders" @click=${() => app.orders.choose(row)}
    aria-label="Orders for ${row.subject}">Orders</button>`;
}

/** What a screen reader is told of the whole table. */
const summary = ({ rows }) =>
  `${plural(rows.filter(FILTERS.here[1]).length, "subject")} in a session, ` +
  `${rows.filter(FILTERS.trouble[1]).length} need a look`;
