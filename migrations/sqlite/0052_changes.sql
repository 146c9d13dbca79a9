-- Whether anything has changed since an answer was made: a number for each kind of change, kept by triggers, so that nothing
-- that writes can forget it. In slots, as PostgreSQL has them for the sake of its many writers. The steps are random: a
-- database that was restored to an earlier moment and then went another way does not come by the same numbers again.
CREATE TABLE changes (
    scope TEXT NOT NULL,
    slot INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, slot)
) WITHOUT ROWID;
INSERT INTO changes (scope, slot) VALUES ('items', 0), ('stock', 0), ('prices', 0);

CREATE TRIGGER items_come AFTER INSERT ON inventory_items BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'items' AND slot = 0;
END;

CREATE TRIGGER items_go AFTER DELETE ON inventory_items BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'items' AND slot = 0;
END;

CREATE TRIGGER items_change AFTER UPDATE ON inventory_items
    WHEN (OLD.id, OLD.sku, OLD.name, OLD.description, OLD.category, OLD.weight,
          OLD.dimensions, OLD.cost_price, OLD.min_stock_level, OLD.max_stock_level, OLD.is_active, OLD.is_trackable, OLD.created_at)
        IS NOT (NEW.id, NEW.sku, NEW.name, NEW.description, NEW.category, NEW.weight,
          NEW.dimensions, NEW.cost_price, NEW.min_stock_level, NEW.max_stock_level, NEW.is_active, NEW.is_trackable, NEW.created_at) BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'items' AND slot = 0;
END;

CREATE TRIGGER items_stock AFTER UPDATE ON inventory_items BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'stock' AND slot = 0;
END;

CREATE TRIGGER prices_come AFTER INSERT ON prices BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'prices' AND slot = 0;
END;

CREATE TRIGGER prices_change AFTER UPDATE ON prices BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'prices' AND slot = 0;
END;

CREATE TRIGGER prices_go AFTER DELETE ON prices BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'prices' AND slot = 0;
END;

CREATE TRIGGER price_history_come AFTER INSERT ON price_history BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'prices' AND slot = 0;
END;

CREATE TRIGGER price_history_change AFTER UPDATE ON price_history BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'prices' AND slot = 0;
END;

CREATE TRIGGER price_history_go AFTER DELETE ON price_history BEGIN
    UPDATE changes SET version = version + 1 + abs(random() % 16777216) WHERE scope = 'prices' AND slot = 0;
END;
