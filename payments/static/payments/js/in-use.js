// What a person has typed is never replaced before it is sent, and a form or a link of the sheet not before its answer:
// htmx would put the answer into what is no longer in the page.

/** Return whether somebody has changed a field inside `element` since the server rendered it, or waits for an answer. */
export function isInUse(element) {
  const fields = element.querySelectorAll("input:not([type=hidden], [type=radio], [type=checkbox]), textarea");
  const typed = [...fields].some((field) => field.value !== field.defaultValue);
  return typed || element.querySelector("form.htmx-request, .sheet a.htmx-request") !== null;
}
