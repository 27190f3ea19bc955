// Shows on a pressed button that its form is on its way, and sends no form twice. In a form that came back with errors
// the first error gets the focus.

const PATIENCE_MS = 10000; // a page whose loading somebody stopped gets no event, and its form has to work again
const ERRORS = '[aria-invalid="true"]:not([type="hidden"]), form .notice[data-tone="error"]';
const onTheirWay = new Map(); // forms, with the button that sent each

function release(form) {
  onTheirWay.get(form)?.removeAttribute("aria-busy");
  onTheirWay.delete(form);
}

function send(form, button) {
  button?.setAttribute("aria-busy", "true");
  onTheirWay.set(form, button);
}

function focusFirstError(place) {
  const error = place.querySelector(ERRORS);
  if (error?.classList.contains("notice")) error.tabIndex = -1;
  error?.focus();
}

document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  if (event.defaultPrevented || form.getAttribute("method") === "dialog" || form.target) return;
  if (onTheirWay.has(form)) {
    event.preventDefault();
    return;
  }
  send(form, submitter);
  setTimeout(() => release(form), PATIENCE_MS);
});
document.addEventListener("htmx:beforeRequest", ({ detail, target }) => {
  const { submitter } = detail.requestConfig.triggeringEvent ?? {};
  if (submitter) send(target, submitter);
});
document.addEventListener("htmx:afterRequest", ({ target }) => release(target));
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (detail.requestConfig?.verb === "post") focusFirstError(detail.elt);
});
window.addEventListener("pageshow", ({ persisted }) => persisted && [...onTheirWay.keys()].forEach(release));
focusFirstError(document);
