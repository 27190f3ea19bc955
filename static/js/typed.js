// What a person has typed and not sent yet is never replaced.

/** Return whether somebody has changed a field inside `element` since the server rendered it. */
export function isTypedIn(element) {
  const fields = element.querySelectorAll("input:not([type=hidden], [type=radio], [type=checkbox]), textarea");
  return [...fields].some((field) => field.value !== field.defaultValue);
}
