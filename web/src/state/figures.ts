export interface Sample {
  labels: Record<string, string>;
  value: number;
}

/** Samples of OpenMetrics text by name. What cannot be read is left out. */
export type Samples = Map<string, Sample[]>;

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

export function parseMetrics(text: string): Samples {
  const samples: Samples = new Map();
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) continue;
    const match = LINE.exec(line);
    const value = Number(match?.[3] === "+Inf" ? Infinity : match?.[3]);
    if (!match || Number.isNaN(value)) continue;
    const labels: Record<string, string> = {};
    for (const [, name, text_] of (match[2] ?? "").matchAll(LABEL)) labels[name!] = text_!.replace(/\\(.)/g, (_, sign: string) => (sign === "n" ? "\n" : sign));
    const known = samples.get(match[1]!);
    if (known) known.push({ labels, value });
    else samples.set(match[1]!, [{ labels, value }]);
  }
  return samples;
}

/** The sum of a name's samples whose labels are these; null when there are none. */
export function sum(samples: Samples, name: string, labels: Record<string, string> = {}): number | null {
  const found = (samples.get(name) ?? []).filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value));
  return found.length > 0 ? found.reduce((total, sample) => total + sample.value, 0) : null;
}

/** How many observations up to each bound, of a histogram. */
export type Buckets = [bound: number, count: number][];

export function buckets(samples: Samples, name: string): Buckets {
  const counts = new Map<number, number>();
  for (const { labels, value } of samples.get(`${name}_bucket`) ?? []) {
    const bound = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return [...counts].sort(([a], [b]) => a - b);
}

/** A quantile of what was observed between two readings, straight within its bucket; null when nothing was. */
export function quantile(now: Buckets, before: Buckets, share: number): number | null {
  const earlier = new Map(before);
  const counts: Buckets = now.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]);
  const all = counts.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  const rank = share * all;
  let [low, below] = [0, 0];
  for (const [bound, count] of counts) {
    if (count >= rank) {
      if (bound === Infinity) return low;
      return count === below ? bound : low + ((bound - low) * (rank - below)) / (count - below);
    }
    [low, below] = [bound, count];
  }
  return null;
}

export const LATENCY = "fanfare_delivery_latency_seconds";

export interface Figures {
  atMs: number;
  connections: number | null;
  publicationsPerSecond: number | null;
  deliveriesPerSecond: number | null;
  p50: number | null;
  p99: number | null;
  pendingBytes: number | null;
  memoryBytes: number | null;
  cpuShare: number | null;
  outbox: number | null;
  series: number | null;
  queues: { topic: string; pending: number; dead: number }[];
  /** Requests that were answered with a fault of the server's, a second. */
  faultsPerSecond: number | null;
}

/** What one reading says in the light of those before it: counters as rates, histograms as quantiles since `base`. */
export function figuresOf(now: Samples, atMs: number, before: Samples | null, beforeMs: number, base: Buckets | null): Figures {
  const seconds = (atMs - beforeMs) / 1000;
  const rate = (value: (samples: Samples) => number | null): number | null => {
    const [a, b] = [before && value(before), value(now)];
    // A counter that has fallen began anew with its process.
    return a === null || b === null || seconds <= 0 || b < a ? null : (b - a) / seconds;
  };
  const late = buckets(now, LATENCY);
  const topics = new Map<string, { topic: string; pending: number; dead: number }>();
  for (const { labels, value } of now.get("fanfare_queue_items_pending") ?? []) {
    const topic = labels["topic"] ?? "";
    const entry = topics.get(topic) ?? { topic, pending: 0, dead: 0 };
    if (labels["state"] === "dead") entry.dead += value;
    else entry.pending += value;
    topics.set(topic, entry);
  }
  return {
    atMs,
    connections: sum(now, "fanfare_websocket_connections"),
    publicationsPerSecond: rate((samples) => sum(samples, "fanfare_publications_total")),
    deliveriesPerSecond: rate((samples) => sum(samples, "fanfare_deliveries_total")),
    p50: base && quantile(late, base, 0.5),
    p99: base && quantile(late, base, 0.99),
    pendingBytes: sum(now, "fanfare_websocket_pending_bytes"),
    memoryBytes: sum(now, "process_resident_memory_bytes"),
    cpuShare: rate((samples) => sum(samples, "process_cpu_seconds_total")),
    outbox: sum(now, "fanfare_outbox_pending"),
    series: sum(now, "fanfare_series_points_pending"),
    queues: [...topics.values()].sort((a, b) => b.dead - a.dead || b.pending - a.pending || (a.topic < b.topic ? -1 : 1)),
    faultsPerSecond: rate((samples) => (samples.get("fanfare_http_requests_total") ?? []).filter(({ labels }) => labels["status"]?.startsWith("5")).reduce((total, { value }) => total + value, 0)),
  };
}
