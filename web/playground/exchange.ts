/** The exchange of a project's state between pages when one connects or returns: the server stores none. */

import { type Entry, type Shared, readEntries } from "./shared";
import { isObject } from "./values";

const ANSWER_WITHIN = 250; // milliseconds
const LARGEST = 200_000; // characters of what one message carries

/** A part of a page's state. With a question, the page asks for the others' additional state. */
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

  /** Send the state of this page, except the state that every page begins with. */
  tell(asks: boolean): void {
    const parts = this.parts();
    parts.forEach((project, index) => this.send({ project, asks: asks && index === parts.length - 1 }));
  }

  /** Accept newer state. A question is answered by the first page that has more. */
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
