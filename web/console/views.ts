/** Which part of the console is shown: the address says it, so that it can be linked to and gone back from. */

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { Connections } from "./connections";
import { Log } from "./log";
import { Overview } from "./overview";
import { Projects } from "./projects";
import { Settings } from "./settings";

export const VIEWS: readonly { name: string; title: string; View: ComponentType }[] = [
  { name: "overview", title: "Overview", View: Overview },
  { name: "connections", title: "Connections", View: Connections },
  { name: "projects", title: "Projects", View: Projects },
  { name: "log", title: "Log", View: Log },
  { name: "settings", title: "Settings", View: Settings },
];

export const view = signal(addressed());
addEventListener("hashchange", () => (view.value = addressed()));

function addressed(): string {
  const name = location.hash.slice(1);
  return VIEWS.some((known) => known.name === name) ? name : "overview";
}
