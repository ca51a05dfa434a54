/** The state of the connection, as a short text. */

import type { Connection } from "./connection";

const TRANSPORTS: Record<string, string> = { websocket: "WebSocket", polling: "long-polling", webtransport: "WebTransport" };

export function Status({ connection }: { connection: Connection }) {
  const [kind, words] = describe(connection);
  return (
    <p class={`status ${kind}`} data-state={connection.state.value}>
      <span class="light" aria-hidden="true" />
      {words}
      {kind === "good" && (
        <span class="details">
          <span title="The transport that Socket.IO is on">{TRANSPORTS[connection.transport.value]}</span>
          <span title="From a ping to its pong">{milliseconds(connection.latency.value)}</span>
        </span>
      )}
    </p>
  );
}

function describe(connection: Connection): [kind: string, words: string] {
  switch (connection.state.value) {
    case "connected":
      return connection.quietFor.value > 0
        ? ["warned", `No answer for ${connection.quietFor.value} s`]
        : ["good", "Connected"];
    case "refused":
      return ["bad", "Refused"];
    case "lost":
      return ["bad", "Connection lost"];
    case "connecting":
      return ["warned", connection.attempt.value > 0 ? `Connecting, attempt ${connection.attempt.value}` : "Connecting"];
  }
}

function milliseconds(latency: number | null): string {
  if (latency === null) return "…";
  return latency < 10 ? `${latency.toFixed(1)} ms` : `${Math.round(latency)} ms`;
}
