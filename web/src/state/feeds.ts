/** The live feeds that pages choose from. */
export const FEEDS = ["inventory", "price", "progress", "match", "general"] as const;
export type FeedName = (typeof FEEDS)[number];

export const PATHS: Record<FeedName, string> = {
  inventory: "/ws/inventory",
  price: "/ws/price",
  progress: "/ws/progress",
  match: "/ws/match",
  general: "/ws",
};

/** Feeds of rows change faster than anybody reads: each row is told so often at most, and what is folded is said. */
export const MAX_HZ: Partial<Record<FeedName, string>> = { inventory: "4", price: "4" };

/** What the status bar tells of a feed, read once a second. */
export interface FeedState {
  received: number;
  recovered: number;
  gaps: number;
  lastAtMs: number | null;
  lastGapAtMs: number | null;
}

export function eachFeed<T>(value: (name: FeedName) => T): Record<FeedName, T> {
  return Object.fromEntries(FEEDS.map((name) => [name, value(name)])) as Record<FeedName, T>;
}
