// What comes before the first trial: consent, the screen, instructions, practice.

import { measured } from "./card.js";
import { sha256 } from "./digest.js";
import { Ending } from "./endings.js";
import { practised } from "./practice.js";
import { goOn } from "./screens.js";
import { TEXTS, filled, instructions } from "./texts.js";

/** Ask for consent where the study does; ends the page of whoever declines. */
export async function consent({ screens, study, remember }) {
  const { task } = study;
  if (task.consent === null) return;
  const chosen = await screens.ask("consent", task.title, task.consent, [
    { id: "agree", label: "I agree", key: "y", hint: "Y" },
    { id: "decline", label: "I do not agree", key: "n", hint: "N", quiet: true },
  ]);
  if (chosen === "decline") throw new Ending("declined", "Thank you", TEXTS.declined);
  const consent_utc_s = Math.round(Date.now()) / 1000;
  await remember({ consent: { consent_sha256: sha256(task.consent), consent_utc_s } });
}

/** Offer full screen, where the browser has it; it must follow a key or a click. */
export async function fullScreen({ screens }, screen, title, words = []) {
  if (!document.fullscreenEnabled || document.fullscreenElement) {
    if (words.length) await screens.read(screen, title, words.join("\n\n"));
    return;
  }
  const said = [...words, TEXTS.fullScreen].join("\n\n");
  const chosen = await screens.ask(screen, title, said, [
    { ...goOn("Full screen"), id: "full" },
    { id: "window", label: "Stay in this window", key: "w", hint: "W", quiet: true },
  ]);
  if (chosen === "full") await document.documentElement.requestFullscreen().catch(() => {});
}

/** Measure the screen, once for each browser. */
export async function card({ screens, kept, remember }) {
  if (kept.pxPerCm) return;
  const pxPerCm = await measured(screens);
  if (pxPerCm !== null) await remember({ pxPerCm });
}

export async function instruct({ screens, study }) {
  for (const words of instructions(study)) {
    await screens.read("instructions", study.task.title, words);
  }
}

export async function practise({ screens, stage, study, remember }) {
  await practised(screens, stage, study);
  const trials = study.training_trials + study.test_trials;
  const words = filled(TEXTS.practised, { trials });
  await screens.read("ready", study.task.title, words, "Begin");
  await remember({ ready: true });
}
