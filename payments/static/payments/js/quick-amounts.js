// Buttons that fill an amount into the field before them:
//   <div> <input> <div class="quick" hidden> <button type="button" data-amount="12.50">…</button> </div> </div>
// Without this script they stay hidden, and people type the amount.

function show() {
  for (const group of document.querySelectorAll(".quick[hidden]")) group.hidden = false;
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest?.(".quick [data-amount]");
  if (!button) return;
  const amount = button.closest(".quick").parentElement.querySelector("input");
  amount.value = button.dataset.amount;
  amount.dispatchEvent(new Event("input", { bubbles: true }));
  amount.focus();
});
document.addEventListener("htmx:load", show);
show();
