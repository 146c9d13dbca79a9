// What a run is told from outside, read once. Pass with `-e NAME=value` or in the environment.

/** A setting of this name; each scenario gives its own default. */
export function number(name: string, fallback: number): number {
  const text = __ENV[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (Number.isNaN(value)) throw new Error(`${name} is not a number: ${text}`);
  return value;
}

/** The server under test. */
export const BASE_URL = (__ENV.BASE_URL || 'http://127.0.0.1:8000').replace(/\/$/, '');
export const WS_URL = BASE_URL.replace(/^http/, 'ws');

/** Sent as X-API-Key when set. A server on loopback without keys needs none. */
export const HEADERS: Record<string, string> = {
  'Content-Type': 'application/json',
  ...(__ENV.API_KEY ? { 'X-API-Key': __ENV.API_KEY } : {}),
};

/** Publishers that may run at once. */
export const PUBLISHERS = number('PUBLISHERS', 50);
/** The bound of thresholds.ts; set it to 0 to see a run fail. */
export const DELIVERY_P95_MS = number('DELIVERY_P95_MS', 200);

/** Sockets get this long to open before the first publication, and to drain after the last. */
export const LEAD_SECONDS = number('LEAD_SECONDS', 4);
export const DRAIN_SECONDS = 4;
