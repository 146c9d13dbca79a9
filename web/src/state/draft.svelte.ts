import type { ItemChange } from "../api";
import type { Item } from "./items";

type Typed = Pick<Item, "name" | "stock" | "min">;

const FIELDS = ["name", "stock", "min"] as const;

/** What somebody types into a row. It is kept beside the row, so that it outlives a scroll, a search and a log-in. */
export class Draft {
  name = $state("");
  stock = $state<number | null>(null);
  min = $state<number | null>(null);
  problem = $state("");
  busy = $state(false);
  /** The form that opens takes the focus; one that merely comes back into view does not. */
  isNew = true;
  /** What the row held when it was last looked at: what differs from it was typed here, what the row holds instead, by others. */
  #seen = $state.raw<Typed>({ name: "", stock: 0, min: null });

  constructor(item: Item) {
    this.#seen = item;
    ({ name: this.name, stock: this.stock, min: this.min } = item);
  }

  /** The fields that others have changed to something else than is typed here. */
  conflicts(item: Typed): (typeof FIELDS)[number][] {
    return FIELDS.filter((field) => item[field] !== this.#seen[field] && this[field] !== this.#seen[field] && this[field] !== item[field]);
  }

  /** Shows what others have changed, where nothing was typed. */
  follow(item: Typed): void {
    const fresh = FIELDS.filter((field) => item[field] !== this.#seen[field] && (this[field] === this.#seen[field] || this[field] === item[field]));
    if (fresh.length === 0) return;
    for (const field of fresh) Object.assign(this, { [field]: item[field] });
    this.#seen = { ...this.#seen, ...Object.fromEntries(fresh.map((field) => [field, item[field]])) };
  }

  /** Settles a conflict: what others have written is known now, and either stays or is written over. */
  settle(field: (typeof FIELDS)[number], item: Typed, theirs: boolean): void {
    this.#seen = { ...this.#seen, [field]: item[field] };
    if (theirs) Object.assign(this, { [field]: item[field] });
  }

  /** What is to be written. */
  change(item: Typed): ItemChange {
    const name = this.name.trim();
    return {
      ...(name !== item.name && { name }),
      ...(this.stock !== null && this.stock !== item.stock && { stock_quantity: this.stock }),
      ...(this.min !== null && this.min !== item.min && { min_stock_level: this.min }),
    };
  }
}
