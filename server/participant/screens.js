// Pages of words on paper, each ended by a button or its key.

import { element, paragraphs } from "./dom.js";

const onButton = () => document.activeElement instanceof HTMLButtonElement;

/** Shows one screen at a time in the page's view. */
export class Screens {
  constructor(view, keyboard) {
    this.view = view;
    this.keyboard = keyboard;
  }

  /** Put something into the view; `screen` names it for style and tests. */
  put(screen, ...content) {
    this.view.dataset.screen = screen;
    delete this.view.dataset.state;
    this.view.replaceChildren(...content);
    window.scrollTo(0, 0);
  }

  /** A page without a way on. */
  still(screen, title, words, ...more) {
    const heading = title ? [element("h1", {}, title)] : [];
    const paper = element("article", { class: "paper" }, ...heading);
    paper.append(...paragraphs(words), ...more);
    this.put(screen, paper);
    this.view.focus({ preventScroll: true });
    return paper;
  }

  /** Show a page until one of `buttons` is chosen; returns its id. */
  ask(screen, title, words, buttons, ...more) {
    const row = element("div", { class: "buttons" });
    const paper = this.still(screen, title, words, ...more);
    paper.append(row);
    return this.chosen(row, buttons);
  }

  /** Fill a row with buttons; resolves with the id of the one that is chosen. */
  chosen(row, buttons) {
    return new Promise((resolve) => {
      const end = (id) => {
        stop();
        resolve(id);
      };
      for (const { id, label, hint, quiet } of buttons) {
        const look = quiet ? "quiet" : "main";
        const button = element("button", { type: "button", class: look, "data-id": id }, label);
        if (hint) button.append(" ", element("kbd", {}, hint));
        button.addEventListener("click", () => end(id));
        row.append(button);
      }
      const byKey = new Map(buttons.filter((b) => b.key).map((b) => [b.key, b.id]));
      const stop = this.keyboard.listen([...byKey.keys()], (key) => {
        // A button that has the focus takes the space bar for itself.
        if (key !== " " || !onButton()) end(byKey.get(key));
      });
    });
  }

  /** As `ask`, with one button. */
  read(screen, title, words, label = "Go on") {
    return this.ask(screen, title, words, [goOn(label)]);
  }
}

export const goOn = (label = "Go on") => ({
  id: "go-on",
  label,
  key: " ",
  hint: "space bar",
});
