// One session of a made-up subject over Socket.IO: replace `Rig` by your hardware.
//
//     npm ci
//     node client.mjs http://127.0.0.1:5000 mouse-07
//
// Of several studies at one server the URL names one: http://...:5000?study=NAME.
// A server with a token wants it in PENCHANT_TOKEN.

import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

const ACK_TIMEOUT_MS = 5_000; // how long one attempt waits for its reply
const PATIENCE_MS = 60_000; // how long a server may stay away
const PAUSES_MS = { 429: 1_000, 503: 200 }; // refusals that pass

/** The server refused a message; nothing has changed. */
class Refused extends Error {
  constructor(kind, refusal) {
    super(`${kind} was refused (${refusal.error}): ${refusal.detail}`);
    this.error = refusal.error;
  }
}

/** A rig that answers at random. Every limit on rewards belongs here. */
class Rig {
  #safe = false;

  begin(assignment) {
    this.#safe = false;
    const trials = assignment.training_trials + assignment.test_trials;
    console.log(`session ${assignment.session}: ${trials} trials`);
    this.choice = assignment.response === "choice";
  }

  /** Show a stimulus, wait for the answer, give the feedback. */
  async present(trial) {
    const start = performance.now();
    await sleep(1);
    if (this.#safe) return { outcome: "aborted" };
    const answer = {
      value: this.choice ? (Math.random() < 0.5 ? -1 : 1) : 2 * Math.random() - 1,
      reaction_time_s: (performance.now() - start) / 1000,
    };
    // At most one reward under a grant, of at most so much, while it is valid.
    const right = answer.value > 0 ? "right" : "left";
    const most = trial.grant?.max_microlitre ?? 0; // 0 once a cap is spent
    if (!this.#safe && most > 0 && trial.feedback?.rewarded === right) {
      answer.reward = { microlitre: most, how: "earned" };
    }
    return answer;
  }

  giveReward(microlitre) {
    console.log(`a free reward of ${microlitre} microlitres`);
  }

  /** Dry, dark and still, whatever is being presented. */
  safeState(reason) {
    this.#safe = true;
    console.error(`safe state: ${reason}`);
  }
}

/** Carries one message after the other, each until it is acknowledged. */
class Line {
  #socket;
  #token;
  #busy = Promise.resolve();

  constructor(url, token) {
    // The client connects anew by itself; the URL's query goes with the handshake.
    this.#socket = io(url, { transports: ["websocket"], reconnectionDelayMax: 1_000 });
    this.#token = token;
  }

  onControl(heard) {
    this.#socket.on("control", heard);
  }

  /** The same connection serves a session again once it has said hello again. */
  onReconnect(again) {
    this.#socket.io.on("reconnect", again);
  }

  /** A message and its reply. A heartbeat never comes between the two. */
  send(kind, message) {
    const sent = this.#busy.then(() => this.#deliver(kind, message));
    this.#busy = sent.catch(() => {});
    return sent;
  }

  // The same message again counts once: the server knows a response by its uid.
  async #deliver(kind, message) {
    const full = this.#token ? { ...message, token: this.#token } : message;
    const deadline = Date.now() + PATIENCE_MS;
    let problem;
    do {
      let pause = 200;
      try {
        const reply = await this.#socket.timeout(ACK_TIMEOUT_MS).emitWithAck(kind, full);
        if (reply.type !== "refusal") return reply;
        problem = new Refused(kind, reply);
        if (!(reply.status in PAUSES_MS)) throw problem;
        pause = PAUSES_MS[reply.status];
      } catch (error) {
        if (error instanceof Refused) throw error;
        problem = error; // no acknowledgement in time
      }
      await sleep(pause);
    } while (Date.now() < deadline);
    throw new Error(`no answer for ${PATIENCE_MS / 1000} s: ${problem.message}`);
  }

  close() {
    this.#socket.close();
  }
}

/** Renews the lease beside the trials, and does what the server says. */
class Heartbeat {
  #over = false;
  #wake = () => {};
  #given = new Set();
  emergency = null;

  constructor(line, rig, assignment) {
    this.line = line;
    this.rig = rig;
    this.session = assignment.session;
    this.pause = 1000 * assignment.heartbeat_s;
    // What is pushed says: look at your heartbeat now. An emergency does not wait.
    line.onControl(({ session, what }) => {
      if (session !== "" && session !== this.session) return;
      if (what === "emergency") this.stop("emergency stop");
      this.#wake();
    });
    this.done = this.#run();
  }

  stop(reason) {
    if (this.emergency === null) this.rig.safeState(reason);
    this.emergency ??= reason;
  }

  async #run() {
    while (!this.#over) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, this.pause);
        this.#wake = () => (clearTimeout(timer), resolve());
      });
      if (this.#over) return;
      try {
        const reply = await this.line.send("heartbeat", { session: this.session });
        if (reply.emergency) this.stop(reply.reason);
        if (reply.type === "done") return;
        for (const reward of reply.rewards) await this.#give(reward);
      } catch (error) {
        if (error instanceof Refused) return; // the trials meet the same fault
      }
    }
  }

  // Each is repeated until the server knows of it, and given once. A rig that may
  // be restarted within a session remembers the uids on disk, before it gives.
  async #give({ uid, microlitre }) {
    if (this.emergency !== null) return;
    if (!this.#given.has(uid)) {
      this.#given.add(uid);
      this.rig.giveReward(microlitre);
    }
    const reward = { microlitre, how: "free" };
    await this.line.send("rewarded", { session: this.session, uid, reward });
  }

  async end() {
    this.#over = true;
    this.#wake();
    await this.done;
  }
}

async function trials(line, rig, heart) {
  const { session } = heart;
  const due = () => line.send("next", { session });
  let reply = await due();
  while (reply.type !== "done" && heart.emergency === null) {
    if (reply.type === "wait") {
      await sleep(1000 * reply.retry_after_s); // paused
      reply = await due();
      continue;
    }
    const answer = await rig.present(reply);
    // A rig of real subjects stores this on disk first, and sends what is left
    // there before its next hello.
    const response = { session, uid: reply.uid, ...answer };
    try {
      const ack = await line.send("respond", response);
      if (ack.done) return "session finished";
      reply = ack.next ?? (await due());
    } catch (error) {
      if (error.error !== "session_over") throw error;
      reply = await due(); // stopped within the trial: says why
    }
  }
  if (reply.emergency) heart.stop(reply.reason);
  return heart.emergency ?? reply.reason;
}

async function runSession(line, subject, rig) {
  const hello = { protocol: 1, subject, capabilities: { client: "javascript" } };
  let reply = await line.send("hello", hello);
  while (reply.type === "wait") {
    await sleep(1000 * reply.retry_after_s);
    reply = await line.send("hello", hello);
  }
  if (reply.type === "done") return reply.reason;
  rig.begin(reply);
  const heart = new Heartbeat(line, rig, reply);
  line.onReconnect(() => line.send("hello", hello).catch(() => {}));
  try {
    return await trials(line, rig, heart);
  } catch (error) {
    rig.safeState(error.message); // the server is lost, or will not go on
    throw error;
  } finally {
    await heart.end();
  }
}

const [url, subject] = process.argv.slice(2);
if (!subject) {
  console.error("usage: node client.mjs URL SUBJECT");
  process.exit(2);
}
const line = new Line(url, process.env.PENCHANT_TOKEN);
try {
  console.log(await runSession(line, subject, new Rig()));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  line.close();
}
