// The screen's frames: waiting for them, counting those that came too late.

const MEASURED = 24; // frames from which the rate is told
const FALLBACK_MS = 250; // a hidden tab has no frames

/** The time of the next frame; of a hidden tab the time now, after a while. */
export const frame = () =>
  new Promise((resolve) => {
    let timer = 0;
    const request = requestAnimationFrame((at) => {
      clearTimeout(timer);
      resolve(at);
    });
    timer = setTimeout(() => {
      cancelAnimationFrame(request);
      resolve(performance.now());
    }, FALLBACK_MS);
  });

/** How long a frame is, by the median of some. */
export async function frameMs() {
  const lengths = [];
  let last = await frame();
  for (let n = 0; n < MEASURED; n++) {
    const now = await frame();
    lengths.push(now - last);
    last = now;
  }
  return lengths.sort((a, b) => a - b)[MEASURED >> 1];
}

/** Of one stimulus: frames that were missed, and how long the tab was hidden. */
export class Watch {
  dropped = 0;
  #hiddenMs = 0;
  #hiddenAt = document.hidden ? performance.now() : null;
  #last = null;
  #seen = () => this.#visibility();

  constructor(nominalMs) {
    this.nominalMs = nominalMs;
    document.addEventListener("visibilitychange", this.#seen);
  }

  /** A frame is there. */
  tick(at) {
    const late = this.#last === null ? 0 : (at - this.#last) / this.nominalMs;
    if (late > 1.5 && !document.hidden) this.dropped += Math.round(late) - 1;
    this.#last = at;
  }

  get hiddenMs() {
    const now = this.#hiddenAt === null ? 0 : performance.now() - this.#hiddenAt;
    return this.#hiddenMs + now;
  }

  end() {
    document.removeEventListener("visibilitychange", this.#seen);
  }

  #visibility() {
    const now = performance.now();
    if (document.hidden) this.#hiddenAt ??= now;
    else if (this.#hiddenAt !== null) {
      this.#hiddenMs += now - this.#hiddenAt;
      this.#hiddenAt = this.#last = null; // the frame after it is not late
    }
  }
}
