/** The project's members, their cursors, and where they are typing. */

import { type Signal, signal } from "@preact/signals";
import type { Connection } from "./connection";
import { type Place, isObject, readName, readPlace } from "./values";

export interface User {
  userId: string;
  userName: string;
}

/** A user's selection in the document: from character to character. */
export interface Caret {
  by: string;
  from: number;
  to: number;
}

/** What is known of connections, by their ids. */
type BySocket<T> = Signal<ReadonlyMap<string, T>>;

const TYPING_LASTS = 5_000; // milliseconds, where nobody says that it is over

export class Presence {
  readonly users = signal<readonly User[]>([]);
  readonly pointers: BySocket<Place & { by: string }> = signal(new Map());
  readonly carets: BySocket<Caret> = signal(new Map());
  readonly selections: BySocket<{ by: string; cell: string }> = signal(new Map());
  readonly typing: BySocket<{ by: string; context: string }> = signal(new Map());

  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor({ socket }: Connection) {
    socket.on("users:active", ({ users }: { users: User[] }) => (this.users.value = users));
    socket.on("user:joined", ({ userId, userName }: User) => {
      if (!this.users.peek().some((user) => user.userId === userId))
        this.users.value = [...this.users.peek(), { userId, userName }];
    });
    socket.on("user:left", ({ socketId }: { socketId: string }) => this.forget(socketId));
    socket.on("disconnect", () => this.forgetAll());
    // The server adds only the id of the connection. The pages send the user.
    socket.on("canvas:cursor", ({ socketId, position }) => {
      if (!isObject(position)) return;
      const place = readPlace(position);
      put(this.pointers, socketId, place && { ...place, by: readName(position.by) });
    });
    socket.on("markdown:cursor", ({ socketId, position }) => {
      if (!isObject(position)) return;
      put(this.carets, socketId, readCaret(position));
    });
    socket.on("spreadsheet:selection", ({ socketId, selection }) => {
      if (!isObject(selection)) return;
      const { by, cell } = selection;
      put(this.selections, socketId, typeof cell === "string" ? { by: readName(by), cell } : undefined);
    });
    socket.on("typing:start", ({ socketId, userName, context }) => {
      if (typeof context !== "string") return;
      put(this.typing, socketId, { by: readName(userName), context });
      clearTimeout(this.timers.get(socketId));
      this.timers.set(socketId, setTimeout(() => put(this.typing, socketId, undefined), TYPING_LASTS));
    });
    socket.on("typing:stop", ({ socketId }) => put(this.typing, socketId, undefined));
  }

  private get all(): BySocket<unknown>[] {
    return [this.pointers, this.carets, this.selections, this.typing];
  }

  private forget(socketId: string): void {
    for (const known of this.all) put(known, socketId, undefined);
  }

  private forgetAll(): void {
    this.users.value = [];
    for (const known of this.all) known.value = new Map();
  }
}

function put<T>(known: BySocket<T>, socketId: string, value: T | undefined): void {
  if (value === undefined && !known.peek().has(socketId)) return;
  const changed = new Map(known.peek());
  if (value === undefined) changed.delete(socketId);
  else changed.set(socketId, value);
  known.value = changed;
}

function readCaret({ by, from, to }: Record<string, unknown>): Caret | undefined {
  if (!isPlace(from) || !isPlace(to)) return undefined;
  return { by: readName(by), from, to };
}

function isPlace(value: unknown): value is number {
  return typeof value === "number" && value >= 0;
}
