// One tab at a time: two would show the same trial twice.

const ASK_MS = 300;

/** Whether this tab is the only one; it stays so until it is closed. */
export function alone(name) {
  return navigator.locks ? locked(name) : unheard(name);
}

const locked = (name) =>
  new Promise((resolve) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && new Promise(() => {}); // held until the tab is gone
    });
  });

// Browsers have locks only where the page came over TLS or from this computer.
const unheard = (name) =>
  new Promise((resolve) => {
    const channel = new BroadcastChannel(name);
    let first = false;
    channel.onmessage = ({ data }) => {
      if (data === "here") resolve(false);
      else if (first) channel.postMessage("here");
    };
    channel.postMessage("anybody?");
    setTimeout(() => {
      first = true;
      resolve(true);
    }, ASK_MS);
  });
