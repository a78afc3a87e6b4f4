// The only code that opens a valve, and its limits.
#pragma once
#include "settings.h"

enum Side : uint8_t { LEFT = 0, RIGHT = 1, NONE = 2 };

inline uint8_t valvePin(Side side) {
  return side == LEFT ? LEFT_VALVE_PIN : RIGHT_VALVE_PIN;
}
inline float msPerMicrolitre(Side side) {
  return side == LEFT ? LEFT_MS_PER_MICROLITRE : RIGHT_MS_PER_MICROLITRE;
}
inline float deadMs(Side side) { return side == LEFT ? LEFT_DEAD_MS : RIGHT_DEAD_MS; }

// What an opening of whole milliseconds gives, in nanolitres.
inline uint32_t nanolitres(Side side, uint32_t openMs) {
  float flowing = openMs - deadMs(side);
  return flowing > 0 ? (uint32_t)(flowing * 1000 / msPerMicrolitre(side) + 0.01) : 0;
}

// Whole milliseconds for a volume, never more than it; 0 if it is less than one.
inline uint32_t openMsFor(Side side, float microlitre) {
  if (!(microlitre > 0)) return 0;
  uint32_t ms = deadMs(side) + microlitre * msPerMicrolitre(side) + 0.01;
  uint32_t most = microlitre * 1000 + 0.001;
  while (ms > 0 && nanolitres(side, ms) > most) ms--;
  return nanolitres(side, ms) > 0 ? ms : 0;
}

// At most one valve is open at a time.
class Valves {
 public:
  uint32_t sessionNanolitres = 0; // given since the board was started
  uint32_t lastNanolitres = 0;    // of the last opening, whether or not it was cut short
  bool limited = false;           // the last opening was less than what was asked

  void begin() {
    shut();
    pinMode(LEFT_VALVE_PIN, OUTPUT);
    pinMode(RIGHT_VALVE_PIN, OUTPUT);
    shut();
  }

  bool isOpen() const { return side_ != NONE; }

  // Whether it closes within 20 ms: then nothing may take long.
  bool closesSoon() const {
    return isOpen() && micros() - opened_us_ + 20000 >= target_us_;
  }

  // What may still be given, in microlitres.
  float left() const {
    return max(MOST_SESSION_MICROLITRE - (float)(sessionNanolitres / 1000.0), 0.0f);
  }

  // Opens, within the board's limits; false if nothing is given.
  bool open(Side side, float microlitre) {
    lastNanolitres = 0;
    limited = false;
    if (isOpen() || !(microlitre > 0)) return false;
    float volume = min(microlitre, min(MOST_TRIAL_MICROLITRE, left()));
    uint32_t ms = min(openMsFor(side, volume), (uint32_t)MOST_OPEN_MS);
    limited = volume < microlitre || ms == MOST_OPEN_MS;
    if (ms == 0) return false;
    side_ = side;
    target_us_ = ms * 1000;
    opened_us_ = micros();
    digitalWrite(valvePin(side), HIGH);
    return true;
  }

  // To be called all the time: closes at the right moment. The last milliseconds it
  // waits here, so that nothing else can make the opening longer.
  void tend() {
    if (!isOpen()) return;
    if (micros() - opened_us_ + 4000 < target_us_) return;
    while (micros() - opened_us_ < target_us_) {
    }
    close();
  }

  // At once, whatever is going on.
  void close() {
    shut();
    if (!isOpen()) return;
    uint32_t openMs = (micros() - opened_us_) / 1000; // its own count
    lastNanolitres = nanolitres(side_, openMs);
    sessionNanolitres += lastNanolitres;
    side_ = NONE;
  }

 private:
  void shut() {
    digitalWrite(LEFT_VALVE_PIN, LOW);
    digitalWrite(RIGHT_VALVE_PIN, LOW);
  }

  Side side_ = NONE;
  uint32_t opened_us_ = 0, target_us_ = 0;
};
