// As much of an Arduino as the sketch needs, on a computer: a pseudo-terminal for the
// serial port, a file for the pins. `make_board` in board.py compiles and runs it.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <algorithm>

using std::max;
using std::min;

const uint8_t LOW = 0, HIGH = 1, INPUT = 0, OUTPUT = 1, INPUT_PULLUP = 2;

// Texts in flash, which a computer does not have.
class __FlashStringHelper;
#define F(text) (reinterpret_cast<const __FlashStringHelper *>(text))
#define PSTR(text) (text)
#define pgm_read_byte(at) (*(at))
#define strlen_P strlen
#define strcmp_P strcmp
#define strncmp_P strncmp

uint32_t millis();
uint32_t micros();
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t level);
void analogWrite(uint8_t pin, int level);
int digitalRead(uint8_t pin);

class SerialPort {
 public:
  void begin(uint32_t) {}
  int available();
  int read();
  int availableForWrite();
  size_t write(uint8_t byte);
};
extern SerialPort Serial;
