// The last page, whatever has led to it.

import { Refused } from "./client.js";
import { element } from "./dom.js";
import { Unshowable } from "./stimuli.js";
import { TEXTS } from "./texts.js";

/** A page that is the last one; `kind` names it. */
export class Ending extends Error {
  constructor(kind, title, words, ...more) {
    super(words);
    Object.assign(this, { kind, title, words, more });
  }

  show(screens) {
    screens.still("end", this.title, this.words, ...this.more);
    screens.view.dataset.end = this.kind;
  }
}

const host = (url) => new URL(url).host;

/** A completion code, and the way back to where the participant came from. */
export function completion({ completion_code: code, completion_url: url }) {
  const parts = [];
  if (code) {
    const shown = element("output", { class: "code" }, code);
    parts.push(element("p", { class: "label" }, TEXTS.code), shown);
  }
  if (url) {
    const about = { href: url, rel: "noreferrer", class: "onward", "data-id": "onward" };
    const link = element("a", about, `Go on to ${host(url)}`);
    parts.push(element("p", {}, TEXTS.onward), element("p", { class: "buttons" }, link));
  }
  return parts;
}

/** After a session that was begun; `told` is what /api/v1/completion says of it. */
export function afterwards(done, told, task) {
  if (told.finished) return new Ending("finished", task.title, task.thanks, ...completion(told));
  if (done.reason === "session finished") {
    return new Ending("finished", task.title, `${task.thanks}\n\n${TEXTS.noCode}`);
  }
  return new Ending("stopped", "Stopped", TEXTS.stopped);
}

/** Where no session was to be had. */
export function without(done) {
  if (done.study) return new Ending("over", "The study is over", TEXTS.studyOver);
  if (done.emergency) return new Ending("stopped", "Stopped", TEXTS.stopped);
  const left = done.reason.includes("left the study");
  return left
    ? new Ending("gone", "You have left", TEXTS.gone)
    : new Ending("taken", "Thank you", TEXTS.once);
}

/** What went wrong, as a page. */
export function fault(error) {
  if (error instanceof Ending) return error;
  if (error instanceof Refused && [401, 403].includes(error.refusal.status)) {
    return new Ending("closed", "This link is no longer valid", TEXTS.closed);
  }
  const why = element("p", { class: "small" }, error.message);
  if (error instanceof Unshowable) {
    return new Ending("unshowable", "This cannot be shown", TEXTS.unshowable, why);
  }
  return new Ending("trouble", "Something went wrong", TEXTS.broken, why);
}
