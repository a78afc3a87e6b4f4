// How far the study is, and orders to all of it.

import { html, nothing, svg } from "./vendor/lit-html.js";
import { decimal, hours, plural } from "./words.js";

const HALTS = {
  pause: "Paused",
  stop: "Stopped",
  emergency: "Stopped in an emergency",
};

export function progress(app) {
  const { overview } = app.store;
  const { sessions } = overview;
  return html`<section class="panel progress" aria-labelledby="progress-title" id="progress">
    <h2 id="progress-title" class="unseen">Progress</h2>
    ${halted(app)}
    <div class="tiles">
      <div class="tile wide">
        <p class="big"><b id="finished">${sessions.finished}</b><span> of ${sessions.planned} sessions</span></p>
        ${shares(sessions)}
        ${counts(sessions)}
      </div>
      ${remaining(overview)}
      <div class="tile">
        <p class="big">${
          overview.finished
            ? html`<b>Finished</b>`
            : overview.verifying
              ? html`<b>Verifying</b>`
              : html`<span>Component </span><b>${overview.component + 1}</b><span> of ${overview.components}</span>`
        }</p>
        <p class="quiet">${
          overview.finished || overview.verifying
            ? plural(overview.components, "component")
            : `Generation ${overview.generation + 1} of ${overview.generations}`
        }</p>
        <p class="quiet">${
          overview.best_error === null || overview.best_error === undefined
            ? "No error known yet"
            : `Lowest ${overview.best_is} ${decimal(overview.best_error)}`
        }</p>
      </div>
    </div>
    ${controls(app)}
  </section>`;
}

function remaining({ finished, hours_left: left, hours_left_how: how, trials }) {
  const known = left !== null && left !== undefined;
  return html`<div class="tile">
    <p class="big">${
      finished
        ? html`<b>–</b><span> left</span>`
        : known
          ? html`<b>${hours(left)}</b><span> left</span>`
          : html`<b>?</b><span> hours left</span>`
    }</p>
    <p class="quiet">${finished ? "" : how}</p>
    <p class="quiet">${trials === undefined ? "" : `${trials.toLocaleString("en")} trials so far`}</p>
  </div>`;
}

/** Finished, running and lost as parts of what is planned. */
function shares({ finished, running, lost, planned }) {
  const whole = Math.max(planned, finished + running + lost, 1);
  let from = 0;
  const part = (kind, number) => {
    const x = from;
    from += (100 * number) / whole;
    return svg`<rect class=${kind} x="${x}%" width="${(100 * number) / whole}%" height="100%"></rect>`;
  };
  return html`<svg class="shares" aria-hidden="true">
    <defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
      <rect width="2.5" height="5"></rect></pattern></defs>
    ${part("finished", finished)}${part("running", running)}${part("lost", lost)}
  </svg>`;
}

const MORE = ["left", "late", "abandoned", "unusable"];

function counts(sessions) {
  const one = (kind) => html`<li class=${kind}><b>${sessions[kind]}</b> ${kind}</li>`;
  return html`<ul class="counts">
    ${["running", "lost"].map(one)}
    ${MORE.filter((kind) => sessions[kind] || kind === "left").map(one)}
  </ul>`;
}

function halted({ store }) {
  const { halted: how, halted_reason: why, halted_by: by } = store.overview;
  if (!how) return nothing;
  return html`<p class="notice halted" id="halted">
    <strong>${HALTS[how] ?? how}</strong>${by ? ` by ${by}` : ""}${why ? `: ${why}` : ""}.
    ${how === "pause" ? "No next trial is shown." : "No session begins."}
  </p>`;
}

function controls({ store, orders }) {
  const { overview } = store;
  if (overview.finished) return nothing;
  const held = Boolean(overview.halted);
  const kinds = [held ? "resume" : "pause", "stop"].filter((kind) => store.may(kind));
  if (!kinds.length) return nothing;
  const names = { pause: "Pause all", resume: "Resume all", stop: "Stop all" };
  return html`<div class="controls">${kinds.map(
    (kind) =>
      html`<button type="button" data-all=${kind} @click=${() => orders.all(kind)}>${names[kind]}</button>`,
  )}</div>`;
}
