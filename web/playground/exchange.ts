/** What pages tell each other of a project when one of them comes, or comes back: the server has nothing to tell. */

import { type Entry, type Shared, readEntries } from "./shared";
import { isObject } from "./values";

const ANSWER_WITHIN = 250; // milliseconds
const LARGEST = 200_000; // characters of what one message carries

/** A part of what a page has; one that asks wants what others have besides. */
interface Told {
  project: Record<string, Entry[]>;
  asks: boolean;
}

export class Exchange {
  private answering: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly kinds: Record<string, Shared<unknown>>,
    private readonly send: (told: Told) => void,
  ) {}

  /** Tell what is here and is not on every page from the beginning. */
  tell(asks: boolean): void {
    const parts = this.parts();
    parts.forEach((project, index) => this.send({ project, asks: asks && index === parts.length - 1 }));
  }

  /** Take what is later than what is here. Where a page asks, one of those that have more answers, the first to do so. */
  receive({ project, asks }: Record<string, unknown>): void {
    if (!isObject(project)) return;
    let more = false;
    for (const [kind, shared] of Object.entries(this.kinds)) more = shared.merge(readEntries(project[kind])) || more;
    if (asks === true && !more) return;
    clearTimeout(this.answering);
    if (asks === true) this.answering = setTimeout(() => this.tell(false), Math.random() * ANSWER_WITHIN);
  }

  private parts(): Record<string, Entry[]>[] {
    let part: Record<string, Entry[]> = {};
    const parts = [part];
    let size = 0;
    for (const [kind, shared] of Object.entries(this.kinds))
      for (const entry of shared.entries()) {
        size += JSON.stringify(entry).length;
        if (size > LARGEST) {
          parts.push((part = {}));
          size = 0;
        }
        (part[kind] ??= []).push(entry);
      }
    return parts;
  }
}
