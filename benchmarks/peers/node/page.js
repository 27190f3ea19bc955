// A day list whose rows change when a payment does.
const SCRIPT = `
  const socket = io({ transports: ["websocket"] });
  socket.on("hello", () => document.body.dataset.live = "connected");
  socket.on("payment", ({ payment_id, status }) => {
    const cell = document.getElementById("payment-" + payment_id);
    if (cell) { cell.textContent = status; cell.className = "badge " + status; }
  });`;

export function page(payments) {
  const rows = payments.map(({ public_id, status, amount_due, currency }) =>
    `<tr><td>${amount_due} ${currency}</td><td id="payment-${public_id}" class="badge ${status}">${status}</td></tr>`);
  return `<!doctype html><title>Day</title><script src="/socket.io/socket.io.js"></script>
<table>${rows.join("\n")}</table><script>${SCRIPT}</script>`;
}
