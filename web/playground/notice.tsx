/** Notices: a lost or restored connection, refusals of the server, and announcements of its operators. */

import type { Connection, State } from "./connection";
import type { Project } from "./project";

export function Notice({ project }: { project: Project }) {
  const { connection, refusal, told } = project;
  const refused = connection.isConnected.value ? refusal.value : null;
  const [kind, words] = refused ? ["bad", `The server refuses: ${refused.message}`] : describe(connection);
  const button = refused?.isOfProject
    ? { name: "Try again", act: () => project.join() }
    : BUTTONS[connection.state.value]?.(connection);
  return (
    <div role="status" class="notices">
      {words && (
        <p class={`notice ${kind}`}>
          {words}
          {button && (
            <button type="button" class="quiet" onClick={button.act}>
              {button.name}
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

interface Button {
  name: string;
  act: () => void;
}

const BUTTONS: Partial<Record<State, (connection: Connection) => Button>> = {
  lost: (connection) => ({ name: "Try now", act: () => connection.connectNow() }),
  refused: (connection) => ({ name: "Try again", act: () => connection.connect() }),
};

function describe(connection: Connection): [kind: string, words: string] {
  const { state, why, attempt, wasAwayFor, missed } = connection;
  switch (state.value) {
    case "lost": {
      const tries = attempt.value > 0 ? ` (attempt ${attempt.value})` : "";
      return ["bad", `The connection is lost. ${sentence(why.value)} The page tries to connect again${tries}. What you do meanwhile is kept here, and sent then.`];
    }
    case "refused":
      return ["bad", `The server does not let you in: ${why.value}`];
    case "connected":
      return wasAwayFor.value === null
        ? ["", ""]
        : ["good", `Connected again after ${wasAwayFor.value.toFixed(1)} s.${arrived(missed.value)} The others have what you did meanwhile.`];
    case "connecting":
      return ["", ""];
  }
}

function arrived(missed: number | null): string {
  if (missed === null) return "";
  if (missed === 0) return " Nothing was missed.";
  return missed === 1 ? " 1 missed event has arrived." : ` ${missed} missed events have arrived.`;
}

function sentence(words: string): string {
  return words.endsWith(".") ? words : `${words}.`;
}
