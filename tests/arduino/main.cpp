// Runs the sketch: SERIAL_FD is the board's end of a pseudo-terminal, argument 1 the
// file that pins are logged to, 2 a pipe of input changes, 3 the speed of the clock.
#include "Arduino.h"

#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <string>

SerialPort Serial;
void setup();
void loop();

static int port, inputs, pin_log;
static double speed = 1;
static uint8_t levels[32], shown[32];
static std::string waiting, half;

// The board's clock follows the computer's, in steps of 0.1 ms at most: a busy computer
// makes it late, but it never jumps over anything.
static uint64_t now_us = 0;
static bool late = false;
static uint64_t clock_us() {
  static timespec first = {0, 0};
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  if (!first.tv_sec) first = t;
  double s = double(t.tv_sec - first.tv_sec) + (t.tv_nsec - first.tv_nsec) * 1e-9;
  uint64_t real_us = uint64_t(s * speed * 1e6);
  late = real_us > now_us + 100;
  if (real_us > now_us) now_us += std::min<uint64_t>(real_us - now_us, 100);
  return now_us;
}

uint32_t micros() { return uint32_t(clock_us()); }
uint32_t millis() { return uint32_t(clock_us() / 1000); }

// Board's time, computer's time, pin, level.
static void note(uint8_t pin, int level) {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  char line[80];
  int length = snprintf(line, sizeof line, "%llu %lld.%09ld %d %d\n",
                        (unsigned long long)now_us, (long long)t.tv_sec, t.tv_nsec,
                        pin, level);
  if (write(pin_log, line, size_t(length)) != length) _exit(3);
}

void pinMode(uint8_t pin, uint8_t mode) {
  if (mode == INPUT_PULLUP) levels[pin] = HIGH;
}
void digitalWrite(uint8_t pin, uint8_t level) {
  if (shown[pin] != level) note(pin, shown[pin] = level);
}
void analogWrite(uint8_t pin, int level) { digitalWrite(pin, uint8_t(level)); }
int digitalRead(uint8_t pin) { return levels[pin]; }

int SerialPort::available() {
  char bytes[256];
  if (waiting.empty()) {
    ssize_t got = ::read(port, bytes, sizeof bytes);
    if (got > 0) waiting.append(bytes, size_t(got));
  }
  return int(waiting.size());
}
int SerialPort::read() {
  if (waiting.empty()) return -1;
  char byte = waiting[0];
  waiting.erase(0, 1);
  return uint8_t(byte);
}
int SerialPort::availableForWrite() {
  pollfd ready = {port, POLLOUT, 0};
  return poll(&ready, 1, 0) > 0 && (ready.revents & POLLOUT) ? 64 : 0;
}
size_t SerialPort::write(uint8_t byte) { return ::write(port, &byte, 1) == 1; }

// "pin level" on a line sets an input.
static void take_inputs() {
  char bytes[256];
  ssize_t got = read(inputs, bytes, sizeof bytes);
  if (got > 0) half.append(bytes, size_t(got));
  for (size_t end; (end = half.find('\n')) != std::string::npos; half.erase(0, end + 1)) {
    int pin, level;
    if (sscanf(half.c_str(), "%d %d", &pin, &level) == 2) levels[pin & 31] = uint8_t(level);
  }
}

int main(int, char **arguments) {
  port = atoi(getenv("SERIAL_FD"));
  fcntl(port, F_SETFL, O_NONBLOCK);
  pin_log = open(arguments[1], O_WRONLY | O_CREAT | O_APPEND, 0600);
  inputs = open(arguments[2], O_RDONLY | O_NONBLOCK);
  speed = atof(arguments[3]);
  setup();
  for (;;) {
    take_inputs();
    loop();
    if (!late) usleep(100);
  }
}
