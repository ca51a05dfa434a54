/** The latest events of the connection. */

import { type Signal, signal } from "@preact/signals";
import type { Socket } from "socket.io-client";

/** Several of one name and direction, one after the other, are one entry. */
export interface Passed {
  event: string;
  sent: boolean;
  times: number;
}

const SHOWN = 6;

export function traffic(socket: Socket): Signal<readonly Passed[]> {
  const latest = signal<readonly Passed[]>([]);
  const add = (event: string, sent: boolean) => {
    if (event === "ping" || event === "pong") return;
    const [first, ...others] = latest.peek();
    latest.value =
      first?.event === event && first.sent === sent
        ? [{ ...first, times: first.times + 1 }, ...others]
        : [{ event, sent, times: 1 }, ...latest.peek()].slice(0, SHOWN);
  };
  socket.onAny((event: string) => add(event, false));
  socket.onAnyOutgoing((event: string) => add(event, true));
  return latest;
}
