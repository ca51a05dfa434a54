/** What there is to say: that the connection is lost or back, what the server refuses, what its operators announce. */

import type { Connection } from "./connection";
import type { Project } from "./project";

export function Notice({ project }: { project: Project }) {
  const { connection, refusal, told } = project;
  const refused = connection.isConnected.value ? refusal.value : null;
  const [kind, words] = refused ? ["bad", `The server refuses: ${refused.message}`] : describe(connection);
  const tryAgain = refused?.isOfProject
    ? () => project.join()
    : connection.state.value === "refused" && (() => connection.connect());
  return (
    <div role="status" class="notices">
      {words && (
        <p class={`notice ${kind}`}>
          {words}
          {tryAgain && (
            <button type="button" class="quiet" onClick={tryAgain}>
              Try again
            </button>
          )}
        </p>
      )}
      {told.value !== null && (
        <p class="notice told">
          <span>
            <strong>From the server:</strong> {told.value}
          </span>
          <button type="button" class="quiet" onClick={() => (told.value = null)}>
            Dismiss
          </button>
        </p>
      )}
    </div>
  );
}

function describe(connection: Connection): [kind: string, words: string] {
  const { state, why, attempt, wasAwayFor } = connection;
  switch (state.value) {
    case "lost": {
      const trying = attempt.value > 0 ? `Trying to come back, attempt ${attempt.value}.` : "Trying to come back.";
      return ["bad", `The connection is lost: ${sentence(why.value)} ${trying} What you do stays on this page until then.`];
    }
    case "refused":
      return ["bad", `The server does not let you in: ${why.value}`];
    case "connected":
      return wasAwayFor.value === null
        ? ["", ""]
        : ["good", `Back after ${wasAwayFor.value.toFixed(1)} s. The others have been told what was done here meanwhile.`];
    case "connecting":
      return ["", ""];
  }
}

function sentence(words: string): string {
  return words.endsWith(".") ? words : `${words}.`;
}
