// Amounts as people type and read them, in the page's language. An amount is an integer in minor units, such as cents.

const { lang } = document.documentElement;

function formatter(currency) {
  return new Intl.NumberFormat(lang, { style: "currency", currency });
}

/** Return the amount that `text` means in `currency`, such as 1250 for "12,50" in French, or NaN if it means none. */
export function parseAmount(text, currency) {
  const plain = text.replace(/\s/g, "");
  if (!(lang.startsWith("en") ? /^\d+(\.\d+)?$/ : /^\d+([.,]\d+)?$/).test(plain)) return NaN;
  return Math.round(Number(plain.replace(",", ".")) * 10 ** decimals(currency));
}

/** Return `amount` with the sign of its currency, such as "12,50 €" in French; with a minus sign, as the server does. */
export function formatAmount(amount, currency) {
  return formatter(currency).format(amount / 10 ** decimals(currency)).replace("-", "−");
}

/** Return `amount` as people type it, without a currency's sign, such as "12,50" in French. */
export function typedAmount(amount, currency) {
  const text = (amount / 10 ** decimals(currency)).toFixed(decimals(currency));
  return lang.startsWith("en") ? text : text.replace(".", ",");
}

function decimals(currency) {
  return formatter(currency).resolvedOptions().maximumFractionDigits;
}
