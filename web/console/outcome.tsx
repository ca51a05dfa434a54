/** The result of the last action. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";

const SHOWN = 10_000; // milliseconds

const outcome = signal<{ kind: "good" | "bad"; words: ComponentChildren } | null>(null);
let forgetting: ReturnType<typeof setTimeout> | undefined;

export function tell(kind: "good" | "bad", words: ComponentChildren): void {
  outcome.value = { kind, words };
  clearTimeout(forgetting);
  forgetting = setTimeout(() => (outcome.value = null), SHOWN);
}

export function Outcome() {
  return (
    <div role="status" class="outcome">
      {outcome.value && <p class={`notice ${outcome.value.kind}`}>{outcome.value.words}</p>}
    </div>
  );
}
