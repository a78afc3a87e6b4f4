// How large a centimetre is on this screen, by a bank card held to it.

import { element } from "./dom.js";
import { CARD_CM, UNMEASURED_PX_PER_CM } from "./geometry.js";

const RANGE = [0.5, 2.2]; // of what browsers mean by a centimetre

const WORDS = `So that pictures have the right size: hold a bank card (or any card of that size) to the screen and make this frame just as wide as the card, with the slider or the arrow keys.

Then sit so that your eyes are about 57 cm from the screen, which is an arm's length.`;

/** Pixels in a centimetre, or null if it was skipped. */
export async function measured(screens) {
  const frame = element("div", { class: "card", "aria-hidden": "true" });
  const slider = element("input", {
    type: "range",
    min: RANGE[0],
    max: RANGE[1],
    step: "0.005",
    value: "1",
    "aria-label": "Width of the frame",
  });
  const pxPerCm = () => Number(slider.value) * UNMEASURED_PX_PER_CM;
  const resize = () => {
    frame.style.width = `${CARD_CM.width * pxPerCm()}px`;
    frame.style.height = `${CARD_CM.height * pxPerCm()}px`;
  };
  slider.addEventListener("input", resize);
  resize();
  const buttons = [
    { id: "go-on", label: "As wide as my card", key: "Enter", hint: "Enter" },
    { id: "skip", label: "Skip", key: "s", hint: "S", quiet: true },
  ];
  const chosen = screens.ask("card", "Size of your screen", WORDS, buttons, frame, slider);
  slider.focus({ preventScroll: true });
  return (await chosen) === "go-on" ? Math.round(1000 * pxPerCm()) / 1000 : null;
}
