// A box with two ports (or one lick spout, the right one) for Penchant.
//
// The computer sends one trial at a time; the board runs it by itself and holds every
// limit by itself: one reward in a trial, of at most so much, not after its time; so
// much liquid in all; and all off when the computer is silent. See docs/rigs-bridge.md.
//
// Change settings.h, upload, and run the self-check before an animal is in the box.

#include "message.h"
#include "sensors.h"
#include "settings.h"
#include "valve.h"

const int VERSION = 1;
const uint8_t UID_BYTES = 41; // the longest uid has 40 characters
const uint8_t UIDS = 16;      // so many trials of the past are remembered

enum Step : uint8_t { IDLE, DELAY, STIMULUS, PAY, PAYING, AVERSIVE, DRINK };

struct Trial {
  char uid[UID_BYTES];
  float microlitre[2], automaticMicrolitre, limitMicrolitre;
  uint32_t aversiveMs[2], automaticAversiveMs;
  uint32_t validMs, windowMs;
  bool counting;  // licks are counted in the whole window; what they bring comes after
  uint8_t level;  // PWM of the stimulus
};

struct Result {
  Text outcome;
  Side side;
  bool automatic, limited;
  uint32_t responseMs, onsetMs, paidAfterMs, nanolitres;
  uint16_t pokes, licks;
};

Reader in;
Writer out;
Valves valves;
Sensors sensors;

Trial trial;
Result result;
Step step = IDLE;
bool told = false;        // there is a result of `trial` that can be told
bool stopped = false;     // by the emergency input, until Penchant is started again
bool dry = false;         // made safe: nothing is given until the next trial
uint32_t begun = 0;       // ms, of the trial
uint32_t stepBegun = 0;   // ms
uint32_t aversiveMs = 0;  // of the AVERSIVE step
Side paySide = RIGHT;     // of the PAY step
float payMicrolitre = 0;

uint32_t heard = 0;       // ms, of the last message of the computer
bool bitten = true;       // by the watchdog; until a message comes
uint32_t seen[UIDS];      // hashes of the uids of trials
uint8_t seenNext = 0;
uint32_t scriptFor = 0;   // hash of the uid that the script is for

char freeUid[UID_BYTES] = ""; // of the last free reward
float freeMicrolitre = 0;     // still to be given
Side freeSide = LEFT;
bool freeOpen = false;
uint32_t freeNanolitres = 0;
char session[20] = "";

// ---- small things ------------------------------------------------------------------

uint32_t hashOf(const char *uid) { // FNV-1a
  uint32_t hash = 2166136261u;
  for (; *uid; uid++) hash = (hash ^ (uint8_t)*uid) * 16777619u;
  return hash ? hash : 1;
}

bool emergency() { return stopped || digitalRead(EMERGENCY_PIN) == EMERGENCY_ACTIVE; }

uint32_t msOf(float seconds, uint32_t most) {
  if (!(seconds > 0)) return 0;
  return seconds * 1000 < most ? (uint32_t)(seconds * 1000 + 0.01) : most;
}

void say(Text what, const char *uid) {
  out.begin(what);
  out.text(F("uid"), uid);
  out.end();
}

void fault(const char *uid, Text reason) {
  out.begin(F("fault"));
  out.text(F("uid"), uid);
  out.text(F("reason"), reason);
  out.end();
}

void showStimulus(bool on) {
  digitalWrite(STIMULUS_PIN, on ? HIGH : LOW);
  analogWrite(STIMULUS_PWM_PIN, on ? trial.level : 0);
}

// ---- a trial -----------------------------------------------------------------------

void tellHappened() {
  out.begin(F("happened"));
  out.text(F("uid"), trial.uid);
  out.text(F("outcome"), result.outcome);
  if (result.side != NONE) {
    Text side = result.side == LEFT ? F("left") : F("right");
    if (!trial.counting) out.text(F("side"), side);
    out.thousandths(F("reaction_time_s"), result.responseMs);
    out.thousandths(F("response_time_s"), result.responseMs);
  }
  out.thousandths(F("delivered_microlitre"), result.nanolitres);
  if (result.automatic) out.text(F("delivered_how"), F("automatic"));
  if (result.nanolitres) out.thousandths(F("delivered_after_s"), result.paidAfterMs);
  if (result.onsetMs) out.thousandths(F("rig_clock_s"), result.onsetMs);
  out.open(F("counts"));
  out.whole(F("pokes"), result.pokes);
  if (trial.counting) out.whole(F("licks"), result.licks);
  if (result.limited) out.whole(F("board_limit"), 1);
  out.close();
  out.end();
}

void go(Step next) {
  step = next;
  stepBegun = millis();
}

