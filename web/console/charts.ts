/** The catalogue of charts: a new one is one more row. */

import type { Sample, Totals } from "./answers";
import { brief, count, milliseconds, percent, size } from "./formats";
import { type Line, type Merging, type Reading, type Total, busiest, rate } from "./series";

export interface ChartKind {
  title: string;
  /** The description of the values. */
  unit: string;
  merging: Merging;
  format: (value: number) => string;
  /** What to add to that where the values of several instances are added up. */
  ofSeveral?: string;
  /** Whether the values are whole numbers. */
  isWhole?: boolean;
  /** Whether the lines add up to something, which is then shown as well. */
  hasSum?: boolean;
  /** Whether only an instance with Redis has it. */
  isOfRedis?: boolean;
  /** `shown` are the names that it had before, which keep their places. */
  lines: (instances: Sample[][], shown: readonly string[]) => Line[];
}

const MOST_KINDS = 5;
/** The line of all kinds without their own. */
export const OTHERS = "other";

const aSecond = (value: number) => `${brief(value)}/s`;
const bytesASecond = (value: number) => `${size(value)}/s`;
const rated = (name: string, total: Total): Line => ({ name, reading: rate(total), total });
const state = (name: string, reading: Reading): Line => ({ name, reading });
const sum = (totals: Totals) => Object.values(totals).reduce((total, more) => total + more, 0);

export const CHARTS: readonly ChartKind[] = [
  {
    title: "Connections",
    unit: "open, by transport",
    merging: "sum",
    format: count,
    isWhole: true,
    hasSum: true,
    lines: () => [
      state("WebSocket", ({ connections }) => connections.websocket),
      state("polling", ({ connections }) => connections.polling),
    ],
  },
  {
    title: "Users",
    unit: "users, and projects in use",
    ofSeveral: "counted on each instance",
    merging: "sum",
    format: count,
    isWhole: true,
    lines: () => [state("users", ({ users }) => users), state("projects", ({ projects }) => projects)],
  },
  {
    title: "Events in",
    unit: "a second, by kind",
    merging: "sum",
    format: aSecond,
    hasSum: true,
    lines: (instances, shown) => kinds(instances, shown, ({ events }) => events),
  },
  {
    title: "Messages out",
    unit: "a second, to all clients",
    merging: "sum",
    format: aSecond,
    lines: () => [rated("messages out", ({ deliveries }) => deliveries)],
  },
  {
    title: "Traffic",
    unit: "bytes of messages a second",
    merging: "sum",
    format: bytesASecond,
    lines: () => [rated("in", ({ bytesIn }) => bytesIn), rated("out", ({ bytesOut }) => bytesOut)],
  },
  {
    title: "Delay",
    unit: "how late the server came to its work, at worst",
    ofSeveral: "of the slowest instance",
    merging: "worst",
    format: milliseconds,
    lines: () => [state("delay", ({ loopLag }) => loopLag)],
  },
  {
    title: "Processor",
    unit: "share of the one core that a server can use",
    ofSeveral: "of the busiest instance",
    merging: "worst",
    format: percent,
    lines: () => [state("processor", rate(({ cpu }) => cpu))],
  },
  {
    title: "Memory",
    unit: "in use by the server",
    ofSeveral: "all instances",
    merging: "sum",
    format: size,
    lines: () => [state("memory", ({ memory }) => memory)],
  },
  {
    title: "Refusals",
    unit: "a second: refused events, limits reached, attacks and faults",
    merging: "sum",
    format: aSecond,
    hasSum: true,
    lines: (instances, shown) => kinds(instances, shown, refusals),
  },
  {
    title: "Unsent data",
    unit: "held for clients that read slowly",
    merging: "sum",
    format: size,
    isWhole: true,
    lines: () => [state("unsent data", ({ waiting }) => waiting.bytes)],
  },
  {
    title: "Slow clients",
    unit: "how many, and what they lost a second",
    merging: "sum",
    format: brief,
    isWhole: true,
    lines: () => [
      state("slow clients", ({ waiting }) => waiting.clients),
      rated("messages dropped/s", ({ dropped }) => dropped),
      rated("clients cut off/s", ({ cutOff }) => cutOff),
    ],
  },
  {
    title: "Redis round trip",
    unit: "to Redis and back; nothing while Redis is unavailable",
    ofSeveral: "of the slowest instance",
    merging: "worst",
    format: milliseconds,
    isOfRedis: true,
    lines: () => [state("round trip", ({ redis }) => (redis?.isUp ? redis.roundTrip : null))],
  },
  {
    title: "Redis messages",
    unit: "a second",
    merging: "sum",
    format: aSecond,
    isOfRedis: true,
    lines: () => [
      rated("published", ({ redis }) => redis?.published),
      rated("received", ({ redis }) => redis?.received),
      rated("dropped", ({ redis }) => redis?.dropped),
    ],
  },
];

/** A line for each of the busiest kinds, and one for the rest. */
function kinds(instances: Sample[][], shown: readonly string[], totals: (sample: Sample) => Totals): Line[] {
  const known = busiest(instances, totals, Number.POSITIVE_INFINITY);
  const named = keepPlaces(shown, known.slice(0, MOST_KINDS));
  const rest = (sample: Sample) => {
    const all = totals(sample);
    return sum(all) - named.reduce((total, name) => total + (all[name] ?? 0), 0);
  };
  const lines = named.map((name) => rated(name, (sample) => totals(sample)[name]));
  return known.length > 0 && known.length <= MOST_KINDS ? lines : [...lines, rated(OTHERS, rest)];
}

/** Names in the places that they have, so that their colours stay; new ones where there is room. */
function keepPlaces(shown: readonly string[], names: readonly string[]): string[] {
  const fresh = names.filter((name) => !shown.includes(name));
  const places = shown.filter((name) => name !== OTHERS).map((name) => (names.includes(name) ? name : fresh.shift()));
  return [...places, ...fresh].filter((name) => name !== undefined);
}

function refusals({ refused, limits, incidents }: Sample): Totals {
  const named: Totals = { "refused events": refused };
  for (const [name, total] of Object.entries(limits)) named[`limit: ${name}`] = total;
  for (const [name, total] of Object.entries(incidents)) named[name] = total;
  return named;
}
