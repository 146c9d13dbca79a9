// A page that a person reads, and the whole of it as JSON in RESULT_FILE.

interface Metric {
  values: Record<string, number>;
  thresholds?: Record<string, { ok: boolean }>;
}

/** Told without a bound: what the run did. */
const FIGURES = ['ws_sessions', 'ws_received', 'http_reqs', 'rounds_per_second', 'server_memory_mib', 'ws_slow_told'];

export function summarize(data: {
  metrics: Record<string, Metric>;
  state?: { testRunDurationMs?: number };
}): Record<string, string> {
  const lines: string[] = [];
  for (const name of Object.keys(data.metrics).sort()) {
    const metric = data.metrics[name];
    if (!metric?.thresholds) continue;
    for (const [bound, { ok }] of Object.entries(metric.thresholds)) {
      lines.push(`  ${ok ? 'ok  ' : 'FAIL'} ${name.padEnd(28)} ${bound.padEnd(14)} ${figures(metric.values)}`);
    }
  }
  for (const name of FIGURES) {
    const metric = data.metrics[name];
    if (metric && !metric.thresholds) lines.push(`       ${name.padEnd(28)} ${' '.repeat(14)} ${figures(metric.values)}`);
  }
  const seconds = Math.round((data.state?.testRunDurationMs ?? 0) / 1000);
  lines.push(`  ${seconds} s in all`);
  const files: Record<string, string> = { stdout: `${lines.join('\n')}\n` };
  if (__ENV.RESULT_FILE) files[__ENV.RESULT_FILE] = JSON.stringify(data, null, 2);
  return files;
}

function figures(values: Record<string, number>): string {
  // A counter's count says enough; a gauge has its last value.
  if (values.count !== undefined && values.med === undefined) return `count=${values.count}`;
  const shown = ['rate', 'value', 'med', 'p(95)', 'p(99)', 'max'].filter((key) => values[key] !== undefined);
  return shown.map((key) => `${key}=${round(values[key] ?? 0)}`).join(' ');
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
