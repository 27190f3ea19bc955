// Buttons that fill an amount into the field before them:
//   <div> <input> <div class="quick" hidden> <button type="button" data-amount="12.50">…</button> </div> </div>
// Without this script they stay hidden, and people type the amount.

for (const group of document.querySelectorAll(".quick")) {
  const amount = group.parentElement.querySelector("input");
  group.hidden = false;
  group.addEventListener("click", ({ target }) => {
    if (!target.dataset.amount) return;
    amount.value = target.dataset.amount;
    amount.dispatchEvent(new Event("input", { bubbles: true }));
    amount.focus();
  });
}
