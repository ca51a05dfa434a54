/** The theme's colours for a canvas, which does not know the page's variables. */

import { effect } from "@preact/signals";
import { theme } from "../shared/theme";

const known = new Map<string, string>();
effect(() => {
  theme.value;
  known.clear();
});

/** What a CSS colour is in the theme of now. */
export function colour(css: string): string {
  let computed = known.get(css);
  if (computed === undefined) {
    const probe = document.createElement("span");
    probe.style.color = css;
    document.body.append(probe);
    computed = getComputedStyle(probe).color;
    probe.remove();
    known.set(css, computed);
  }
  return computed;
}
