-- The same durable facts as the site keeps, in the tables that a Node application would have.
CREATE TABLE sessions (key text PRIMARY KEY, user_id bigint NOT NULL, audience text NOT NULL, expires timestamptz NOT NULL);
CREATE TABLE payments (
  id bigserial PRIMARY KEY, public_id uuid NOT NULL UNIQUE, patient_id bigint NOT NULL, amount_due bigint NOT NULL,
  currency text NOT NULL, status text NOT NULL DEFAULT 'unpaid', amount_received bigint NOT NULL DEFAULT 0,
  version integer NOT NULL DEFAULT 0, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE events (
  id text PRIMARY KEY, type text NOT NULL, created bigint NOT NULL, body jsonb NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE facts (
  id bigserial PRIMARY KEY, payment_id bigint NOT NULL REFERENCES payments, kind text NOT NULL,
  stripe_id text NOT NULL UNIQUE, status text NOT NULL, amount bigint NOT NULL, currency text NOT NULL,
  payment_intent_id text, created bigint NOT NULL, recorded_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON facts (payment_id);
CREATE INDEX ON facts (payment_intent_id);
CREATE TABLE changes (
  id bigserial PRIMARY KEY, payment_id bigint NOT NULL REFERENCES payments, version integer NOT NULL,
  from_status text NOT NULL, to_status text NOT NULL, event_id text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (payment_id, version));
CREATE TABLE feeds (audience text PRIMARY KEY, head bigint NOT NULL);
CREATE TABLE feed_entries (
  id bigserial PRIMARY KEY, audience text NOT NULL REFERENCES feeds, seq bigint NOT NULL,
  change_id bigint NOT NULL REFERENCES changes, created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (audience, seq));
