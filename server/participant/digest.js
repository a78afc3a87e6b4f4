// SHA-256 of a text. Browsers have their own only where the page came over TLS.

const FRACTION = 2 ** 32;

function firstPrimes(count) {
  const primes = [];
  for (let n = 2; primes.length < count; n++) {
    if (primes.every((prime) => n % prime)) primes.push(n);
  }
  return primes;
}

const PRIMES = firstPrimes(64);
const fraction = (x) => Math.floor((x - Math.floor(x)) * FRACTION);
const ROUNDS = PRIMES.map((prime) => fraction(Math.cbrt(prime)));
const START = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));

const turn = (x, by) => (x >>> by) | (x << (32 - by));

/** The text's bytes, a one, zeros, and how many bits there were. */
function padded(text) {
  const bytes = new TextEncoder().encode(text);
  const view = new DataView(new ArrayBuffer(((bytes.length + 72) >> 6) << 6));
  new Uint8Array(view.buffer).set(bytes);
  view.setUint8(bytes.length, 0x80);
  view.setUint32(view.byteLength - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(view.byteLength - 4, (bytes.length << 3) >>> 0);
  return view;
}

function schedule(view, at) {
  const words = [];
  for (let i = 0; i < 64; i++) {
    if (i < 16) {
      words.push(view.getUint32(at + 4 * i));
      continue;
    }
    const [a, b] = [words[i - 15], words[i - 2]];
    const small = turn(a, 7) ^ turn(a, 18) ^ (a >>> 3);
    const large = turn(b, 17) ^ turn(b, 19) ^ (b >>> 10);
    words.push((words[i - 16] + small + words[i - 7] + large) | 0);
  }
  return words;
}

function compressed(state, words) {
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    const large = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
    const chosen = (e & f) ^ (~e & g);
    const first = (h + large + chosen + ROUNDS[i] + words[i]) | 0;
    const small = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
    const most = (a & b) ^ (a & c) ^ (b & c);
    [h, g, f, e] = [g, f, e, (d + first) | 0];
    [d, c, b, a] = [c, b, a, (first + small + most) | 0];
  }
  return [a, b, c, d, e, f, g, h].map((x, i) => (x + state[i]) | 0);
}

/** As 64 hexadecimal digits. */
export function sha256(text) {
  const view = padded(text);
  let state = START;
  for (let at = 0; at < view.byteLength; at += 64) {
    state = compressed(state, schedule(view, at));
  }
  return state.map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
}
