// Comfort only: the page pays without it.
const form = document.querySelector("form");

function groupDigits(input) {
  const digits = input.value.replace(/\D/g, "").slice(0, 19);
  input.value = digits.replace(/(\d{4})(?=\d)/g, "$1 ");
}

function slashDate(input, event) {
  const digits = input.value.replace(/\D/g, "").slice(0, 4);
  const deleting = event?.inputType?.startsWith("delete");
  input.value = digits.length > 2 || (digits.length === 2 && !deleting) ? `${digits.slice(0, 2)} / ${digits.slice(2)}` : digits;
}

form.elements.card_number?.addEventListener("input", (event) => groupDigits(event.target));
form.elements.exp?.addEventListener("input", (event) => slashDate(event.target, event));

form.addEventListener("submit", () => {
  const button = form.querySelector("button");
  button.setAttribute("aria-busy", "true");
  // After this turn, or the button's own name and value would not be sent.
  setTimeout(() => { button.disabled = true; });
});

addEventListener("pageshow", () => {
  const button = form.querySelector("button");
  button.disabled = false;
  button.removeAttribute("aria-busy");
});

function fillFrom(code) {
  const name = code.dataset.fill;
  const kind = form.querySelector(`[value="${name === "iban" ? "sepa_debit" : "card"}"]`);
  if (kind) kind.checked = true;
  form.elements[name].value = code.textContent;
  if (name === "card_number") {
    form.elements.exp.value ||= "12 / 34";
    form.elements.cvc.value ||= "123";
  }
  form.elements[name].focus();
}

for (const code of document.querySelectorAll("[data-fill]")) {
  code.setAttribute("role", "button");
  code.tabIndex = 0;
  code.addEventListener("click", () => fillFrom(code));
  code.addEventListener("keydown", (event) => { if (event.key === "Enter") fillFrom(code); });
}
