// A page that a person reads, and the whole of it as JSON in RESULT_FILE.

interface Metric {
  values: Record<string, number>;
  thresholds?: Record<string, { ok: boolean }>;
}

export function summarize(data: { metrics: Record<string, Metric> }): Record<string, string> {
  const lines: string[] = [];
  for (const name of Object.keys(data.metrics).sort()) {
    const metric = data.metrics[name];
    if (!metric?.thresholds) continue;
    for (const [bound, { ok }] of Object.entries(metric.thresholds)) {
      lines.push(`  ${ok ? 'ok  ' : 'FAIL'} ${name.padEnd(22)} ${bound.padEnd(14)} ${figures(metric.values)}`);
    }
  }
  const files: Record<string, string> = { stdout: `${lines.join('\n')}\n` };
  if (__ENV.RESULT_FILE) files[__ENV.RESULT_FILE] = JSON.stringify(data, null, 2);
  return files;
}

function figures(values: Record<string, number>): string {
  const shown = ['rate', 'count', 'med', 'p(95)', 'max'].filter((key) => values[key] !== undefined);
  // A counter's rate and a rate's passes say nothing more here.
  if (values.count !== undefined && values.med === undefined) return `count=${values.count}`;
  return shown.map((key) => `${key}=${round(values[key] ?? 0)}`).join(' ');
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
