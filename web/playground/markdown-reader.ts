/** Has a worker read Markdown, so that no text holds the page up. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { Token } from "marked";
import type { Said } from "./markdown-worker";

/** A text and its tokens; null where it has none that a page could draw in time. */
export interface Read {
  text: string;
  tokens: Token[] | null;
}

const WITHIN = 1_000; // milliseconds for one text
const PAUSE = 3_000; // after a text that took longer, so that the next one of its kind costs little

export class MarkdownReader {
  /** The latest text that was parsed or aborted. */
  readonly read: ReadonlySignal<Read>;

  private readonly latest = signal<Read>({ text: "", tokens: [] });
  private worker: Worker | undefined;
  private wanted: string | undefined;
  private underWay: string | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isPausing = false;

  constructor() {
    this.read = this.latest;
  }

  /** Read a text, or the last of several that come while another is being read. */
  want(text: string): void {
    this.wanted = text;
    this.next();
  }

  private next(): void {
    if (this.wanted === undefined || this.underWay !== undefined || this.isPausing) return;
    this.underWay = this.wanted;
    this.wanted = undefined;
    this.worker ??= this.start();
    this.worker.postMessage(this.underWay);
  }

  private start(): Worker {
    const worker = new Worker(new URL("./markdown-worker.ts", import.meta.url), { type: "module" });
    worker.addEventListener("message", ({ data }: MessageEvent<Said>) => {
      if (data === "begun") this.timer = setTimeout(() => this.giveUp(), WITHIN);
      else this.end(data);
    });
    worker.addEventListener("error", () => this.giveUp());
    return worker;
  }

  private giveUp(): void {
    this.worker?.terminate();
    this.worker = undefined;
    this.isPausing = true;
    setTimeout(() => {
      this.isPausing = false;
      this.next();
    }, PAUSE);
    this.end(null);
  }

  private end(tokens: Token[] | null): void {
    clearTimeout(this.timer);
    this.latest.value = { text: this.underWay ?? "", tokens };
    this.underWay = undefined;
    this.next();
  }
}
