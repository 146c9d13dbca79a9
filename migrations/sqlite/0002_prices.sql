-- Prices of items, and every change of one. Amounts are integers of ten-thousandths.
CREATE TABLE prices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    inventory_id INTEGER NOT NULL REFERENCES inventory_items (id) ON DELETE CASCADE,
    selling_price INTEGER NOT NULL CHECK (selling_price >= 0),
    cost_price INTEGER NOT NULL DEFAULT 0 CHECK (cost_price >= 0),
    discount_price INTEGER CHECK (discount_price >= 0),
    currency TEXT NOT NULL DEFAULT 'JPY' CHECK (length(currency) = 3),
    margin_percent INTEGER,
    markup_percent INTEGER,
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    requires_approval BOOLEAN NOT NULL DEFAULT FALSE,
    pending_price INTEGER CHECK (pending_price >= 0), -- a new selling price that awaits approval
    effective_from TEXT,
    effective_until TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CHECK (requires_approval = (pending_price IS NOT NULL))
);
CREATE INDEX prices_inventory ON prices (inventory_id, is_active);
CREATE INDEX prices_pending ON prices (id) WHERE requires_approval;

CREATE TABLE price_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    inventory_id INTEGER NOT NULL REFERENCES inventory_items (id) ON DELETE CASCADE,
    old_price INTEGER,
    new_price INTEGER,
    price_change_percent INTEGER,
    price_change_amount INTEGER,
    change_reason TEXT,
    changed_by TEXT,
    change_type TEXT NOT NULL,
    notes TEXT,
    changed_at TEXT NOT NULL
);
CREATE INDEX price_history_inventory ON price_history (inventory_id, id);
