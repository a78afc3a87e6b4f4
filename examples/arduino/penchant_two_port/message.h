// Messages: one line of JSON, a star, and a checksum. No library, no dynamic memory.
#pragma once
#include "settings.h"

// Fixed texts stay in flash: F("..."), of which this is the type.
typedef const __FlashStringHelper *Text;

// CRC-16/CCITT, beginning with FFFF.
inline uint16_t checksum(const char *text, uint16_t length) {
  uint16_t crc = 0xFFFF;
  for (uint16_t i = 0; i < length; i++) {
    crc ^= (uint16_t)(uint8_t)text[i] << 8;
    for (uint8_t bit = 0; bit < 8; bit++) {
      crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
    }
  }
  return crc;
}

// ---- reading -----------------------------------------------------------------------

// Behind a string that begins at its quote; null where it does not end.
inline const char *behindString(const char *at) {
  for (at++; *at && *at != '"'; at++) {
    if (*at == '\\' && at[1]) at++;
  }
  return *at ? at + 1 : nullptr;
}

inline bool isString(const char *at, const char *text) {
  size_t length = strlen(text);
  return strncmp(at + 1, text, length) == 0 && at[1 + length] == '"';
}
inline bool isString(const char *at, Text text) {
  const char *flash = (const char *)text;
  size_t length = strlen_P(flash);
  return strncmp_P(at + 1, flash, length) == 0 && at[1 + length] == '"';
}

// The value of a key: of the message itself, or of the object `parent` in it.
// Null where there is none.
template <class Key>
const char *valueOf(const char *json, Text parent, Key key) {
  int8_t depth = 0;
  bool inParent = false;
  for (const char *at = json; *at;) {
    if (*at == '"') {
      const char *next = behindString(at);
      if (!next) return nullptr;
      if (*next == ':') {
        if (depth == 1) inParent = parent && isString(at, parent);
        bool here = parent ? depth == 2 && inParent : depth == 1;
        if (here && isString(at, key)) return next + 1;
      }
      at = next;
      continue;
    }
    if (*at == '{' || *at == '[') depth++;
    if (*at == '}' || *at == ']') depth--;
    at++;
  }
  return nullptr;
}

// A number, or `otherwise` where it is missing. Never NaN.
inline float numberAt(const char *at, float otherwise) {
  if (!at) return otherwise;
  char *end;
  float value = strtod(at, &end);
  return end == at || value != value ? otherwise : value;
}
inline float numberOf(const char *json, Text key, float otherwise) {
  return numberAt(valueOf(json, nullptr, key), otherwise);
}

// A text into `into`; false where it is missing or too long.
inline bool textOf(const char *json, Text key, char *into, uint8_t size) {
  const char *at = valueOf(json, nullptr, key);
  into[0] = 0;
  if (!at || *at != '"') return false;
  uint8_t length = 0;
  for (at++; *at && *at != '"'; at++) {
    if (length + 1 >= size) {
      into[0] = 0;
      return false;
    }
    into[length++] = *at;
  }
  into[length] = 0;
  return true;
}

// Bytes that come in become lines.
class Reader {
 public:
  enum Found { NOTHING, WHOLE, DAMAGED };

  // Takes what has come, up to the end of one line.
  Found read() {
    for (uint8_t turn = 0; turn < 64 && Serial.available() > 0; turn++) {
      char c = Serial.read();
      if (c != '\n') {
        if (length_ < LINE_BYTES) text[length_] = c;
        if (length_ <= LINE_BYTES) length_++; // one more than fits: too long
        continue;
      }
      uint16_t length = length_;
      length_ = 0;
      return whole(length) ? WHOLE : DAMAGED;
    }
    return NOTHING;
  }

  char text[LINE_BYTES + 1]; // of a WHOLE line: its JSON

 private:
  bool whole(uint16_t length) {
    if (length < 5 || length > LINE_BYTES || text[length - 5] != '*') return false;
    text[length] = 0;
    uint16_t said = strtoul(text + length - 4, nullptr, 16);
    text[length - 5] = 0;
    return said == checksum(text, length - 5);
  }

  uint16_t length_ = 0;
};

// ---- writing -----------------------------------------------------------------------

// Lines that go out, as fast as the computer takes them: the board never waits.
// A line for which there is no room is left out; the computer asks again.
class Writer {
 public:
  void begin(Text what) {
    if (sent_ == end_) sent_ = end_ = 0;
    start_ = end_;
    fits_ = true;
    add(F("{\"what\":\""));
    add(what);
    add('"');
  }
  template <class Value>
  void text(Text key, Value value) {
    name(key);
    add('"');
    add(value);
    add('"');
  }
  void whole(Text key, uint32_t value) {
    name(key);
    digits(value);
  }
  // 1234 thousandths are 1.234: ms as seconds, nanolitre as microlitre.
  void thousandths(Text key, uint32_t value) {
    name(key);
    digits(value / 1000);
    add('.');
    for (uint16_t place = 100; place; place /= 10) add((char)('0' + value / place % 10));
  }
  void open(Text key) {
    name(key);
    add('{');
    first_ = true;
  }
  void close() {
    add('}');
    first_ = false;
  }
  void end() {
    add('}');
    uint16_t crc = checksum(buffer_ + start_, end_ - start_);
    add('*');
    for (int8_t shift = 12; shift >= 0; shift -= 4) add(hex(crc >> shift & 15));
    add('\n');
    if (!fits_) end_ = start_;
  }
  // Hands on what the port can take now.
  void pump() {
    int room = Serial.availableForWrite();
    while (room-- > 0 && sent_ < end_) Serial.write((uint8_t)buffer_[sent_++]);
  }

 private:
  static const uint16_t SIZE = 384; // the longest line has less than 330

  static char hex(uint8_t value) { return value < 10 ? '0' + value : 'A' + value - 10; }
  void name(Text key) {
    if (!first_) add(',');
    first_ = false;
    add('"');
    add(key);
    add(F("\":"));
  }
  void digits(uint32_t value) {
    char text[11];
    uint8_t at = 10;
    text[at] = 0;
    do text[--at] = '0' + value % 10;
    while (value /= 10);
    add(text + at);
  }
  void add(char c) {
    if (end_ < SIZE) {
      buffer_[end_++] = c;
    } else {
      fits_ = false;
    }
  }
  void add(const char *text) {
    for (; *text; text++) add(*text);
  }
  void add(Text text) {
    const char *at = (const char *)text;
    for (char c; (c = pgm_read_byte(at)); at++) add(c);
  }

  char buffer_[SIZE];
  uint16_t start_ = 0, end_ = 0, sent_ = 0;
  bool fits_ = true, first_ = false;
};
