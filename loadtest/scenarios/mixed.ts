// Mixed: the REST API at a pace. Lists, single items and changes of stock, as a shop's back end asks for them.
import { check } from 'k6';
import http from 'k6/http';
import type { Options } from 'k6/options';
import { BASE_URL, HEADERS, number } from '../lib/config.ts';
import { summaryTrendStats } from '../lib/run.ts';
import { summarize } from '../lib/summary.ts';

const RATE = number('RATE', 1000);
const SECONDS = number('DURATION_SECONDS', 30);
/** Ids of the items that are there, one after the other. */
const ITEMS = number('ITEMS', 10000);
const FIRST_ITEM = number('FIRST_ITEM', 1);
/** Of a hundred requests; of the others two in three are lists. */
const WRITES = number('WRITES', 10);
const P95_MS = number('P95_MS', 5);

export const options: Options = {
  // Answers are parsed where they are looked at, and thrown away elsewhere.
  discardResponseBodies: true,
  scenarios: {
    mixed: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      timeUnit: '1s',
      duration: `${SECONDS}s`,
      preAllocatedVUs: number('CLIENTS', 50),
      maxVUs: 200,
    },
  },
  thresholds: {
    http_req_duration: [`p(95)<${P95_MS}`],
    'http_req_duration{kind:list}': [`p(95)<${P95_MS}`],
    'http_req_duration{kind:item}': [`p(95)<${P95_MS}`],
    'http_req_duration{kind:write}': [`p(95)<${10 * P95_MS}`],
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
  },
  summaryTrendStats,
};

const items = `${BASE_URL}/api/v1/inventory`;
const below = (most: number) => Math.floor(Math.random() * most);

/** What the lists are asked for; some by many, as on a front page, some by few. */
function list(): string {
  switch (below(5)) {
    case 0:
      return `?limit=20`;
    case 1:
      return `?limit=20&page=${1 + below(Math.max(1, ITEMS / 20))}`;
    case 2:
      return `?limit=20&category=Category%20${below(20)}&active=true`;
    case 3:
      return `?limit=50&fields=light&page=${1 + below(10)}`;
    default:
      return `?limit=20&low_stock=true`;
  }
}

export default function () {
  const url = `${items}/${FIRST_ITEM + below(ITEMS)}`;
  if (below(100) < WRITES) {
    const answer = http.post(`${url}/adjust`, '{"delta": 1}', { headers: HEADERS, tags: { kind: 'write', name: 'adjust' } });
    check(answer, { changed: ({ status }) => status === 200 });
  } else if (below(3) < 2) {
    const answer = http.get(items + list(), { headers: HEADERS, tags: { kind: 'list', name: 'list' } });
    check(answer, { listed: ({ status }) => status === 200 });
  } else {
    const answer = http.get(url, { headers: HEADERS, tags: { kind: 'item', name: 'item' } });
    check(answer, { found: ({ status }) => status === 200 });
  }
}

export function handleSummary(data: Parameters<typeof summarize>[0]) {
  return summarize(data);
}
