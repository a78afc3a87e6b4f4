// Numbers, times and kinds in words.

const pad = (number) => String(number).padStart(2, "0");

/** Time of day of seconds since 1970, where the reader is. */
export function clock(utcS) {
  const at = new Date(1000 * utcS);
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

/** Time of day; with its date where that is another day than `nowS`. */
export function moment(utcS, nowS) {
  const at = new Date(1000 * utcS);
  const today = new Date(1000 * nowS).toDateString() === at.toDateString();
  if (today) return clock(utcS);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock(utcS).slice(0, 5)}`;
}

/** How long ago, in one unit. */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return "never";
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Hours as somebody would say them. */
export function hours(number) {
  if (number < 1) return `${Math.max(1, Math.round(60 * number))} min`;
  if (number < 10) return `${number.toFixed(1)} h`;
  return number < 72 ? `${Math.round(number)} h` : `${Math.round(number / 24)} days`;
}

/** A number to so many decimals; unknown as an en dash. */
export const decimal = (number, digits = 2) =>
  number === null || number === undefined ? "–" : number.toFixed(digits);

/** A label or an answer, with its sign. */
export const signed = (number) =>
  number === null || number === undefined
    ? "–"
    : `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(2)}`;

/** What stands where there is nothing to show: not heard yet, or not there yet. */
export const without = (known, words) => (known === undefined ? "Loading ..." : words);

/** What stands where the server is at it: it says when it is there. */
export const COMPUTING = "Computing ...";

export const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** A name of the server's as words. */
export const spoken = (name) => String(name).replaceAll("_", " ");

/** mouse-2 before mouse-10. */
export const natural = new Intl.Collator(undefined, { numeric: true }).compare;
