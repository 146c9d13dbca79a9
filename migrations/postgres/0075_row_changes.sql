-- Which rows have changed since an answer was made, and in which columns, so that a change makes only those answers old
-- that it can have altered. Written by triggers, so that nothing that writes can forget it. Each change is a row of its own:
-- writers of different items never wait for each other, in whatever order they come.
--
-- Transactions end in another order than they began, so there is no "after number 7" to ask for; whoever looks asks for what
-- the snapshot of his last look did not see. What is older than `row_changes_floor` has been deleted, and whoever has not
-- looked since then has to take everything for changed.
DROP TRIGGER items_come_and_go ON inventory_items;
DROP TRIGGER items_change ON inventory_items;
DROP TRIGGER items_stock ON inventory_items;
DROP TRIGGER items_emptied ON inventory_items;
DROP TRIGGER prices_change ON prices;
DROP TRIGGER prices_emptied ON prices;
DROP TRIGGER price_history_change ON price_history;
DROP TRIGGER price_history_emptied ON price_history;
DROP FUNCTION note_change;
DROP TABLE changes;

CREATE TABLE row_changes (
    xid XID8 NOT NULL DEFAULT pg_current_xact_id(),
    scope VARCHAR(20) NOT NULL,
    row_id BIGINT, -- none: all rows
    columns BIGINT NOT NULL -- bits; what they stand for is the business of whoever reads them
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX row_changes_xid ON row_changes (xid);
CREATE TABLE row_changes_floor (xid XID8 NOT NULL);
INSERT INTO row_changes_floor VALUES (pg_current_xact_id());

-- 1 came or went, 2 sku, 4 name, 8 description, 16 category, 32 stock, 64 available, 128 low or not, 256 active, 512 created,
-- 1024 updated, 2048 anything else.
CREATE FUNCTION note_item() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.id = OLD.id THEN
        INSERT INTO row_changes (scope, row_id, columns) VALUES ('items', NEW.id,
            CASE WHEN NEW.sku = OLD.sku THEN 0 ELSE 2 END
            | CASE WHEN NEW.name = OLD.name THEN 0 ELSE 4 END
            | CASE WHEN NEW.description IS NOT DISTINCT FROM OLD.description THEN 0 ELSE 8 END
            | CASE WHEN NEW.category IS NOT DISTINCT FROM OLD.category THEN 0 ELSE 16 END
            | CASE WHEN NEW.stock_quantity = OLD.stock_quantity THEN 0 ELSE 32 END
            | CASE WHEN greatest(0, NEW.stock_quantity - NEW.reserved_quantity)
                = greatest(0, OLD.stock_quantity - OLD.reserved_quantity) THEN 0 ELSE 64 END
            | CASE WHEN (greatest(0, NEW.stock_quantity - NEW.reserved_quantity) <= NEW.min_stock_level)
                = (greatest(0, OLD.stock_quantity - OLD.reserved_quantity) <= OLD.min_stock_level) THEN 0 ELSE 128 END
            | CASE WHEN NEW.is_active = OLD.is_active THEN 0 ELSE 256 END
            | CASE WHEN NEW.created_at = OLD.created_at THEN 0 ELSE 512 END
            | CASE WHEN NEW.updated_at = OLD.updated_at THEN 0 ELSE 1024 END
            | 2048);
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO row_changes (scope, row_id, columns) VALUES ('items', OLD.id, 1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO row_changes (scope, row_id, columns) VALUES ('items', NEW.id, 1);
    END IF;
    RETURN NULL;
END $$;

-- A change of any kind; the argument names the scope.
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        INSERT INTO row_changes (scope, row_id, columns) VALUES (TG_ARGV[0], NULL, -1);
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO row_changes (scope, row_id, columns) VALUES (TG_ARGV[0], OLD.id, 1);
    END IF;
    IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND NEW.id <> OLD.id THEN
        INSERT INTO row_changes (scope, row_id, columns) VALUES (TG_ARGV[0], NEW.id, 1);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER items_change AFTER INSERT OR UPDATE OR DELETE ON inventory_items
    FOR EACH ROW EXECUTE FUNCTION note_item();
CREATE TRIGGER items_emptied AFTER TRUNCATE ON inventory_items
    FOR EACH STATEMENT EXECUTE FUNCTION note_row('items');
CREATE TRIGGER prices_change AFTER INSERT OR UPDATE OR DELETE ON prices
    FOR EACH ROW EXECUTE FUNCTION note_row('prices');
CREATE TRIGGER prices_emptied AFTER TRUNCATE ON prices
    FOR EACH STATEMENT EXECUTE FUNCTION note_row('prices');
CREATE TRIGGER price_history_change AFTER INSERT OR UPDATE OR DELETE ON price_history
    FOR EACH ROW EXECUTE FUNCTION note_row('price_history');
CREATE TRIGGER price_history_emptied AFTER TRUNCATE ON price_history
    FOR EACH STATEMENT EXECUTE FUNCTION note_row('price_history');
