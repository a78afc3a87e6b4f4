// Asks for a token where the server wants one; the tab keeps it until it is closed.

import { html, nothing } from "./vendor/lit-html.js";

const KEPT = "penchant token";

export const kept = () => sessionStorage.getItem(KEPT) ?? "";

export function keep(secret) {
  if (secret) sessionStorage.setItem(KEPT, secret);
  else sessionStorage.removeItem(KEPT);
}

const WORDS = {
  401: "This token is not known here, has run out, or was withdrawn.",
  403: "This token may not watch this study.",
  404: "This study is not served here.",
  429: "Too many wrong tokens came from this address. Wait a minute, then try again.",
};

/** What a refusal means to whoever reads the page. */
export const plainly = (error, tried) =>
  error.status === 401 && !tried ? "" : (WORDS[error.status] ?? error.message);

/** The page that asks. */
export function entry({ fault, enter }) {
  const submit = (event) => {
    event.preventDefault();
    enter(new FormData(event.target).get("token").trim());
  };
  return html`<main class="entry"><form class="panel" @submit=${submit}>
    <h1>Operator's dashboard</h1>
    <p>This server asks who you are. Paste the token of an operator or a viewer.</p>
    <label>Token <input name="token" type="password" required autocomplete="off" spellcheck="false" autofocus></label>
    ${fault ? html`<p class="fault" role="alert">${fault}</p>` : nothing}
    <div class="buttons"><button class="main" type="submit">Open</button></div>
    <p class="quiet">It is kept in this tab only. Whoever runs the server issues one:
      <code>penchant token issue --role viewer</code></p>
  </form></main>`;
}
