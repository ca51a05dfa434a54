/** Numbers, sizes and times as text. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

export const count = (value: number): string => whole.format(value);

/** So many of something: 1 project, 2,000 projects. */
export const counted = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Few digits, whatever the size: 0.4, 12, 3.4K. */
export const brief = (value: number): string =>
  value < 10 ? String(Math.round(value * 10) / 10) : value < 1_000 ? String(Math.round(value)) : short.format(value);

export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  return `${value < 9.95 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function milliseconds(seconds: number): string {
  const value = seconds * 1_000;
  return `${value < 9.95 ? value.toFixed(1) : count(value)} ms`;
}

export function percent(share: number): string {
  const value = share * 100;
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
}

/** How long something has been, in its two largest units. */
export function duration(seconds: number): string {
  const left = Math.max(0, Math.floor(seconds));
  const parts: [number, string][] = [
    [Math.floor(left / 86_400), "d"],
    [Math.floor(left / 3_600) % 24, "h"],
    [Math.floor(left / 60) % 60, "min"],
    [left % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first === -1) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

const clockOf = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minuteOf = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const momentOf = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const clock = (at: number): string => clockOf.format(at * 1_000);
/** A label of an axis. Full minutes have no seconds. */
export const marked = (at: number): string => (at % 60 === 0 ? minuteOf : clockOf).format(at * 1_000);
export const moment = (at: number): string => momentOf.format(at * 1_000);
