-- Of what is known by a name of its own, such as an event that cannot be applied, one item waits, however often it comes.
ALTER TABLE queue_items ADD COLUMN key TEXT;
CREATE UNIQUE INDEX queue_items_key ON queue_items (topic, key) WHERE key IS NOT NULL;
