/** The server's instances, of which one or all are looked at. */

import type { Instance, SilentInstance } from "./answers";
import { chosen, instances, isAnswering, serverTime } from "./feed";
import { count, duration } from "./formats";

export function Instances() {
  const all = instances.value;
  const [first] = all;
  if (first === undefined) return null;
  if (all.length === 1)
    return (
      <div class="instances">
        <p class="instance">
          <Details instance={first} />
        </p>
      </div>
    );
  return (
    <div class="instances" role="group" aria-label="Instances">
      <button type="button" aria-pressed={chosen.value === null} onClick={() => (chosen.value = null)}>
        All {count(all.length)} instances
      </button>
      {all.map((instance) => (
        <button
          key={instance.id}
          type="button"
          class="instance"
          aria-pressed={chosen.value === instance.id}
          onClick={() => (chosen.value = instance.id)}
        >
          <Details instance={instance} />
        </button>
      ))}
    </div>
  );
}

const KINDS = { healthy: "good", degraded: "warned", "shutting down": "warned" };

function Details({ instance }: { instance: Instance | SilentInstance }) {
  if (instance.unanswered || !isAnswering.value)
    return (
      <>
        <span class="dot bad" aria-hidden="true" />
        <strong>{instance.name}</strong> <span>does not answer</span>
      </>
    );
  const { name, status, version, startedAt, isThis } = instance;
  return (
    <>
      <span class={`dot ${KINDS[status]}`} aria-hidden="true" />
      <strong>{name}</strong>
      <span>{status}</span>
      <span>{version}</span>
      <span>up {duration(serverTime.value - startedAt)}</span>
      {isThis && instances.value.length > 1 && <span>serves this page</span>}
    </>
  );
}
