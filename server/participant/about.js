// What the server is to keep of a participant's browser, and of how they came.

import { DISTANCE_CM } from "./geometry.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,59}$/; // with `url.` before it 64 at most
const MOST_PARAMETERS = 20;
const MOST_CHARACTERS = 1000;

/** Parameters of the page's address, before or behind its #. */
export function parameters({ search, hash }) {
  const all = [search.slice(1), hash.slice(1)].flatMap((said) => [
    ...new URLSearchParams(said),
  ]);
  const named = all.filter(([name, value]) => NAME.test(name) && value !== "");
  return Object.fromEntries(
    named.slice(0, MOST_PARAMETERS).map(([name, value]) => [name, value.slice(0, MOST_CHARACTERS)]),
  );
}

const prefixed = (given) =>
  Object.fromEntries(Object.entries(given).map(([name, value]) => [`url.${name}`, value]));

/** Capabilities of `hello`; `kept` is what this page remembers. */
export function capabilities(kept, { pxPerDeg, frameMs, durable }) {
  const said = {
    client: "browser",
    user_agent: navigator.userAgent.slice(0, MOST_CHARACTERS),
    language: navigator.language,
    screen_width_px: screen.width,
    screen_height_px: screen.height,
    window_width_px: innerWidth,
    window_height_px: innerHeight,
    device_pixel_ratio: devicePixelRatio,
    touch: navigator.maxTouchPoints > 0,
    frame_rate_hz: Math.round(10_000 / frameMs) / 10,
    px_per_deg: Math.round(1000 * pxPerDeg) / 1000,
    viewing_distance_cm: DISTANCE_CM,
    answers_survive_reload: durable,
    ...(kept.pxPerCm ? { px_per_cm: kept.pxPerCm } : {}),
    ...(kept.consent ?? {}),
    ...prefixed(kept.parameters ?? {}),
  };
  return said;
}
