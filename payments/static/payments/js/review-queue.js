// Marks cases of the review queue that were solved elsewhere. AutoRefreshAppointments offers the new ones.

document.addEventListener("payment:updated", ({ detail }) => {
  for (const row of document.querySelectorAll(`[data-of="${detail.id}"]`)) {
    row.toggleAttribute("data-solved", !detail.reviews.includes(row.dataset.case));
  }
});
