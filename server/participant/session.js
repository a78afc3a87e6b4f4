// A session from hello to done, trial by trial: what subject_clients/loop.py does.

import { Refused, sleep } from "./client.js";
import { Heartbeat } from "./heartbeat.js";
import { prepared } from "./stimuli.js";
import { TEXTS } from "./texts.js";

const PROTOCOL = 1;

/** The participant leaves. */
export class Left extends Error {}

export class Session {
  done = null; // how it ended, as the server said
  #due = null;
  #stopped = null;
  #here = 0; // trials shown since the page was loaded

  constructor({ line, screens, stage, study, place, remember }) {
    Object.assign(this, { line, screens, stage, study, place, remember });
  }

  /** Say hello until there is a session, or a reason why there is none. */
  async begin(message) {
    let reply = await this.#hello(message);
    while (reply.type === "wait") {
      this.stage.wait(TEXTS.full);
      await sleep(1000 * reply.retry_after_s);
      reply = await this.#hello(message);
    }
    if (reply.type === "done") return (this.done = reply);
    this.assignment = reply;
    this.heart = new Heartbeat(this.line, reply, (done) => this.#ended(done));
    await this.remember({ session: reply.session });
    this.#due = await this.#next();
    return null;
  }

  /** Show what is due; afterwards `done` says whether that was all. */
  async step() {
    if (this.#stopped) return this.#over(this.#stopped);
    if (this.#due.type === "done") return this.#over(this.#due);
    if (this.#due.type === "wait") {
      this.stage.wait(TEXTS.paused);
      await sleep(1000 * this.#due.retry_after_s);
      if (this.stage.interrupted === "leave") await this.#asksToLeave("in a pause");
      this.#due = await this.#next();
    } else {
      await this.#trial(this.#due);
    }
  }

  /** Tell the server that the participant gives up. */
  async leave(why) {
    this.heart.stop();
    await this.line.tell("abandon", { session: this.assignment.session, reason: why });
  }

  get trials() {
    return this.assignment.training_trials + this.assignment.test_trials;
  }

  async #trial(trial) {
    await this.#break(trial);
    this.stage.enter("waiting");
    this.stage.progress(trial.index, this.trials);
    const shown = await prepared(trial.stimulus, this.place(), trial.index);
    const answer = await this.#answered(shown, trial);
    if (answer === null) return; // stopped within the trial
    const replied = this.#respond(trial, answer);
    replied.catch(() => {}); // awaited below; it must not be reported as unheard
    this.stage.progress(trial.index + 1, this.trials);
    await this.stage.feedback(trial.feedback, answer.value);
    this.#here += 1;
    await this.remember({ points: this.stage.points });
    this.#due = await this.#shortly(replied);
  }

  /** An answer, however often the participant thought of leaving. */
  async #answered(shown, trial) {
    for (let interrupted = 0; ; interrupted++) {
      const answer = await this.stage.ask(shown);
      if (!answer.cut) {
        answer.clocks.interrupted = interrupted;
        return answer;
      }
      if (this.#stopped) return null;
      await this.#asksToLeave(`in trial ${trial.index + 1}`);
    }
  }

  async #asksToLeave(where) {
    const buttons = [
      { id: "stay", label: "Go on", key: " ", hint: "space bar" },
      { id: "leave", label: "Leave", key: "l", hint: "L", quiet: true },
    ];
    const chosen = await this.screens.ask("leave", "Leave?", TEXTS.leave, buttons);
    if (chosen === "leave") throw new Left(`left ${where}`);
  }

  async #break({ index }) {
    const every = this.study.task.break_every;
    if (!every || !this.#here || index % every) return;
    const words = TEXTS.pause.replace("{done}", index).replace("{trials}", this.trials);
    await this.screens.read("break", "Break", words);
  }

  /** Deliver an answer; resolves with what is due after it. */
  async #respond(trial, { value, reaction_time_s, clocks }) {
    const message = {
      session: this.assignment.session,
      uid: trial.uid,
      outcome: value === undefined ? "omission" : "responded",
      clocks: { ...this.heart.clocks(), ...clocks },
    };
    if (value !== undefined) Object.assign(message, { value, reaction_time_s });
    try {
      const ack = await this.line.tell("respond", message);
      if (ack.done) {
        const why = ack.emergency ? "stopped in an emergency" : "session finished";
        return { type: "done", study: false, reason: why, emergency: ack.emergency };
      }
      return ack.next ?? (await this.#next());
    } catch (error) {
      // Stopped within the trial, or answered before: it is set aside, and next says.
      if (!(error instanceof Refused && error.final)) throw error;
      return this.#next();
    }
  }

  /** Await a reply; where it takes long, say that it does. */
  async #shortly(replied) {
    const timer = setTimeout(() => this.stage.wait(TEXTS.waiting), 1000);
    try {
      return await replied;
    } finally {
      clearTimeout(timer);
    }
  }

  #hello(message) {
    return this.line.ask("hello", { protocol: PROTOCOL, ...message });
  }

  #next() {
    return this.line.ask("next", { session: this.assignment.session });
  }

  /** A heartbeat says that it is over: at once only in an emergency. */
  #ended(done) {
    if (!done.emergency) return; // the trial under way is finished
    this.#stopped = done;
    this.stage.interrupt("stopped");
  }

  #over(done) {
    this.heart.stop();
    this.done = done;
  }
}
