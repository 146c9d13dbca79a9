-- Which rows have changed since an answer was made, and in which columns, so that a change makes only those answers old that it
-- can have altered. Written by triggers, so that nothing that writes can forget it. There is one writer at a time, so the
-- numbers are in the order of the commits. The oldest are deleted; whoever finds that the one behind his last look is gone has to take
-- everything for changed.
DROP TRIGGER items_come;
DROP TRIGGER items_go;
DROP TRIGGER items_change;
DROP TRIGGER items_stock;
DROP TRIGGER prices_come;
DROP TRIGGER prices_change;
DROP TRIGGER prices_go;
DROP TRIGGER price_history_come;
DROP TRIGGER price_history_change;
DROP TRIGGER price_history_go;
DROP TABLE changes;

CREATE TABLE row_changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,
    row_id INTEGER NOT NULL,
    columns INTEGER NOT NULL -- bits; what they stand for is the business of whoever reads them
);

-- 1 came or went, 2 sku, 4 name, 8 description, 16 category, 32 stock, 64 available, 128 low or not, 256 active, 512 created,
-- 1024 updated, 2048 anything else.
CREATE TRIGGER items_change AFTER UPDATE ON inventory_items WHEN NEW.id = OLD.id BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('items', NEW.id,
        iif(NEW.sku = OLD.sku, 0, 2)
        | iif(NEW.name = OLD.name, 0, 4)
        | iif(NEW.description IS OLD.description, 0, 8)
        | iif(NEW.category IS OLD.category, 0, 16)
        | iif(NEW.stock_quantity = OLD.stock_quantity, 0, 32)
        | iif(max(0, NEW.stock_quantity - NEW.reserved_quantity) = max(0, OLD.stock_quantity - OLD.reserved_quantity), 0, 64)
        | iif((max(0, NEW.stock_quantity - NEW.reserved_quantity) <= NEW.min_stock_level)
            = (max(0, OLD.stock_quantity - OLD.reserved_quantity) <= OLD.min_stock_level), 0, 128)
        | iif(NEW.is_active = OLD.is_active, 0, 256)
        | iif(NEW.created_at = OLD.created_at, 0, 512)
        | iif(NEW.updated_at = OLD.updated_at, 0, 1024)
        | 2048);
END;

CREATE TRIGGER items_renumbered AFTER UPDATE ON inventory_items WHEN NEW.id <> OLD.id BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('items', OLD.id, 1), ('items', NEW.id, 1);
END;

CREATE TRIGGER items_come AFTER INSERT ON inventory_items BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('items', NEW.id, 1);
END;

CREATE TRIGGER items_go AFTER DELETE ON inventory_items BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('items', OLD.id, 1);
END;

CREATE TRIGGER prices_come AFTER INSERT ON prices BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('prices', NEW.id, 1);
END;

CREATE TRIGGER prices_change AFTER UPDATE ON prices BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('prices', NEW.id, 1);
END;

CREATE TRIGGER prices_go AFTER DELETE ON prices BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('prices', OLD.id, 1);
END;

CREATE TRIGGER price_history_come AFTER INSERT ON price_history BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('price_history', NEW.id, 1);
END;

CREATE TRIGGER price_history_change AFTER UPDATE ON price_history BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('price_history', NEW.id, 1);
END;

CREATE TRIGGER price_history_go AFTER DELETE ON price_history BEGIN
    INSERT INTO row_changes (scope, row_id, columns) VALUES ('price_history', OLD.id, 1);
END;
