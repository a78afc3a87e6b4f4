// Keys by way of jsPsych, and what they are called.

const NAMES = { left: "ArrowLeft", right: "ArrowRight", space: " " };

/** A key of a study file, as browsers name it. */
export const browserKey = (key) => NAMES[key] ?? key;

/** Hears keys of the page until told to stop. */
export class Keyboard {
  #api;
  #at = 0; // when the last key arrived, however busy the page was then

  constructor(pluginAPI) {
    this.#api = pluginAPI;
    addEventListener("keydown", ({ timeStamp }) => (this.#at = timeStamp), true);
  }

  /**
   * `heard` gets each of `keys` as it is pressed, and when by performance.now(); with
   * `held` also while it is down.
   */
  listen(keys, heard, held = false) {
    const listener = this.#api.getKeyboardResponse({
      callback_function: ({ key }) =>
        heard(key.length > 1 ? key : key.toLowerCase(), this.#at),
      valid_responses: keys,
      persist: true,
      allow_held_key: held,
    });
    return () => this.#api.cancelKeyboardResponse(listener);
  }
}
