// Tells the server which payments a page shows while somebody can see it, so that the front desk knows.

const SETTLED_MS = 1000; // shorter looks don't count
let timer;
let reported = "";

function report() {
  const source = document.querySelector("live-source");
  if (!source?.connected || document.hidden || !source.getAttribute("feed")?.startsWith("patient.")) return;
  const shown = [...document.querySelectorAll(".payment-status[id^=payment-]")].slice(0, 100);
  const payments = [...new Set(shown.map((display) => display.id.slice("payment-".length)))];
  const message = JSON.stringify({ seen: source.cursor, payments });
  if (message === reported || !payments.length) return;
  source.send(message);
  reported = message;
}

for (const name of ["live:state", "payment:updated", "visibilitychange"]) {
  document.addEventListener(name, () => {
    clearTimeout(timer);
    timer = setTimeout(report, SETTLED_MS);
  });
}
