// Parts of a page that fetch themselves again when payments change. Such an element gets the event "payments:changed"
// at most once every `data-refresh-ms` milliseconds, and always once after the last change; htmx does the rest:
//   <nav id="tabs" data-refresh-ms="1000" hx-get="…" hx-swap="outerHTML" hx-trigger="payments:changed">
// After a sign-out it fetches nothing, also where its trigger has an `every`.
// With `data-refresh-payment` only changes of the payment with that public id count; with `data-refresh-on="news"` only
// changes whose detail has a true `news`.
//
// htmx's own modifiers don't do this: `delay:` starts again with each event, so that a busy clinic's page would never
// refresh, and `throttle:` drops the last event, so that the page would stay wrong.

const waiting = new Set(); // ids of elements

function refreshLater(element) {
  const { id } = element;
  if (waiting.has(id)) return;
  waiting.add(id);
  setTimeout(() => {
    waiting.delete(id);
    refresh(document.getElementById(id)); // the element itself may have been swapped out meanwhile
  }, Number(element.dataset.refreshMs));
}

function refresh(element) {
  // htmx forgets what it has queued for an element that it then swaps out, so that a running request has to end first.
  if (element?.classList.contains("htmx-request")) refreshLater(element);
  else element?.dispatchEvent(new CustomEvent("payments:changed"));
}

document.addEventListener("payment:updated", ({ detail }) => {
  for (const element of document.querySelectorAll("[data-refresh-ms]")) {
    const { refreshPayment = detail.id, refreshOn = "id" } = element.dataset;
    if (refreshPayment === detail.id && detail[refreshOn]) refreshLater(element);
  }
});

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.matches("[data-refresh-ms]") && document.documentElement.dataset.live === "signed-out") event.preventDefault();
});
