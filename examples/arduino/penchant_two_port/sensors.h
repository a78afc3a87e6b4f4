// Two sensors, free of bounces; in a self-check a script takes their place.
#pragma once
#include "message.h"
#include "valve.h"

const uint8_t SCRIPT_POKES = 8;  // the most that a script can have
const int32_t SCRIPT_POKE_MS = 60; // how long each of them lasts

class Sensors {
 public:
  uint8_t scripted = 0; // pokes of the script
  bool playing = false; // the script is what the sensors see, in this trial

  void begin() {
    pinMode(LEFT_SENSOR_PIN, INPUT_PULLUP);
    pinMode(RIGHT_SENSOR_PIN, INPUT_PULLUP);
  }

  // Reads a script: "pokes":[[0.2,"left"],[0.4,"right"]]. False if it is too long.
  bool learn(const char *json) {
    scripted = 0;
    const char *at = valueOf(json, nullptr, F("pokes"));
    while (at && (*at == '[' || *at == ',')) {
      while (*at == '[' || *at == ',') at++;
      char *end;
      float seconds = strtod(at, &end);
      const char *side = strchr(end, '"');
      const char *after = side ? behindString(side) : nullptr;
      if (end == at || !after || *after != ']') break;
      if (scripted == SCRIPT_POKES) return false;
      from_ms_[scripted] = (int32_t)(seconds * 1000);
      sides_[scripted++] = isString(side, F("left")) ? LEFT : RIGHT;
      at = after + 1;
    }
    return true;
  }

  // Sees what is there; `sinceStimulus` is negative before it. A new poke is told
  // once, with the time of its first contact in `at`.
  Side poke(uint32_t now, int32_t sinceStimulus, uint32_t &at) {
    for (uint8_t side = LEFT; side <= RIGHT; side++) {
      bool there = level((Side)side, sinceStimulus);
      if (there == stable_[side]) {
        changed_ms_[side] = now;
        bouncing_[side] = false;
        continue;
      }
      if (!bouncing_[side]) {
        bouncing_[side] = true;
        changed_ms_[side] = now;
      }
      if (now - changed_ms_[side] < DEBOUNCE_MS) continue;
      stable_[side] = there;
      bouncing_[side] = false;
      if (there) {
        at = changed_ms_[side];
        return (Side)side;
      }
    }
    return NONE;
  }

 private:
  bool level(Side side, int32_t sinceStimulus) const {
    if (!playing) {
      uint8_t pin = side == LEFT ? LEFT_SENSOR_PIN : RIGHT_SENSOR_PIN;
      return digitalRead(pin) == SENSOR_ACTIVE;
    }
    for (uint8_t i = 0; i < scripted; i++) {
      int32_t since = sinceStimulus - from_ms_[i];
      if (sides_[i] == side && since >= 0 && since < SCRIPT_POKE_MS) return true;
    }
    return false;
  }

  int32_t from_ms_[SCRIPT_POKES];
  Side sides_[SCRIPT_POKES];
  bool stable_[2] = {false, false}, bouncing_[2] = {false, false};
  uint32_t changed_ms_[2] = {0, 0};
};
