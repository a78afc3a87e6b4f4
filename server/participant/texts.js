// What a participant reads where the study file says nothing. As in a PsychoPy window.

const GRADED = `You will see one picture after the other. Each has a value between {left} and {right}.

Say which by a mark on the scale below the picture: click or tap on the scale, or use the arrow keys and press Enter.

At first you are shown the true value after each answer. Learn from it: later there are new pictures, and nobody tells.`;

const CHOICE = `You will see one picture after the other. Each belongs to one of two sides: {left} or {right}.

Press {first} for {left}, {second} for {right}, or click or tap on the side.

At first you are shown after each answer which side it was. Learn from it: later there are new pictures, and nobody tells.`;

const PRACTICE_GRADED = `First some practice in answering, without pictures.

An arrow points at a place on the scale. Put your mark there.`;

const PRACTICE_CHOICE = `First some practice in answering, without pictures.

An arrow points to a side. Press the key of that side, {first} or {second}, or tap on it.`;

export const TEXTS = {
  practised: "Now the session begins. There are at most {trials} pictures.",
  fullScreen:
    "It works best in full screen, without anything else to look at. The Escape key ends full screen at any time.",
  welcomeBack: "Welcome back.\n\nThe session goes on where it was interrupted.",
  pause: "{done} of {trials} are done. Take the time you need.",
  leave: "If you leave now, this session cannot be gone on with later.",
  declined: "You did not agree. Nothing was recorded, and you may close this page.",
  left: "You have left the session. What you did until then is saved. You may close this page.",
  stopped: "The session was stopped. Please ask whoever runs the study. You may close this page.",
  waiting: "One moment, please ...",
  paused: "The session is paused by whoever runs the study. It goes on by itself: please stay.",
  full: "Please wait: it is somebody else's turn at the moment. It goes on by itself.",
  trouble:
    "The server cannot be reached. Your answers are kept on this device, and it goes on by itself as soon as the server is back.",
  tooSlow: "Too slow",
  trueValue: "true value",
  loading: "Loading: {done} of {of}",
  good: "Good",
  notThere: "Not there: try again",
  closed:
    "This link is not valid any more. Please ask whoever sent it for a new one: what you did until now is saved.",
  elsewhere: "This study was opened in another tab or window. Please go on there, and close this one.",
  studyOver: "This study is complete: nobody else is needed. Thank you for coming.",
  once: "You have taken part in this study before, and it takes everybody once. Thank you.",
  gone: "You have left this study before. You may close this page.",
  noCode: "If you expected a completion code, please ask whoever runs the study.",
  again: "You have finished a session of this study. If you like you may take part once more, with new pictures.",
  unshowable: "This browser cannot show what the study asks for. Please tell whoever runs the study.",
  broken:
    "What you did until now is saved. Please load this page again; if that does not help, tell whoever runs the study what stands below.",
  code: "Your completion code",
  onward: "Your part is recorded when you go on to the page that sent you here.",
};

const ARROWS = { left: "left arrow key", right: "right arrow key" };

/** A key as a person calls it. */
export const keyName = (key) => ARROWS[key] ?? key.toUpperCase();

/** A text with its fields in braces filled. */
export const filled = (text, values) =>
  text.replace(/\{(\w+)\}/g, (field, name) => values[name] ?? field);

const named = (task) => ({
  left: task.left,
  right: task.right,
  first: keyName(task.keys[0]),
  second: keyName(task.keys[1]),
});

/** The pages of a task, or one that says how to answer. */
export const instructions = ({ task, response }) =>
  task.instructions.length
    ? task.instructions
    : [filled(response === "choice" ? CHOICE : GRADED, named(task))];

export const practice = ({ task, response }) =>
  filled(response === "choice" ? PRACTICE_CHOICE : PRACTICE_GRADED, named(task));
