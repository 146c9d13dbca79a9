import { pointAt } from "../state/past";
import type { ChartLine, Span } from "./Chart.svelte";

type Column = (number | null | undefined)[];

/**
 * The lines in the columns of a plot: one of times, then last, least and greatest of each line. Where a line has nothing
 * to say its value is undefined, which breaks no line. Lines with stairs go from edge to edge of the span.
 */
export function aligned(lines: readonly ChartLine[], span: Span): Column[] {
  const times = new Set<number>();
  const endMs = Math.min(span.toMs, Date.now());
  for (const line of lines) {
    for (const point of line.points) times.add(point.atMs);
    if (!line.stairs) continue;
    if (pointAt(line.points, endMs)) times.add(endMs);
    if (pointAt(line.points, span.fromMs)) times.add(span.fromMs);
  }
  const xs = [...times].sort((a, b) => a - b);
  const place = new Map(xs.map((atMs, index) => [atMs, index]));
  const columns: Column[] = [xs.map((atMs) => atMs / 1000)];
  for (const line of lines) {
    const [last, min, max]: [Column, Column, Column] = [new Array(xs.length), new Array(xs.length), new Array(xs.length)];
    for (const point of line.points) {
      const at = place.get(point.atMs)!;
      [last[at], min[at], max[at]] = [point.last, point.min, point.max];
    }
    // What held when the span began, and what holds at its end.
    for (const edgeMs of line.stairs ? [span.fromMs, endMs] : []) {
      const [held, at] = [pointAt(line.points, edgeMs), place.get(edgeMs)];
      if (held && at !== undefined && last[at] === undefined) last[at] = min[at] = max[at] = held.last;
    }
    columns.push(last, min, max);
  }
  return columns;
}

/** What a line is at a moment: the value that held, or between two points the one on the slope. */
export function heightAt({ points, stairs }: ChartLine, atMs: number): number | null {
  const before = pointAt(points, atMs);
  const last = points.at(-1);
  if (!before || !last || (!stairs && atMs > last.atMs)) return null;
  const after = stairs ? undefined : points.find((point) => point.atMs > atMs);
  return after ? before.last + ((after.last - before.last) * (atMs - before.atMs)) / (after.atMs - before.atMs) : before.last;
}

/** Every line as its change in percent since the first value in the span, so that lines of any height can be compared. */
export function relative(lines: readonly ChartLine[], span: Span): ChartLine[] {
  return lines.map((line) => {
    const before = line.points.findLast((point) => point.atMs <= span.fromMs);
    const base = (before ?? line.points[0])?.last;
    if (!base) return { ...line, points: [] };
    const share = (value: number): number => (value / base - 1) * 100;
    return { ...line, points: line.points.map(({ atMs, last, min, max }) => ({ atMs, last: share(last), min: share(min), max: share(max) })) };
  });
}
