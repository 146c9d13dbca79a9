// How much of it: the defaults of each scenario, chosen by the name that run.sh is given. Every one can be set from
// outside, see config.ts.
export interface Workload {
  /** Sockets on either feed. */
  SOCKETS: number;
  /** Rounds a second; where the rate changes, what it changes from. */
  RATE: number;
  /** What the rate rises to, where it does. */
  PEAK_RATE: number;
  DURATION_SECONDS: number;
  /** Publishers that may run at once. */
  PUBLISHERS: number;
}

export const WORKLOADS: Record<string, Workload> = {
  smoke: { SOCKETS: 50, RATE: 10, PEAK_RATE: 10, DURATION_SECONDS: 20, PUBLISHERS: 20 },
  load: { SOCKETS: 100, RATE: 20, PEAK_RATE: 20, DURATION_SECONDS: 300, PUBLISHERS: 60 },
  stress: { SOCKETS: 100, RATE: 20, PEAK_RATE: 60, DURATION_SECONDS: 180, PUBLISHERS: 120 },
  spike: { SOCKETS: 50, RATE: 5, PEAK_RATE: 80, DURATION_SECONDS: 60, PUBLISHERS: 200 },
  soak: { SOCKETS: 100, RATE: 10, PEAK_RATE: 10, DURATION_SECONDS: 14400, PUBLISHERS: 60 },
  breakpoint: { SOCKETS: 50, RATE: 10, PEAK_RATE: 400, DURATION_SECONDS: 300, PUBLISHERS: 600 },
  'reconnect-storm': { SOCKETS: 500, RATE: 1, PEAK_RATE: 1, DURATION_SECONDS: 30, PUBLISHERS: 10 },
  'slow-consumer': { SOCKETS: 30, RATE: 10, PEAK_RATE: 10, DURATION_SECONDS: 30, PUBLISHERS: 40 },
};
