/** A page of the server's rows: the selection, the order, and the answer. */

import { effect, signal } from "@preact/signals";
import type { Rows } from "./answers";
import { type Unanswered, get } from "./api";
import { repeat } from "./repeated";

const EVERY = 3_000; // milliseconds
export const PAGE_SIZE = 50;

export type Order = "asc" | "desc";

export interface Query {
  search: string;
  sort: string;
  order: Order;
  offset: number;
  /** The other filters, by the server's names. */
  filters: Record<string, string>;
}

export class Listing<Row> {
  readonly query = signal<Query>({ search: "", sort: "", order: "asc", offset: 0, filters: {} });
  readonly answer = signal<Rows<Row> | null>(null);
  readonly failure = signal<Unanswered | null>(null);

  constructor(
    private readonly path: string,
    sort: string,
    order: Order,
  ) {
    this.change({ sort, order });
  }

  /** Change the request. Any change begins with the first page unless `offset` is given. */
  change(change: Partial<Query>): void {
    this.query.value = { ...this.query.peek(), offset: 0, ...change };
  }

  filter(name: string, value: string): void {
    this.change({ filters: { ...this.query.peek().filters, [name]: value } });
  }

  /** Ask now, after each change, and at intervals. Returns the function that stops this. */
  watch(): () => void {
    return effect(() => {
      const query = this.query.value;
      return repeat(() => this.ask(query), EVERY);
    });
  }

  /** Ask once more, since something has been done to a row. */
  refresh(): void {
    this.query.value = { ...this.query.peek() };
  }

  private async ask(query: Query): Promise<void> {
    const { filters, ...rest } = query;
    try {
      const answer = await get<Rows<Row>>(this.path, { ...rest, ...filters, limit: PAGE_SIZE });
      if (this.query.peek() !== query) return;
      this.answer.value = answer;
      this.failure.value = null;
      // Rows may disappear while the last page is shown.
      const last = Math.max(0, Math.ceil(answer.reachable / PAGE_SIZE) - 1) * PAGE_SIZE;
      if (query.offset > last) this.change({ offset: last });
    } catch (error) {
      if (this.query.peek() === query) this.failure.value = error as Unanswered;
    }
  }
}
