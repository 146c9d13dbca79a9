-- Whether anything has changed since an answer was made: a number for each kind of change, kept by triggers, so that nothing
-- that writes can forget it. In slots, as writers of different items are not to wait for each other. The steps are random:
-- a database that was restored to an earlier moment and then went another way does not come by the same numbers again.
CREATE TABLE changes (
    scope VARCHAR(20) NOT NULL,
    slot BIGINT NOT NULL,
    version BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, slot)
) WITH (fillfactor = 25);
INSERT INTO changes (scope, slot)
    SELECT scope, slot FROM unnest(ARRAY['items', 'stock', 'prices']) AS scope, generate_series(0, 31) AS slot;

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    number BIGINT := 0;
BEGIN
    IF TG_LEVEL = 'ROW' AND TG_ARGV[1] = 'id' THEN
        number := coalesce(NEW.id, OLD.id);
    ELSIF TG_LEVEL = 'ROW' THEN
        number := coalesce(NEW.inventory_id, OLD.inventory_id);
    END IF;
    UPDATE changes SET version = version + 1 + floor(random() * 16777216)::bigint
        WHERE scope = TG_ARGV[0] AND slot = abs(number % 32);
    RETURN NULL;
END $$;

CREATE TRIGGER items_come_and_go AFTER INSERT OR DELETE ON inventory_items
    FOR EACH ROW EXECUTE FUNCTION note_change('items', 'id');
CREATE TRIGGER items_change AFTER UPDATE ON inventory_items FOR EACH ROW
    WHEN ((OLD.id, OLD.sku, OLD.name, OLD.description, OLD.category, OLD.weight, OLD.dimensions, OLD.cost_price,
           OLD.min_stock_level, OLD.max_stock_level, OLD.is_active, OLD.is_trackable, OLD.created_at) IS DISTINCT FROM
          (NEW.id, NEW.sku, NEW.name, NEW.description, NEW.category, NEW.weight, NEW.dimensions, NEW.cost_price,
           NEW.min_stock_level, NEW.max_stock_level, NEW.is_active, NEW.is_trackable, NEW.created_at))
    EXECUTE FUNCTION note_change('items', 'id');
CREATE TRIGGER items_stock AFTER UPDATE ON inventory_items
    FOR EACH ROW EXECUTE FUNCTION note_change('stock', 'id');
CREATE TRIGGER items_emptied AFTER TRUNCATE ON inventory_items
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('items', '');
CREATE TRIGGER prices_change AFTER INSERT OR UPDATE OR DELETE ON prices
    FOR EACH ROW EXECUTE FUNCTION note_change('prices', 'inventory_id');
CREATE TRIGGER prices_emptied AFTER TRUNCATE ON prices
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('prices', '');
CREATE TRIGGER price_history_change AFTER INSERT OR UPDATE OR DELETE ON price_history
    FOR EACH ROW EXECUTE FUNCTION note_change('prices', 'inventory_id');
CREATE TRIGGER price_history_emptied AFTER TRUNCATE ON price_history
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('prices', '');
