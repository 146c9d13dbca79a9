-- Stock items. Times are ISO 8601 in UTC; decimals are integers of ten-thousandths.
CREATE TABLE inventory_items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sku TEXT NOT NULL UNIQUE CHECK (length(sku) BETWEEN 3 AND 100),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    description TEXT,
    category TEXT CHECK (length(category) <= 100),
    stock_quantity INTEGER NOT NULL DEFAULT 0 CHECK (stock_quantity >= 0),
    reserved_quantity INTEGER NOT NULL DEFAULT 0 CHECK (reserved_quantity >= 0),
    weight INTEGER CHECK (weight >= 0), -- grams
    dimensions TEXT CHECK (length(dimensions) <= 100),
    cost_price INTEGER NOT NULL DEFAULT 0 CHECK (cost_price >= 0),
    min_stock_level INTEGER NOT NULL DEFAULT 10 CHECK (min_stock_level >= 0),
    max_stock_level INTEGER NOT NULL DEFAULT 1000 CHECK (max_stock_level >= min_stock_level),
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    is_trackable BOOLEAN NOT NULL DEFAULT TRUE,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX inventory_items_category ON inventory_items (category);
CREATE INDEX inventory_items_stock ON inventory_items (stock_quantity);
CREATE INDEX inventory_items_category_active ON inventory_items (category, is_active);
CREATE INDEX inventory_items_low_stock ON inventory_items (id)
    WHERE max(0, stock_quantity - reserved_quantity) <= min_stock_level;
CREATE INDEX inventory_items_available ON inventory_items (max(0, stock_quantity - reserved_quantity));
