/** Lines for charts, made of samples. */

import type { Sample, Totals } from "./answers";

/** What a line shows of one sample, by the one before where there is one; null where there is nothing to show. */
export type Reading = (now: Sample, before: Sample | undefined) => number | null;

/** How the readings of several instances become one. */
export type Merging = "sum" | "worst";

export interface Line {
  name: string;
  reading: Reading;
  /** What the reading is the rate of, where it is one. */
  total?: Total;
}

export type Total = (sample: Sample) => number | undefined;

/** The times of all samples, and the values of each line at these times. */
export interface Table {
  times: number[];
  lines: (number | null)[][];
}

/** By how much a total grew in a second. */
export const rate =
  (total: Total): Reading =>
  (now, before) =>
    before === undefined ? null : ((total(now) ?? 0) - (total(before) ?? 0)) / (now.at - before.at);

/**
 * What several instances did, at the time of each sample of any of them. Between two of its samples an instance counts
 * with the earlier one, for `hold` seconds at most: after that it is not there.
 */
export function merge(instances: Sample[][], times: number[], lines: Line[], merging: Merging, hold: number): Table {
  const places = instances.map((samples) => placesOf(samples, times, hold));
  const merged = lines.map(({ reading }) => {
    const values = Array<number | null>(times.length).fill(null);
    instances.forEach((samples, instance) => {
      const readings = samples.map((now, index) => reading(now, samples[index - 1]));
      places[instance]?.forEach((place, column) => {
        const value = readings[place] ?? null;
        const other = values[column] ?? null;
        if (value === null) return;
        values[column] = other === null ? value : merging === "sum" ? other + value : Math.max(other, value);
      });
    });
    return values;
  });
  return { times, lines: merged };
}

/** Which sample counts at each time; -1 where there is none. */
function placesOf(samples: Sample[], times: number[], hold: number): number[] {
  let last = -1;
  return times.map((time) => {
    if ((samples[last + 1]?.at ?? Number.POSITIVE_INFINITY) <= time) last += 1;
    return time - (samples[last]?.at ?? Number.NEGATIVE_INFINITY) > hold ? -1 : last;
  });
}

/** The times of all samples, in their order, and one in each gap longer than `hold`, at which there is nothing. */
export function timesOf(instances: Sample[][], hold: number): number[] {
  const times = [...new Set(instances.flatMap((samples) => samples.map(({ at }) => at)))].sort((a, b) => a - b);
  return times.flatMap((time, column) => {
    const next = times[column + 1] ?? time;
    return next - time > 1.1 * hold ? [time, time + 1.05 * hold] : [time];
  });
}

/** By how much a total has grown from the first sample to the last, over all instances. */
export function growth(instances: Sample[][], total: Total): number {
  const grown = instances.map((samples) => {
    const [first, last] = [samples[0], samples.at(-1)];
    return first && last ? (total(last) ?? 0) - (total(first) ?? 0) : 0;
  });
  return grown.reduce((sum, more) => sum + more, 0);
}

/** Names whose totals grew most, the busiest first, `most` of them at most. */
export function busiest(instances: Sample[][], totals: (sample: Sample) => Totals, most: number): string[] {
  const names = new Set(instances.flatMap((samples) => samples.slice(-1).flatMap((last) => Object.keys(totals(last)))));
  return [...names]
    .map((name) => ({ name, grown: growth(instances, (sample) => totals(sample)[name]) }))
    .filter(({ grown }) => grown > 0)
    .sort((a, b) => b.grown - a.grown || (a.name < b.name ? -1 : 1))
    .slice(0, most)
    .map(({ name }) => name);
}