void over() {
  showStimulus(false);
  digitalWrite(AVERSIVE_PIN, LOW);
  sensors.playing = false;
  step = IDLE;
  told = true;
  tellHappened();
}

// All off and closed. A trial under way is over, and what it gave is told.
void makeSafe() {
  bool paying = step == PAYING;
  valves.close();
  if (paying) result.nanolitres = valves.lastNanolitres;
  if (freeOpen) freeNanolitres = valves.lastNanolitres;
  freeOpen = false;
  freeMicrolitre = 0;
  dry = true;
  showStimulus(false);
  digitalWrite(AVERSIVE_PIN, LOW);
  if (step != IDLE) {
    result.outcome = F("aborted");
    over();
  }
}

// What a response, or the end of the window, brings. At most once in a trial: no step
// leads back here.
void reinforce(Side side, bool automatic) {
  showStimulus(false);
  result.automatic = automatic;
  paySide = side;
  payMicrolitre = automatic ? trial.automaticMicrolitre : trial.microlitre[side];
  payMicrolitre = min(payMicrolitre, trial.limitMicrolitre);
  aversiveMs = automatic ? trial.automaticAversiveMs : trial.aversiveMs[side];
  if (payMicrolitre > 0) {
    go(PAY);
  } else if (aversiveMs > 0) {
    digitalWrite(AVERSIVE_PIN, HIGH);
    go(AVERSIVE);
  } else {
    go(DRINK);
  }
}

void endOfWindow() {
  bool automatic = trial.automaticMicrolitre > 0 || trial.automaticAversiveMs > 0;
  if (automatic) {
    reinforce(RIGHT, true);
  } else if (trial.counting && result.side != NONE) {
    reinforce(RIGHT, false);
  } else {
    if (!trial.counting) result.outcome = F("omission");
    over();
  }
}

void pay() {
  if (valves.isOpen() || freeOpen) return; // a free reward: wait for its end
  uint32_t elapsed = millis() - begun;
  if (elapsed + openMsFor(paySide, payMicrolitre) > trial.validMs) {
    go(DRINK); // too late: nothing
    return;
  }
  bool given = valves.open(paySide, payMicrolitre);
  result.limited = valves.limited;
  if (given) result.paidAfterMs = elapsed;
  go(given ? PAYING : DRINK);
}

void poked(Side side, uint32_t at) {
  result.pokes++;
  bool automatic = trial.automaticMicrolitre > 0 || trial.automaticAversiveMs > 0;
  if (step == DELAY || (step == STIMULUS && (int32_t)(at - stepBegun) < 0)) {
    result.outcome = F("premature");
    if (!automatic) over();
    return;
  }
  if (step != STIMULUS || (trial.counting && side == LEFT)) return;
  result.licks++;
  if (result.side == NONE) {
    result.side = side;
    result.responseMs = at - stepBegun;
  }
  if (!trial.counting && !automatic) reinforce(side, false);
}

void sense() {
  uint32_t now = millis(), at = 0;
  int32_t sinceStimulus = (int32_t)(now - begun) - (int32_t)DELAY_MS;
  Side side = sensors.poke(now, sinceStimulus, at);
  if (side != NONE && step != IDLE) poked(side, at);
}

void runTrial() {
  uint32_t now = millis();
  if (step == PAYING && !valves.isOpen()) {
    result.nanolitres = valves.lastNanolitres;
    go(DRINK);
  }
  if (now - begun >= trial.validMs && step != PAYING) {
    if (step == DELAY) result.outcome = F("aborted");
    if (step == STIMULUS && result.side == NONE && !trial.counting) {
      result.outcome = F("omission");
    }
    over();
    return;
  }
  uint32_t since = now - stepBegun;
  switch (step) {
    case DELAY:
      if (since < DELAY_MS) break;
      showStimulus(true);
      go(STIMULUS);
      result.onsetMs = stepBegun;
      break;
    case STIMULUS:
      if (since >= trial.windowMs) endOfWindow();
      break;
    case PAY:
      pay();
      break;
    case AVERSIVE:
      if (since < aversiveMs) break;
      digitalWrite(AVERSIVE_PIN, LOW);
      go(DRINK);
      break;
    case DRINK:
      if (since >= DRINK_MS) over();
      break;
    default:
      break;
  }
}

// ---- what the computer says ----------------------------------------------------------

