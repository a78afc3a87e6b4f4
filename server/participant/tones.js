// Sounds: tones whose phase differs between the ears, and recordings.

const TONE_S = 0.6;
const RAMP_S = 0.02;
const LOUDNESS = 0.3;

/** Samples of the left and right ear, with the same soft ends: only phase tells. */
export function stereo(frequencyHz, phaseDeg, rate) {
  const count = Math.round(TONE_S * rate);
  const lead = (phaseDeg * Math.PI) / 180;
  const ears = [new Float32Array(count), new Float32Array(count)];
  for (let n = 0; n < count; n++) {
    const t = n / rate;
    const edge = Math.min(t, TONE_S - t) / RAMP_S;
    const loud = LOUDNESS * (edge < 1 ? Math.sin((Math.PI / 2) * edge) ** 2 : 1);
    const angle = 2 * Math.PI * frequencyHz * t;
    ears[0][n] = loud * Math.sin(angle);
    ears[1][n] = loud * Math.sin(angle + lead);
  }
  return ears;
}

/** The page's sound; made at a key or click, since browsers allow it only then. */
export class Sound {
  #context = null;
  #source = null;

  get context() {
    this.#context ??= new AudioContext();
    return this.#context;
  }

  tone(frequencyHz, phaseDeg) {
    const rate = this.context.sampleRate;
    const ears = stereo(frequencyHz, phaseDeg, rate);
    const buffer = this.context.createBuffer(2, ears[0].length, rate);
    ears.forEach((samples, ear) => buffer.copyToChannel(samples, ear));
    return buffer;
  }

  recording(bytes) {
    return this.context.decodeAudioData(bytes);
  }

  async ready() {
    if (this.context.state === "suspended") await this.context.resume();
  }

  play(buffer) {
    this.#source = this.context.createBufferSource();
    this.#source.buffer = buffer;
    this.#source.connect(this.context.destination);
    this.#source.start();
  }

  stop() {
    this.#source?.stop();
    this.#source = null;
  }

  /** From the page to the ear, as far as the browser knows. */
  get latencyMs() {
    return 1000 * (this.context.outputLatency || this.context.baseLatency || 0);
  }
}
