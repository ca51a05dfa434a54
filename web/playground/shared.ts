/** The state of a project. The server only relays it: the members' pages keep it. */

import { type ReadonlySignal, computed, signal } from "@preact/signals";

/** A value with its id and the time of its last change, in milliseconds since 1970; null is one that was removed. */
export type Entry = [id: string, value: unknown, at: number];

interface Stamped<T> {
  value: T | null;
  at: number;
}

const MOST_AHEAD = 24 * 3_600_000; // milliseconds, since clocks differ

let latest = 0;

/** The time, later than any time seen before. */
function now(): number {
  latest = Math.max(latest + 1, Date.now());
  return latest;
}

/**
 * Values of one kind by their ids; of two that have one id the later counts, so pages that exchange theirs in any order
 * end up with the same. `seeds` are there on every page from the beginning, and older than anything else. `read` makes
 * a value of what came over the line, and undefined of what is none. A page keeps `most` of them, the removed included.
 */
export class Shared<T> {
  private readonly stamped = signal<ReadonlyMap<string, Stamped<T>>>(new Map());

  /** What has not been removed. */
  readonly all: ReadonlySignal<ReadonlyMap<string, T>> = computed(
    () => new Map([...this.stamped.value].flatMap(([id, { value }]) => (value === null ? [] : [[id, value] as const]))),
  );

  constructor(
    private readonly most: number,
    private readonly read: (value: unknown) => T | undefined,
    seeds: Record<string, T> = {},
  ) {
    this.stamped.value = new Map(Object.entries(seeds).map(([id, value]) => [id, { value, at: 0 }]));
  }

  get(id: string): T | undefined {
    return this.stamped.peek().get(id)?.value ?? undefined;
  }

  /** Change a value, or remove it with null. */
  set(id: string, value: T | null): void {
    const changed = new Map(this.stamped.peek());
    this.put(changed, id, { value, at: now() });
    this.stamped.value = changed;
  }

  /** Remove the value of an id that came over the line, also one that comes later from a page that still has it. */
  remove(id: string | undefined): void {
    if (id !== undefined) this.set(id, null);
  }

  /** Change a value to what came over the line, unless it is none. */
  receive(id: string | undefined, value: unknown): void {
    const read = this.read(value);
    if (id !== undefined && read !== undefined) this.set(id, read);
  }

  /** Add a value if there is room: a removed one makes room. */
  private put(values: Map<string, Stamped<T>>, id: string, stamped: Stamped<T>): void {
    if (!values.has(id) && values.size >= this.most) {
      const [removed] = [...values].find(([, { value }]) => value === null) ?? [];
      if (removed === undefined) return;
      values.delete(removed);
    }
    values.set(id, stamped);
  }

  /** All that is not as it was in the beginning. */
  entries(): Entry[] {
    return [...this.stamped.peek()].flatMap(([id, { value, at }]) => (at ? [[id, value, at] as Entry] : []));
  }

  /** Take those of another page's entries that are later than what is here; say whether any here is later than those. */
  merge(entries: Entry[]): boolean {
    const merged = new Map(this.stamped.peek());
    const theirs = new Map<string, number>();
    for (const [id, value, at] of entries) {
      theirs.set(id, at);
      const read = value === null ? null : this.read(value);
      if (read !== undefined && at > (merged.get(id)?.at ?? -1)) {
        this.put(merged, id, { value: read, at });
        latest = Math.max(latest, at);
      }
    }
    this.stamped.value = merged;
    return [...merged].some(([id, { at }]) => at > (theirs.get(id) ?? 0));
  }
}

/** The entries of a message, as far as they are some. */
export function readEntries(value: unknown): Entry[] {
  return Array.isArray(value) ? value.filter(isEntry) : [];
}

function isEntry(value: unknown): value is Entry {
  return Array.isArray(value) && typeof value[0] === "string" && isTime(value[2]);
}

/** Whether a value is a valid time: after a time far in the future, no change would count. */
function isTime(value: unknown): value is number {
  return typeof value === "number" && value <= Date.now() + MOST_AHEAD;
}