void onHello() {
  char asked[sizeof session];
  if (!textOf(in.text, F("session"), asked, sizeof asked)) return;
  if (strcmp(asked, session) != 0) { // another run of Penchant: its uids are new
    makeSafe();
    dry = told = stopped = false;
    memset(seen, 0, sizeof seen);
    freeUid[0] = 0;
    strcpy(session, asked);
  }
  out.begin(F("hello"));
  out.whole(F("version"), VERSION);
  out.text(F("session"), session);
  out.text(F("name"), NAME);
  out.thousandths(F("trial_microlitre"), MOST_TRIAL_MICROLITRE * 1000);
  out.thousandths(F("session_microlitre"), MOST_SESSION_MICROLITRE * 1000);
  out.thousandths(F("watchdog_s"), WATCHDOG_MS);
  out.whole(F("line_bytes"), LINE_BYTES);
  out.whole(F("plays"), 1);
  out.whole(F("gives"), 1);
  out.end();
}

bool knownUid(uint32_t hash) {
  for (uint8_t i = 0; i < UIDS; i++) {
    if (seen[i] == hash) return true;
  }
  return false;
}

void remember(uint32_t hash) {
  seen[seenNext] = hash;
  seenNext = (seenNext + 1) % UIDS;
}

Text refusal(const Trial &wanted) {
  float most = max(wanted.automaticMicrolitre, wanted.limitMicrolitre);
  most = max(most, max(wanted.microlitre[LEFT], wanted.microlitre[RIGHT]));
  if (emergency()) return F("the emergency input is active");
  if (step != IDLE) return F("another trial is running");
  if (most > MOST_TRIAL_MICROLITRE) return F("more than MOST_TRIAL_MICROLITRE");
  if (most > valves.left()) return F("MOST_SESSION_MICROLITRE is spent");
  if (wanted.counting && wanted.validMs < DELAY_MS + wanted.windowMs) {
    return F("valid_s is too short for the window");
  }
  uint32_t longest = max(wanted.aversiveMs[LEFT], wanted.aversiveMs[RIGHT]);
  longest = max(longest, wanted.automaticAversiveMs);
  if (longest > MOST_AVERSIVE_MS) return F("longer than MOST_AVERSIVE_MS");
  for (uint8_t side = LEFT; side <= RIGHT; side++) {
    if (openMsFor((Side)side, most) > MOST_OPEN_MS) return F("longer than MOST_OPEN_MS");
  }
  return nullptr;
}

void readTrial(Trial &t) {
  const char *json = in.text;
  t.microlitre[LEFT] = numberOf(json, F("left_microlitre"), 0);
  t.microlitre[RIGHT] = numberOf(json, F("right_microlitre"), 0);
  t.automaticMicrolitre = numberOf(json, F("automatic_microlitre"), 0);
  t.limitMicrolitre = numberOf(json, F("limit_microlitre"), 0);
  const uint32_t most = MOST_AVERSIVE_MS + 1; // which is refused
  t.aversiveMs[LEFT] = msOf(numberOf(json, F("left_aversive_s"), 0), most);
  t.aversiveMs[RIGHT] = msOf(numberOf(json, F("right_aversive_s"), 0), most);
  t.automaticAversiveMs =
      msOf(numberOf(json, F("automatic_aversive_s"), 0), most);
  t.validMs = msOf(numberOf(json, F("valid_s"), 60), MOST_TRIAL_MS);
  t.counting = valueOf(json, F("extra"), F("window_s")) != nullptr;
  float window = numberOf(json, F("response_s"), 10);
  if (t.counting) window = numberAt(valueOf(json, F("extra"), F("window_s")), window);
  t.windowMs = msOf(window, MOST_TRIAL_MS);
  float shown = numberAt(valueOf(json, F("stimulus"), STIMULUS_NAME), STIMULUS_LOW);
  float share = (shown - STIMULUS_LOW) / (STIMULUS_HIGH - STIMULUS_LOW);
  t.level = share <= 0 ? 0 : share >= 1 ? 255 : (uint8_t)(share * 255 + 0.5);
}

void onTrial(const char *uid) {
  uint32_t hash = hashOf(uid);
  if (knownUid(hash)) { // it came twice, and runs only once
    if (strcmp(uid, trial.uid) != 0) {
      fault(uid, F("this trial has run"));
    } else if (step != IDLE) {
      say(F("started"), uid);
    } else {
      tellHappened();
    }
    return;
  }
  Trial wanted;
  readTrial(wanted);
  Text why = refusal(wanted);
  if (why) {
    fault(uid, why);
    return;
  }
  strcpy(wanted.uid, uid);
  trial = wanted;
  remember(hash);
  memset(&result, 0, sizeof result);
  result.outcome = F("responded");
  result.side = NONE;
  told = dry = false;
  sensors.playing = scriptFor == hash;
  scriptFor = 0;
  begun = millis();
  go(DELAY);
  say(F("started"), uid);
}

