// Arrows to answer to, without stimuli, until each was answered rightly.

import { drawing, element } from "./dom.js";
import { TEXTS, practice } from "./texts.js";

const CLOSE = 0.25; // how near the arrow a mark must be
const SIDES = [1, -1, -1, 1, -1, 1, 1, -1];
const PLACES = [-0.5, 0.75, 0.1, -0.9, 0.4, -0.25, 0.95, -0.7];
const SHOWN_S = 0.6; // how long it says whether it was right

const ARROW = "8,0 16,0 16,36 28,36 12,60 -4,36 8,36"; // points down

/** As many arrows as the task asks for. */
export async function practised(screens, stage, study) {
  const count = study.task.practice_trials;
  if (count === 0) return;
  await screens.read("practice", "Practice", practice(study));
  const targets = study.response === "choice" ? SIDES : PLACES;
  for (let n = 0; n < count; n++) {
    const target = targets[n % targets.length];
    stage.progress(n, count);
    while (!(await answered(stage, study.response, target)));
  }
}

async function answered(stage, response, target) {
  stage.enter("practice");
  const arrow = pointing(response, target);
  const over = response === "choice" ? stage.canvas.parentElement : stage.asks.track;
  over.append(arrow);
  const value = await new Promise((resolve) => stage.asks.begin(resolve));
  stage.asks.end();
  stage.asks.show(value, null);
  const right = Math.abs(value - target) <= CLOSE;
  await stage.tell(right ? TEXTS.good : TEXTS.notThere, SHOWN_S);
  arrow.remove();
  return right;
}

/** Sideways in the middle, or down on a place of the scale. */
function pointing(response, target) {
  const way = response === "choice" ? (target > 0 ? "right" : "left") : "down";
  const arrow = drawing("arrow", "-5 -1 34 62", ARROW, "#f7f6f2");
  const label = way === "down" ? `Arrow at ${target} of the scale` : `Arrow to the ${way}`;
  const box = element("div", { class: `pointing ${way}`, role: "img", "aria-label": label }, arrow);
  if (way === "down") box.style.left = `${50 * (1 + target)}%`;
  return box;
}
