/** Announcements for screen readers. */

import { signal } from "@preact/signals";

const said = signal("");

export function announce(words: string): void {
  said.value = words;
}

export function Announcements() {
  return (
    <p class="unseen" role="status">
      {said}
    </p>
  );
}
