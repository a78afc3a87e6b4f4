// The page of a participant: puts the parts together and runs them as a timeline.

import { capabilities, parameters } from "./about.js";
import { alone } from "./alone.js";
import { wayToAnswer } from "./answers.js";
import { Line } from "./client.js";
import { Ending, afterwards, completion, fault, without } from "./endings.js";
import { Files } from "./files.js";
import { frameMs } from "./frames.js";
import { UNMEASURED_PX_PER_CM, pxPerDegree } from "./geometry.js";
import * as introduction from "./introduction.js";
import { Keyboard } from "./keys.js";
import { openBox } from "./outbox.js";
import { Screens } from "./screens.js";
import { Left, Session } from "./session.js";
import { Stage } from "./stage.js";
import { TEXTS, filled } from "./texts.js";
import { Sound } from "./tones.js";

const QUIET_MS = 1500; // a server may be away for so long without a word about it
const SLOW_MS = 500; // files that are there by then need no word either

const { study, subject, group } = document.body.dataset;
const secret = decodeURIComponent(location.pathname.split("/").pop());
const jsPsych = initJsPsych();
const screens = new Screens(document.getElementById("view"), new Keyboard(jsPsych.pluginAPI));

/** Say that the server is away, once it has been for a while. */
function noticing(notice) {
  let timer = 0;
  return (away) => {
    if (!away) {
      clearTimeout(timer);
      timer = 0;
      notice.textContent = "";
    } else if (!timer) {
      timer = setTimeout(() => (notice.textContent = TEXTS.trouble), QUIET_MS);
    }
  };
}

/** All that the parts of the page share. */
async function opened() {
  if (!(await alone(`penchant ${study} ${subject}`))) {
    throw new Ending("elsewhere", "Already open", TEXTS.elsewhere);
  }
  const box = await openBox(study, subject);
  const kept = (await box.kept("state")) ?? {};
  const remember = async (more) => box.keep("state", Object.assign(kept, more));
  const came = parameters(location);
  if (Object.keys(came).length) await remember({ parameters: { ...kept.parameters, ...came } });
  const base = `${location.pathname.split("/participate/")[0]}/api/v1`;
  const trouble = noticing(document.getElementById("notice"));
  const line = new Line({ base, study, secret }, box, trouble);
  const human = await (await line.page("human")).json();
  document.title = human.task.title;
  return { box, kept, remember, line, screens, study: human };
}

const told = async (line, query) => (await line.page("completion", query)).json();

/** Whoever has finished is told so before anything else. */
async function before({ line, kept }) {
  const said = await told(line, {});
  if (kept.session) return;
  if (said.finished && !said.again) {
    throw new Ending("taken", "Thank you", TEXTS.once, ...completion(said));
  }
  if (said.finished) {
    const go = [{ id: "go-on", label: "Take part once more" }];
    await screens.ask("again", "Thank you", TEXTS.again, go, ...completion(said));
  } else if (said.study_over) {
    throw new Ending("over", "The study is over", TEXTS.studyOver);
  }
}

/** Fetch pictures and sounds; say so where it takes a while. */
async function preload(files) {
  let words = "";
  const timer = setTimeout(() => screens.still("loading", "", words || TEXTS.waiting), SLOW_MS);
  await files.preload((done, of) => {
    words = filled(TEXTS.loading, { done, of });
    const shown = document.querySelector("[data-screen=loading] p");
    if (shown) shown.textContent = words;
  });
  clearTimeout(timer);
}

/** Where stimuli are drawn, how large, and with what. */
const placing = (page, stage) => {
  const sound = new Sound();
  const files = new Files(page.line);
  const pxPerDeg = () => pxPerDegree(page.kept.pxPerCm ?? UNMEASURED_PX_PER_CM);
  const place = () => ({
    field: stage.room,
    sizeDeg: page.study.task.size_deg,
    pxPerDeg: pxPerDeg(),
    pixelRatio: devicePixelRatio,
    cross: stage.cross,
    sound,
    files,
  });
  return { files, place, pxPerDeg };
};

/** What the page remembers of one session, and not of the next. */
const FORGOTTEN = { ready: false, consent: null, session: null, points: 0 };

async function finished(page, session) {
  const begun = session.assignment !== undefined;
  const query = begun ? { session: session.assignment.session } : {};
  const said = await told(page.line, query);
  await page.remember(FORGOTTEN);
  if (begun) return afterwards(session.done, said, page.study.task);
  const ending = without(session.done);
  ending.more.push(...completion(said));
  return ending;
}

/** The steps in their order; `failed` hears what ends the page before its time. */
function timeline(page, session, failed) {
  const step = (run) => ({
    type: jsPsychCallFunction,
    async: true,
    func: async (done) => {
      try {
        await run();
        done();
      } catch (error) {
        failed(error);
        jsPsych.abortExperiment();
        done();
      }
    },
  });
  const resumed = Boolean(page.kept.ready);
  const { consent, fullScreen, card, instruct, practise } = introduction;
  const goes = () => session.done === null;
  return [
    {
      timeline: [
        step(() => consent(page)),
        step(() => fullScreen(page, "screen", "Full screen?")),
        step(() => card(page)),
        step(() => instruct(page)),
        step(() => practise(page)),
      ],
      conditional_function: () => !resumed,
    },
    {
      timeline: [
        step(() => fullScreen(page, "back", page.study.task.title, [TEXTS.welcomeBack])),
      ],
      conditional_function: () => resumed,
    },
    step(() => page.begin()),
    {
      timeline: [step(() => session.step())],
      conditional_function: goes,
      loop_function: goes,
    },
  ];
}

async function left(session, error) {
  screens.still("leaving", "", TEXTS.waiting);
  await session.leave(error.message);
  throw new Ending("left", "You have left", TEXTS.left);
}

async function run() {
  const page = await opened();
  await before(page);
  await page.line.catchUp();
  const nominalMs = await frameMs();
  const asks = wayToAnswer(screens.keyboard, page.study);
  const stage = new Stage(screens, asks, page.study.task, nominalMs);
  stage.points = page.kept.points ?? 0;
  const { files, place, pxPerDeg } = placing(page, stage);
  const session = new Session({ ...page, stage, place });
  page.stage = stage;
  page.begin = async () => {
    await preload(files);
    const about = { pxPerDeg: pxPerDeg(), frameMs: nominalMs, durable: page.box.durable };
    const who = { subject, ...(group ? { group } : {}) };
    await session.begin({ ...who, capabilities: capabilities(page.kept, about) });
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") stage.interrupt("leave");
  });
  let failure = null;
  await jsPsych.run(timeline(page, session, (error) => (failure ??= error)));
  if (failure instanceof Left) {
    await page.remember(FORGOTTEN);
    await left(session, failure);
  }
  if (failure) throw failure;
  return finished(page, session);
}

run()
  .catch(fault)
  .then(async (ending) => {
    if (document.fullscreenElement) await document.exitFullscreen().catch(() => {});
    ending.show(screens);
  });