void onPlay(const char *uid) {
  if (!sensors.learn(in.text)) {
    fault(uid, F("a script of so many pokes does not fit"));
    return;
  }
  scriptFor = hashOf(uid);
  say(F("ready"), uid);
}

void tellGiven() {
  out.begin(F("given"));
  out.text(F("uid"), freeUid);
  out.thousandths(F("microlitre"), freeNanolitres);
  out.end();
}

void onReward(const char *uid) {
  float wanted = numberOf(in.text, F("microlitre"), 0);
  if (strcmp(uid, freeUid) == 0) { // it came twice, and is given only once
    if (!freeOpen && freeMicrolitre == 0) tellGiven();
  } else if (dry || emergency()) {
    fault(uid, F("the board is in its safe state"));
  } else if (freeOpen || freeMicrolitre > 0) {
    fault(uid, F("another free reward is being given"));
  } else if (wanted > MOST_TRIAL_MICROLITRE) {
    fault(uid, F("more than MOST_TRIAL_MICROLITRE"));
  } else {
    char side[6];
    strcpy(freeUid, uid);
    freeSide = textOf(in.text, F("side"), side, sizeof side) && side[0] == 'r' ? RIGHT : LEFT;
    freeMicrolitre = wanted;
    freeNanolitres = 0;
    if (!(wanted > 0)) tellGiven();
  }
}

void runFreeReward() {
  if (freeOpen && !valves.isOpen()) {
    freeOpen = false;
    freeNanolitres = valves.lastNanolitres;
    tellGiven();
  }
  if (freeMicrolitre > 0 && !valves.isOpen() && step != PAY && step != PAYING) {
    freeOpen = valves.open(freeSide, freeMicrolitre);
    freeMicrolitre = 0;
    if (!freeOpen) tellGiven(); // a limit is spent: nothing
  }
}

void onAlive(const char *uid) {
  if (emergency()) {
    fault("", F("the emergency input is active"));
  } else if (told && step == IDLE && strcmp(uid, trial.uid) == 0) {
    tellHappened();
  } else {
    say(F("alive"), step == IDLE ? "" : trial.uid);
  }
}

void onMessage() {
  char what[10], uid[UID_BYTES];
  heard = millis();
  bitten = false;
  if (!textOf(in.text, F("what"), what, sizeof what)) return;
  bool named = textOf(in.text, F("uid"), uid, sizeof uid) && uid[0];
  if (strcmp_P(what, PSTR("safe")) == 0) {
    makeSafe();
    if (named && !knownUid(hashOf(uid))) remember(hashOf(uid)); // it may come late
    out.begin(F("safe"));
    out.end();
  } else if (strcmp_P(what, PSTR("hello")) == 0) {
    onHello();
  } else if (strcmp_P(what, PSTR("alive")) == 0) {
    onAlive(uid);
  } else if (!named) {
    fault("", F("a message without a uid, or with one that is too long"));
  } else if (!session[0]) { // the board has started anew: it has forgotten all
    fault(uid, F("say hello first"));
  } else if (strcmp_P(what, PSTR("trial")) == 0) {
    onTrial(uid);
  } else if (strcmp_P(what, PSTR("play")) == 0) {
    onPlay(uid);
  } else if (strcmp_P(what, PSTR("reward")) == 0) {
    onReward(uid);
  } else {
    fault(uid, F("a message of a kind that is not known"));
  }
}

// ---- all the time ----------------------------------------------------------------------

void watch() {
  if (!stopped && emergency()) {
    stopped = true;
    valves.close();
    fault(step != IDLE ? trial.uid : "", F("the emergency input is active"));
    makeSafe();
  }
  if (!bitten && millis() - heard > WATCHDOG_MS) {
    bitten = true;
    makeSafe();
    out.begin(F("safe"));
    out.text(F("reason"), F("watchdog"));
    out.end();
  }
}

void setup() {
  valves.begin();
  pinMode(STIMULUS_PIN, OUTPUT);
  pinMode(STIMULUS_PWM_PIN, OUTPUT);
  pinMode(AVERSIVE_PIN, OUTPUT);
  pinMode(EMERGENCY_PIN, INPUT_PULLUP);
  sensors.begin();
  Serial.begin(BAUD);
  say(F("alive"), ""); // the board has started
}

void loop() {
  valves.tend();
  watch();
  sense(); // also between trials, so that who stays in a port makes no new poke
  if (step != IDLE) runTrial();
  runFreeReward();
  switch (valves.closesSoon() ? Reader::NOTHING : in.read()) {
    case Reader::WHOLE:
      onMessage();
      break;
    case Reader::DAMAGED:
      out.begin(F("again"));
      out.end();
      break;
    default:
      break;
  }
  out.pump();
}
