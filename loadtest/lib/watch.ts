// Looks at the server's own figures while a run goes on: memory and files that only grow are a leak.
import { check } from 'k6';
import http from 'k6/http';
import { Gauge, Trend } from 'k6/metrics';
import { BASE_URL, HEADERS } from './config.ts';

const memory = new Gauge('server_memory_mib');
const memoryGrowth = new Trend('server_memory_growth_percent');
const filesGrowth = new Trend('server_files_growth');

/** The first look, which later ones are compared with. One VU watches, so this is the run's. */
let first: { bytes: number; files: number } | undefined;

export function watch() {
  const answer = http.get(`${BASE_URL}/metrics`, { headers: HEADERS, tags: { name: 'metrics' } });
  const text = String(answer.body);
  const bytes = figure(text, 'process_resident_memory_bytes');
  const files = figure(text, 'process_open_fds');
  if (!check(answer, { 'server watched': () => bytes !== undefined && files !== undefined })) return;
  if (bytes === undefined || files === undefined) return;
  memory.add(bytes / (1 << 20));
  first ??= { bytes, files };
  memoryGrowth.add((bytes / first.bytes - 1) * 100);
  filesGrowth.add(files - first.files);
}

function figure(text: string, name: string): number | undefined {
  const found = new RegExp(`^${name} ([0-9.e+]+)`, 'm').exec(text);
  return found ? Number(found[1]) : undefined;
}
