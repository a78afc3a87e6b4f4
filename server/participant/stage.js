// Where trials are shown: progress, a field for stimuli, and the way to answer.

import { element } from "./dom.js";
import { Watch, frame } from "./frames.js";
import { TEXTS } from "./texts.js";

const INK = "#161616";
const CROSS_PX = 16;

const ms = (value) => Math.round(100 * value) / 100;

export class Stage {
  points = 0;
  #answers = 0; // since the page was loaded
  #cut = null; // why a trial is not gone on with

  constructor(screens, asks, task, frameMs) {
    Object.assign(this, { screens, asks, task, frameMs });
    this.canvas = element("canvas", { id: "canvas", role: "img", "aria-label": "Picture" });
    this.bar = element("progress", { max: "1", value: "0", "aria-label": "Done so far" });
    this.leave = element("button", { type: "button", class: "leave" }, "Leave");
    this.verdict = element("div", { class: "verdict", role: "status" });
    const field = element("div", { class: "field" }, this.canvas, this.verdict);
    const top = element("div", { class: "top" }, this.bar, this.leave);
    const answer = element("div", { class: "answer" }, asks.element);
    this.element = element("div", { class: "stage" }, top, field, answer);
    this.leave.addEventListener("click", () => this.interrupt("leave"));
  }

  /** Put the stage into the view, empty. */
  enter(state) {
    if (!this.element.isConnected) this.screens.put("trial", this.element);
    this.#state(state);
    this.#say();
    this.asks.clear();
    this.#fit();
    this.#wipe();
  }

  progress(done, of) {
    this.bar.value = done / Math.max(of, 1);
  }

  /** Do not go on with the trial under way. */
  interrupt(why) {
    this.#cut ??= why;
  }

  /** Why somebody wanted to interrupt while there was no trial. */
  get interrupted() {
    return this.#cut;
  }

  /** The room for a stimulus, in pixels. */
  get room() {
    const { width, height } = this.canvas.parentElement.getBoundingClientRect();
    return { width, height };
  }

  cross = (context) => {
    context.fillStyle = INK;
    for (const [long, thick] of [[CROSS_PX, CROSS_PX / 7], [CROSS_PX / 7, CROSS_PX]]) {
      context.fillRect(-long / 2, -thick / 2, long, thick);
    }
  };

  /** A message instead of a trial. */
  wait(words) {
    this.enter("waiting");
    this.#say(words);
  }

  /**
   * Fixation and stimulus, until there is an answer, or time is up: then without
   * `value`. Of a trial that was interrupted it says why, as `cut`.
   */
  async ask(shown) {
    this.enter("fixation");
    const watch = new Watch(this.frameMs);
    try {
      await this.#fixate();
      return this.#cut ? { cut: this.#cut } : await this.#present(shown, watch);
    } finally {
      this.#cut = null;
      shown.end();
      this.asks.end();
      watch.end();
    }
  }

  /** What training tells, or that it was too slow. */
  async feedback(told, value) {
    if (!told && value !== undefined) return;
    this.#state("feedback");
    const truth = told?.label ?? (told?.rewarded ? (told.rewarded === "right" ? 1 : -1) : null);
    this.asks.show(value ?? null, truth);
    const lines = value === undefined ? [TEXTS.tooSlow] : [];
    if (told?.rewarded) lines.push(...this.#paid(value === truth));
    this.#say(...lines);
    await this.#for(this.task.feedback_s);
  }

  /** Words over the field for a while; used by practice. */
  async tell(words, seconds) {
    this.#say(words);
    await this.#for(seconds);
    this.#say();
  }

  #paid(won) {
    this.points += won ? 1 : 0;
    return [won ? "+1" : "0", `Points: ${this.points}`];
  }

  async #fixate() {
    this.#draw(this.cross);
    await this.#for(this.task.fixation_s, () => this.#cut);
  }

  async #present(shown, watch) {
    await frame();
    this.#draw(shown.draw);
    const onset = await frame(); // it is on the screen when the next one begins
    const times = { onset, offset: null };
    this.#state("stimulus");
    shown.begin();
    let given = null;
    this.asks.begin((value, at) => {
      if (at >= onset) given ??= { value, at };
    });
    watch.tick(onset);
    const hiddenBefore = watch.hiddenMs;
    let now = onset;
    while (!given && !this.#cut && !this.#over(this.task.answer_within_s, now - onset)) {
      now = await frame();
      watch.tick(now);
      this.#hide(shown, times, now);
    }
    const { dropped } = watch;
    const hiddenMs = watch.hiddenMs - hiddenBefore;
    this.asks.end();
    if (this.#cut && !given) return { cut: this.#cut };
    if (times.offset === null) {
      this.#wipe();
      times.offset = await frame();
    }
    this.#state("answered");
    this.screens.view.dataset.answers = ++this.#answers;
    return this.#answer(given, times, shown, { frames_dropped: dropped, hidden_s: ms(hiddenMs) / 1000 });
  }

  /** Take the stimulus away when its time is over; note the first frame without it. */
  #hide(shown, times, now) {
    if (times.offset !== null) return;
    if (times.gone) times.offset = now;
    else if (this.#over(this.task.stimulus_s, now - times.onset)) {
      this.#wipe();
      shown.end();
      times.gone = true;
    }
  }

  #answer(given, times, shown, seen) {
    const clocks = {
      onset_s: ms(times.onset) / 1000,
      shown_s: ms(times.offset - times.onset) / 1000,
      full_screen: document.fullscreenElement ? 1 : 0,
      ...seen,
      ...shown.clocks,
    };
    if (this.task.stimulus_s !== null) clocks.requested_s = this.task.stimulus_s;
    if (shown.diameter) clocks.size_px = ms(shown.diameter);
    const reaction_time_s = given && Math.round(100 * (given.at - times.onset)) / 1e5;
    return { value: given?.value, reaction_time_s, clocks };
  }

  /** Whether what is drawn now is there only after a limit. */
  #over(limitS, passedMs) {
    return limitS !== null && passedMs + 1.5 * this.frameMs > 1000 * limitS;
  }

  async #for(seconds, until = () => false) {
    const since = await frame();
    while (!until() && (await frame()) - since + this.frameMs / 2 < 1000 * seconds);
  }

  #state(state) {
    this.screens.view.dataset.state = state;
  }

  #say(...lines) {
    this.verdict.replaceChildren(...lines.map((line) => element("p", {}, line)));
  }

  /** As many pixels as the screen has, since a stretched picture is blurred. */
  #fit() {
    const { width, height } = this.room;
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
  }

  #draw(draw) {
    const context = this.#wipe();
    const { width, height } = this.canvas;
    const zoom = devicePixelRatio;
    context.setTransform(zoom, 0, 0, zoom, Math.round(width / 2), Math.round(height / 2));
    draw(context);
  }

  #wipe() {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    return context;
  }
}
