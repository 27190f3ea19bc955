// The review queue: a case that was solved elsewhere says so where it stands. New ones are AutoRefreshAppointments' to offer.

document.addEventListener("payment:updated", ({ detail }) => {
  for (const row of document.querySelectorAll(`[data-of="${detail.id}"]`)) {
    row.toggleAttribute("data-solved", !detail.reviews.includes(row.dataset.case));
  }
});
