/** The server's samples every two seconds, and whether they come. */

import { computed, effect, signal } from "@preact/signals";
import type { Instance, Overview, SilentInstance } from "./answers";
import { type Unanswered, asksForToken, get } from "./api";
import { History } from "./history";
import { repeat } from "./repeated";

const EVERY = 2_000; // milliseconds
const QUIET_AFTER = 6; // seconds

const history = new History();

/** What came last, null until something has; the history is another one whenever this is. */
export const overview = signal<Overview | null>(null);
/** Why there is no answer now; null where there is one. */
export const failure = signal<Unanswered | null>(null);
/** The instance that is looked at; null for all of them. */
export const chosen = signal<string | null>(null);
/** The page's own clock, in seconds; it ticks once a second. */
export const now = signal(performance.now() / 1_000);

const answeredAt = signal(0);
/** Since when the tab has been shown: before that, nothing was asked. */
const shownAt = signal(0);

export const instances = computed<(Instance | SilentInstance)[]>(() => overview.value?.instances ?? []);
/** How long nothing has come though it was asked for, in seconds. */
export const quietFor = computed(() => Math.max(0, Math.round(now.value - Math.max(answeredAt.value, shownAt.value))));
/** Whether the shown data is current. */
export const isAnswering = computed(
  () => overview.value !== null && failure.value === null && quietFor.value <= QUIET_AFTER,
);
/** The server's clock, as far as it is known. */
export const serverTime = computed(() =>
  overview.value ? history.newest() + Math.max(0, now.value - answeredAt.value) : 0,
);
/** The samples of the instances that are looked at. */
export const samples = computed(() => (overview.value ? history.of(chosen.value) : []));

export function nameOf(id: string): string {
  return instances.value.find((instance) => instance.id === id)?.name ?? id;
}

/** The message that instances have not answered, without a full stop. */
export function silent(ids: string[]): string {
  return `${ids.map(nameOf).join(", ")} ${ids.length === 1 ? "has" : "have"} not answered`;
}

/** Start, and continue while the page is open and signed in. */
export function start(): void {
  setInterval(tick, 1_000);
  document.addEventListener("visibilitychange", () => (shownAt.value = tick()));
  effect(() => (asksForToken.value === null ? repeat(ask, EVERY) : undefined));
}

function tick(): number {
  return (now.value = performance.now() / 1_000);
}

async function ask(): Promise<void> {
  try {
    const answer = await get<Overview>("overview", { after: history.known() });
    history.add(answer);
    answeredAt.value = tick();
    overview.value = answer;
    failure.value = null;
    if (!answer.instances.some(({ id }) => id === chosen.value)) chosen.value = null;
  } catch (error) {
    failure.value = error as Unanswered;
  }
}
