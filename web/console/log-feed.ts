/** The newest entries of the log, as they come. */

import { effect, signal } from "@preact/signals";
import type { Entry, Level, LogPart } from "./answers";
import { type Unanswered, get } from "./api";
import { repeat } from "./repeated";

const EVERY = 1_000; // milliseconds
const KEPT = 1_000; // entries

/** Its number is the page's own. */
export type NumberedEntry = Entry & { number: number };

export class LogFeed {
  readonly entries = signal<readonly NumberedEntry[]>([]);
  readonly failure = signal<Unanswered | null>(null);
  readonly isPaused = signal(false);
  /** The least level that is shown, and the instance whose entries they are; all where that is empty. */
  readonly query = signal<{ level: Level; instance: string }>({ level: "info", instance: "" });

  private cursor = "";
  private count = 0;

  /** Start again with the entries of another level or instance. */
  change(change: Partial<{ level: Level; instance: string }>): void {
    this.entries.value = [];
    this.cursor = "";
    this.query.value = { ...this.query.peek(), ...change };
  }

  /** Ask for new entries, now and every second unless paused. Returns the function that stops this. */
  watch(): () => void {
    return effect(() => {
      const query = this.query.value;
      return this.isPaused.value ? undefined : repeat(() => this.ask(query), EVERY);
    });
  }

  private async ask(query: { level: Level; instance: string }): Promise<void> {
    try {
      const { cursor, entries } = await get<LogPart>("log", { after: this.cursor, ...query });
      if (this.query.peek() !== query) return;
      this.cursor = cursor;
      this.failure.value = null;
      if (entries.length === 0) return;
      const numbered = entries.map((entry) => ({ ...entry, number: this.count++ }));
      this.entries.value = [...this.entries.peek(), ...numbered].slice(-KEPT);
    } catch (error) {
      if (this.query.peek() === query) this.failure.value = error as Unanswered;
    }
  }
}
