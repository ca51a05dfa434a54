-- The outbox: what the app writes here, in the transaction of a change, Synkora's WebSocket server publishes
-- (PUBLISH_FROM=postgres). Run it once in the app's database, as the app's own user.
-- With Prisma, put it into a migration: docs/outbox.md has the model.

CREATE TABLE synkora_outbox (
  id bigserial PRIMARY KEY,
  project text NOT NULL,
  event text NOT NULL,
  payload jsonb NOT NULL,
  created timestamptz NOT NULL DEFAULT now(),
  problem text, -- why the row cannot be published; such a row stays
  traceparent text DEFAULT current_setting('synkora.traceparent', true) -- the trace of the change, if any
);

-- Finds what waits, however many rows are set aside.
CREATE INDEX synkora_outbox_waiting ON synkora_outbox (id) WHERE problem IS NULL;

-- Wakes the server at the commit. Without the trigger, the server looks every second.
CREATE FUNCTION synkora_outbox_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('synkora_outbox', '');
  RETURN NULL;
END
$$;

CREATE TRIGGER synkora_outbox_written AFTER INSERT ON synkora_outbox
FOR EACH STATEMENT EXECUTE FUNCTION synkora_outbox_written();
