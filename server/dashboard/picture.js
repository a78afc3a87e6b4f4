// A canvas as wide as its place, drawn at the screen's own resolution, once a frame.

export class Picture {
  shown = null;
  #asked = 0;

  /** `tall` is height over width; `name` is what a screen reader says. */
  constructor(tall, name, className = "") {
    this.tall = tall;
    this.canvas = document.createElement("canvas");
    this.canvas.className = `picture ${className}`.trim();
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", name);
    new ResizeObserver(() => this.again()).observe(this.canvas);
  }

  /** Draw a labelling, as the server's page has it. */
  show(labelling) {
    if (labelling === this.shown) return;
    this.shown = labelling;
    this.again();
  }

  /** Draw in the next frame. */
  again() {
    if (this.#asked) return;
    this.#asked = requestAnimationFrame(() => {
      this.#asked = 0;
      this.#draw();
    });
  }

  #draw() {
    const across = this.canvas.clientWidth;
    if (!across || !this.shown) return;
    const ratio = devicePixelRatio;
    const [wide, high] = [Math.round(across * ratio), Math.round(across * this.tall * ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
      this.canvas.style.aspectRatio = `1 / ${this.tall}`;
    }
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, wide, high);
    this.paint(pen, wide, high, ratio);
  }
}
