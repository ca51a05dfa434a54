/** The current view, in the page's address, so that links and the back button work. */

import { computed, signal } from "@preact/signals";

const hash = signal(location.hash);
addEventListener("hashchange", () => (hash.value = location.hash));

/** The name of the view that is asked for. */
export const viewName = computed(() => hash.value.slice(1).split("/", 1)[0] ?? "");
/** What of it is opened; null for all of it. */
export const part = computed(() => {
  const [, ...rest] = hash.value.split("/");
  try {
    return rest.length > 0 ? decodeURIComponent(rest.join("/")) : null;
  } catch {
    return null; // typed by a user
  }
});

export function addressOf(view: string, part: string): string {
  try {
    return `#${view}/${encodeURIComponent(part)}`;
  } catch {
    return `#${view}`; // half a character, which no address can hold
  }
}
