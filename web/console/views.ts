/** Which part of the console is shown. */

import { computed } from "@preact/signals";
import type { ComponentType } from "preact";
import { Connections } from "./connections";
import { Log } from "./log";
import { Overview } from "./overview";
import { viewName } from "./place";
import { Projects } from "./projects";
import { Settings } from "./settings";

export const VIEWS: readonly { name: string; title: string; View: ComponentType }[] = [
  { name: "overview", title: "Overview", View: Overview },
  { name: "connections", title: "Connections", View: Connections },
  { name: "projects", title: "Projects", View: Projects },
  { name: "log", title: "Log", View: Log },
  { name: "settings", title: "Settings", View: Settings },
];

export const view = computed(() =>
  VIEWS.some(({ name }) => name === viewName.value) ? viewName.value : "overview",
);
