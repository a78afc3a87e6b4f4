// Your box: pins, calibration, limits. Change these, then upload the sketch.
#pragma once
#include <Arduino.h>

const char NAME[] = "two-port board";

// ---- pins ----------------------------------------------------------------------
const uint8_t LEFT_SENSOR_PIN = 2;    // a poke or lick on the left
const uint8_t RIGHT_SENSOR_PIN = 3;   // on the right; a single lick spout is this one
const uint8_t SENSOR_ACTIVE = LOW;    // level while the animal is there (pull-up is on)
const uint8_t LEFT_VALVE_PIN = 8;     // to the valve's driver, never the valve itself
const uint8_t RIGHT_VALVE_PIN = 9;    // add 10 kOhm to ground: shut while the board starts
const uint8_t STIMULUS_PIN = 12;      // HIGH as long as the stimulus lasts
const uint8_t STIMULUS_PWM_PIN = 5;   // its level says which stimulus, see below
const uint8_t AVERSIVE_PIN = 7;       // HIGH during a puff or time-out
const uint8_t EMERGENCY_PIN = 4;      // a button that stops all
const uint8_t EMERGENCY_ACTIVE = LOW; // LOW: a button to ground. HIGH: a button that is
                                      // closed at rest, so a broken wire stops all too

// ---- stimulus ------------------------------------------------------------------
const char STIMULUS_NAME[] = "orientation_deg"; // the number of the stimulus to show
const float STIMULUS_LOW = 0;         // this value is PWM level 0 ...
const float STIMULUS_HIGH = 180;      // ... and this one level 255

// ---- calibration: open_ms = DEAD_MS + MS_PER_MICROLITRE * microlitre --------------
const float LEFT_MS_PER_MICROLITRE = 8.0;  // ms per microlitre
const float LEFT_DEAD_MS = 0.0;            // ms of opening that give nothing yet
const float RIGHT_MS_PER_MICROLITRE = 8.0;
const float RIGHT_DEAD_MS = 0.0;

// ---- limits, whatever the computer asks for ----------------------------------------
const float MOST_TRIAL_MICROLITRE = 6;     // in a trial, and for a free reward
const float MOST_SESSION_MICROLITRE = 2000; // since the board was started
const uint16_t MOST_OPEN_MS = 100;         // a valve, at a time
const uint32_t MOST_TRIAL_MS = 600000;     // a trial
const uint32_t MOST_AVERSIVE_MS = 60000;   // a puff or time-out
const uint32_t WATCHDOG_MS = 1500;         // all off if the computer is silent for so long

// ---- times -------------------------------------------------------------------------
const uint32_t DELAY_MS = 200;        // from a trial's begin to its stimulus
const uint32_t DRINK_MS = 300;        // after a response; pokes count but bring nothing
const uint32_t DEBOUNCE_MS = 5;       // shorter changes of a sensor are noise

// ---- serial ------------------------------------------------------------------------
const uint32_t BAUD = 115200;
const uint16_t LINE_BYTES = 360;      // the longest message
