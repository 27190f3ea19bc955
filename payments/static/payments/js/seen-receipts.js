// Reports to the server which payments a visible page shows, so that the front desk knows what the patient saw.

const SETTLED_MS = 1000; // shorter looks don't count
let timer;
let reported = ""; // the last message that was sent

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

function reportLater() {
  timer ??= setTimeout(() => {
    timer = undefined;
    report();
  }, SETTLED_MS);
}

document.addEventListener("payment:updated", reportLater);
document.addEventListener("live:state", () => {
  reported = ""; // the last report may have been lost with its socket
  reportLater();
});
document.addEventListener("visibilitychange", () => {
  timer = clearTimeout(timer);
  reportLater();
});
