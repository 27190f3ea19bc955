// Shows what happens while it happens: the same page again each second, without losing the place or the focus.
const EVERY_MS = 1000;
const REGIONS = ["payments", "payouts", "deliveries"];

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(location.href);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const id of REGIONS) {
    const [shown, next] = [document.getElementById(id), fresh.getElementById(id)];
    if (shown.innerHTML !== next.innerHTML && !shown.contains(document.activeElement)) shown.replaceWith(next);
  }
}

// A stopped sandbox is no error here: the next second asks again.
setInterval(() => refresh().catch(() => {}), EVERY_MS);
