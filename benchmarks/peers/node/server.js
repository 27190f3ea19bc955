// The stack of many tutorials: Express, Stripe's SDK, pg, Socket.IO with its Redis adapter. One process.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import express from "express";
import pg from "pg";
import { createClient } from "redis";
import { Server } from "socket.io";
import Stripe from "stripe";
import { record } from "./ledger.js";
import { page } from "./page.js";

const { DATABASE_URL, REDIS_URL, STRIPE_API_KEY, STRIPE_WEBHOOK_SECRET, PORT } = process.env;
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 12 });
const stripe = new Stripe(STRIPE_API_KEY);
const app = express();
const server = createServer(app);
const publisher = createClient({ url: REDIS_URL });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);
const io = new Server(server, { adapter: createAdapter(publisher, subscriber) });

app.post("/stripe/webhook/", express.raw({ type: "application/json" }), async (request, response) => {
  let event;
  try {
    event = stripe.webhooks.constructEvent(request.body, request.headers["stripe-signature"], STRIPE_WEBHOOK_SECRET);
  } catch {
    return response.status(400).send("invalid signature");
  }
  for (const { audience, message } of await record(pool, event)) io.to(audience).emit("payment", message);
  response.json({ received: true });
});

async function audienceOf(headers) {
  const key = /(?:^|; )sessionid=([^;]+)/.exec(headers.cookie ?? "")?.[1];
  const found = await pool.query("SELECT audience FROM sessions WHERE key = $1 AND expires > now()", [key]);
  return found.rows[0]?.audience;
}

app.get("/desk/", async (request, response) => {
  if (!(await audienceOf(request.headers))) return response.sendStatus(401);
  const rows = await pool.query(
    "SELECT public_id, status, amount_due, currency FROM payments WHERE id BETWEEN $1::bigint AND $1::bigint + 49", [request.query.first]);
  response.send(page(rows.rows));
});

io.use(async (socket, next) => {
  socket.data.audience = await audienceOf(socket.handshake.headers);
  next(socket.data.audience ? undefined : new Error("signed out"));
});

io.on("connection", async (socket) => {
  const { audience } = socket.data;
  socket.join(audience);
  const after = Number(socket.handshake.query.after ?? 0);
  const head = Number((await pool.query("SELECT head FROM feeds WHERE audience = $1", [audience])).rows[0]?.head ?? 0);
  if (head > after) {
    const missed = await pool.query(
      `SELECT e.seq, p.public_id AS payment_id, c.to_status AS status, p.amount_due AS amount, p.currency
       FROM feed_entries e JOIN changes c ON c.id = e.change_id JOIN payments p ON p.id = c.payment_id
       WHERE e.audience = $1 AND e.seq > $2 ORDER BY e.seq LIMIT 100`, [audience, after]);
    for (const row of missed.rows) socket.emit("payment", { ...row, seq: Number(row.seq) });
  }
  socket.emit("hello", { seq: head });
});

server.listen(Number(PORT), "127.0.0.1", 2048);
