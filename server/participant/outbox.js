// What must not get lost, in the browser's own database: answers until the server has
// them, and how far this participant has come.

const ANSWERS = "answers"; // to be sent, oldest first
const REFUSED = "refused"; // set aside: the same again would be refused again
const KEPT = "kept"; // what this page remembers, by name

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const open = (name) => {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    for (const store of [ANSWERS, REFUSED]) {
      request.result.createObjectStore(store, { keyPath: "id", autoIncrement: true });
    }
    request.result.createObjectStore(KEPT);
  };
  return settled(request);
};

/** On this computer's disk, and there again after a reload or a crash. */
class Durable {
  durable = true;
  #db;

  constructor(db) {
    this.#db = db;
  }

  put(kind, message) {
    return this.#change(ANSWERS, (store) => store.add({ kind, message })).then((id) => ({
      id,
      kind,
      message,
    }));
  }

  pending() {
    return this.#read(ANSWERS, (store) => store.getAll());
  }

  done(entry) {
    return this.#change(ANSWERS, (store) => store.delete(entry.id));
  }

  async refused(entry, refusal) {
    const { kind, message } = entry;
    await this.#change(REFUSED, (store) => store.add({ kind, message, refusal }));
    await this.done(entry);
  }

  keep(name, value) {
    return this.#change(KEPT, (store) => store.put(value, name));
  }

  kept(name) {
    return this.#read(KEPT, (store) => store.get(name));
  }

  // Resolves once it is on disk, not when it is merely in a queue.
  #change(name, change) {
    const write = this.#db.transaction(name, "readwrite", { durability: "strict" });
    const request = change(write.objectStore(name));
    return new Promise((resolve, reject) => {
      write.oncomplete = () => resolve(request.result);
      write.onabort = () => reject(write.error);
    });
  }

  #read(name, read) {
    return settled(read(this.#db.transaction(name, "readonly").objectStore(name)));
  }
}

/** For browsers that store nothing: gone with the page, which the server is told. */
class Memory {
  durable = false;
  #answers = new Map();
  #kept = new Map();
  #next = 1;

  async put(kind, message) {
    const entry = { id: this.#next++, kind, message };
    this.#answers.set(entry.id, entry);
    return entry;
  }

  async pending() {
    return [...this.#answers.values()];
  }

  async done(entry) {
    this.#answers.delete(entry.id);
  }

  async refused(entry) {
    this.#answers.delete(entry.id);
  }

  async keep(name, value) {
    this.#kept.set(name, value);
  }

  async kept(name) {
    return this.#kept.get(name);
  }
}

/** The box of one participant of one study. */
export async function openBox(study, subject) {
  try {
    return new Durable(await open(`penchant ${study} ${subject}`));
  } catch {
    return new Memory();
  }
}
