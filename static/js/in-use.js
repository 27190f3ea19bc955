// What a person has typed is never replaced before it is sent, and a form on its way not before its answer: htmx looks
// for the answer's place from the form, and finds none from a form that is no longer in the page.

/** Return whether somebody has changed a field inside `element` since the server rendered it, or sent a form of it. */
export function isInUse(element) {
  const fields = element.querySelectorAll("input:not([type=hidden], [type=radio], [type=checkbox]), textarea");
  const typed = [...fields].some((field) => field.value !== field.defaultValue);
  return typed || element.querySelector("form.htmx-request") !== null;
}
