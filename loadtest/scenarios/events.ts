// Learning events: batches of 100 as fast as they are acknowledged, then single events at a rate in an open model.
// Started for each system by loadtest/progress-throughput.
import { check } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import type { Options } from 'k6/options';
import { BASE_URL, HEADERS, number } from '../lib/config.ts';
import { summaryTrendStats } from '../lib/run.ts';

export { summarize as handleSummary } from '../lib/summary.ts';

const SECONDS = number('DURATION_SECONDS', 10);
const RATE = number('RATE', 2000);
const BATCH = 100;
/** The bound for single events, in milliseconds; a system that is only compared with gets another. */
const SINGLE_P99_MS = number('SINGLE_P99_MS', 50);

export const options: Options = {
  scenarios: {
    full: { executor: 'constant-vus', exec: 'full', vus: number('CONNECTIONS', 8), duration: `${SECONDS}s` },
    paced: {
      executor: 'constant-arrival-rate',
      exec: 'paced',
      // When what the first part left has been worked off.
      startTime: `${2 * SECONDS + 10}s`,
      rate: RATE,
      timeUnit: '1s',
      duration: `${SECONDS}s`,
      preAllocatedVUs: 200,
    },
  },
  thresholds: {
    checks: ['rate>0.999'],
    'iterations{scenario:full}': ['count>0'],
    'http_req_duration{scenario:full}': ['max>0'],
    'http_req_duration{scenario:paced}': [`p(99)<${SINGLE_P99_MS}`],
    dropped_iterations: ['count==0'],
  },
  summaryTrendStats,
};

/** What stands where an event's own id belongs. */
const ID = '\u0001';

/** As a notebook's extension sends it; a class of 500 works on 40 cells, every eighth run fails. */
function event(n: number): object {
  const failed = n % 8 === 0;
  return {
    eventId: `${ID}${n}`,
    eventType: 'cell_executed',
    eventTime: new Date(1_795_000_000_000 + n * 1000).toISOString(),
    emailAddress: `student${n % 500}@example.com`,
    teamName: 'チームA',
    userName: `学生${n % 500}`,
    sessionId: `session-${n % 500}`,
    notebookPath: 'week1/demo.ipynb',
    cellId: `cell-${n % 40}`,
    cellIndex: n % 40,
    cellType: 'code',
    code: `x = ${n}\nprint(x)`,
    executionCount: 1,
    hasError: failed,
    ...(failed ? { errorMessage: 'ZeroDivisionError: division by zero' } : {}),
    result: '',
    executionDurationMs: n % 97,
  };
}

/** Bodies are cut where the id belongs, so that making one is a single join. */
function body(first: number, count: number): string[] {
  const events = Array.from({ length: count }, (_, i) => event(first + i));
  return JSON.stringify(events).split(JSON.stringify(ID).slice(1, -1));
}

const batches = Array.from({ length: 5 }, (_, i) => body(i * BATCH, BATCH));
const singles = Array.from({ length: 50 }, (_, i) => body(i * 7, 1));
const run = `k6-${Date.now().toString(36)}`;

function post(bodies: string[][]) {
  const at = exec.scenario.iterationInTest;
  const parts = bodies[at % bodies.length] as string[];
  const answer = http.post(`${BASE_URL}/api/v1/events`, parts.join(`${run}-${exec.vu.idInTest}-${at}-`), {
    headers: HEADERS,
  });
  check(answer, { accepted: (r) => r.status === 202 });
}

export function full() {
  post(batches);
}

export function paced() {
  post(singles);
}
