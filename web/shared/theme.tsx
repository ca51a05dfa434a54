/** Light or dark: as in the system, until the user chooses. The choice applies to all pages of this browser. */

import { signal } from "@preact/signals";

type Theme = "light" | "dark";
const KEY = "synkora-theme";

const system = matchMedia("(prefers-color-scheme: dark)");
export const theme = signal<Theme>(chosen() ?? preferred());
theme.subscribe((name) => (document.documentElement.dataset.theme = name));
system.addEventListener("change", () => (theme.value = chosen() ?? preferred()));
addEventListener("storage", () => (theme.value = chosen() ?? preferred()));

function preferred(): Theme {
  return system.matches ? "dark" : "light";
}

function chosen(): Theme | null {
  const name = localStorage.getItem(KEY);
  return name === "light" || name === "dark" ? name : null;
}

export function ThemeButton() {
  const other = theme.value === "dark" ? "light" : "dark";
  const choose = () => {
    theme.value = other;
    localStorage.setItem(KEY, other);
  };
  return (
    <button type="button" class="icon" title={`Use the ${other} theme`} aria-label={`Use the ${other} theme`} onClick={choose}>
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <circle cx="10" cy="10" r="7" />
        <path d="M10 3a7 7 0 0 1 0 14z" />
      </svg>
    </button>
  );
}
