// Files of stimuli, fetched before the first trial, since later there is no time.

const TOGETHER = 4; // requests at a time
const MOST_KEPT = 500; // files fetched in advance; more come when they are due

/** The file that a stimulus needs; images without one are numbered. */
export const fileOf = (stimulus) =>
  stimulus.file ?? (stimulus.image == null ? null : `${stimulus.image}.png`);

const loaded = async (url) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
};

export class Files {
  #line;
  #kept = new Map();

  constructor(line) {
    this.#line = line;
  }

  /** Fetch what the study lists; `told` hears how many of how many are there. */
  async preload(told) {
    const { files } = await (await this.#line.page("stimuli")).json();
    const due = files.slice(0, MOST_KEPT);
    let done = 0;
    const one = async () => {
      for (let name = due.shift(); name !== undefined; name = due.shift()) {
        await this.bytes(name);
        told(++done, Math.min(files.length, MOST_KEPT));
      }
    };
    await Promise.all(Array.from({ length: TOGETHER }, one));
  }

  /** The content of a file, as a Blob. */
  async bytes(name) {
    if (!this.#kept.has(name)) {
      const path = name.split("/").map(encodeURIComponent).join("/");
      this.#kept.set(name, await (await this.#line.page(`stimuli/${path}`)).blob());
    }
    return this.#kept.get(name);
  }

  async image(name) {
    const url = URL.createObjectURL(await this.bytes(name));
    try {
      return await loaded(url);
    } finally {
      URL.revokeObjectURL(url);
    }
  }
}
