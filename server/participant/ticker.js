// Ticks for a tab that is hidden: there browsers let the page's own timers wait a minute.

let ticking = 0;

onmessage = ({ data: pauseMs }) => {
  clearInterval(ticking);
  ticking = setInterval(() => postMessage(null), pauseMs);
};
