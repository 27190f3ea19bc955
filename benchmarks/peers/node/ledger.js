// One PostgreSQL transaction for one event: the same rows as the site writes.
export async function record(pool, event) {
  const session = event.data.object;
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const taken = await client.query(
      "INSERT INTO events (id, type, created, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
      [event.id, event.type, event.created, JSON.stringify(event)]);
    const told = taken.rowCount ? await apply(client, event, session) : [];
    await client.query("COMMIT");
    return told;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

async function apply(client, event, session) {
  const found = await client.query(
    "SELECT id, patient_id, status, version FROM payments WHERE public_id = $1 FOR UPDATE", [session.metadata.payment_id]);
  if (!found.rowCount) return [];
  const payment = found.rows[0];
  await client.query(
    `INSERT INTO facts (payment_id, kind, stripe_id, status, amount, currency, payment_intent_id, created)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
     ON CONFLICT (stripe_id) DO UPDATE SET status = excluded.status, amount = excluded.amount`,
    [payment.id, session.object, session.id, session.status, session.amount_total, session.currency,
      session.payment_intent, session.created]);
  const status = session.payment_status === "paid" ? "paid" : "processing";
  if (status === payment.status) return [];
  await client.query(
    "UPDATE payments SET status = $1, amount_received = $2, version = version + 1, updated_at = now() WHERE id = $3",
    [status, session.amount_total, payment.id]);
  const change = await client.query(
    `INSERT INTO changes (payment_id, version, from_status, to_status, event_id)
     VALUES ($1, $2, $3, $4, $5) RETURNING id`,
    [payment.id, payment.version + 1, payment.status, status, event.id]);
  return announce(client, payment, change.rows[0].id, {
    payment_id: session.metadata.payment_id, status, amount: session.amount_total, currency: session.currency });
}

async function announce(client, payment, changeId, payload) {
  const feeds = await client.query(
    `INSERT INTO feeds (audience, head) VALUES ($1, 1), ($2, 1)
     ON CONFLICT (audience) DO UPDATE SET head = feeds.head + 1 RETURNING audience, head`,
    [`patient.${payment.patient_id}`, "staff"]);
  const [one, other] = feeds.rows;
  await client.query(
    "INSERT INTO feed_entries (audience, seq, change_id) VALUES ($1, $2, $5), ($3, $4, $5)",
    [one.audience, one.head, other.audience, other.head, changeId]);
  return feeds.rows.map(({ audience, head }) => ({ audience, message: { ...payload, seq: Number(head) } }));
}
