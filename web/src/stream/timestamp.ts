const PATTERN = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)?$/i;

/**
 * An ISO 8601 time as nanoseconds since 1970, or null when there is none. `Date.parse` stops at milliseconds, which is
 * too coarse to tell which of two writes to a row came first. A time without a zone counts as UTC.
 */
export function parseNanos(text: unknown): bigint | null {
  if (typeof text !== "string") return null;
  const match = PATTERN.exec(text.trim());
  if (!match) return null;
  const [, day, time, fraction = "", zone = "Z"] = match;
  const ms = Date.parse(`${day}T${time}${zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone.toUpperCase()}`);
  if (Number.isNaN(ms)) return null;
  return BigInt(ms) * 1_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
}

export function parseMs(text: unknown): number | null {
  const nanos = parseNanos(text);
  return nanos === null ? null : Number(nanos / 1_000_000n);
}

/** Whether `message` is known to be older than `row`. When either is unknown, the order of arrival stands. */
export function isOlder(message: unknown, row: unknown): boolean {
  const a = parseNanos(message);
  const b = parseNanos(row);
  return a !== null && b !== null && a < b;
}
