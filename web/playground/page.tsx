/** The project's page, optionally with another user's page beside it. */

import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Announcements } from "../shared/announcements";
import { Board } from "./board";
import { Canvas } from "./canvas";
import { Document } from "./document";
import { Footer } from "./footer";
import { Header } from "./header";
import { Notice } from "./notice";
import type { Project } from "./project";
import { Sheet } from "./sheet";
import { traffic } from "./traffic";

interface PageProps {
  project: Project;
  users: string[];
  /** Whether this page is the one beside another. */
  isBeside: boolean;
}

export function Page({ project, users, isBeside }: PageProps) {
  const beside = useSignal<string | null>(null);
  const passed = useMemo(() => traffic(project.connection.socket), [project]);
  const present = new Set(project.presence.users.value.map(({ userName }) => userName));
  const other = users.find((name) => name !== project.me && !present.has(name)) ?? project.me;
  const toggleBeside = () => (beside.value = beside.value === null ? other : null);
  return (
    <div class={beside.value === null ? "halves" : "halves both"}>
      <div class="half">
        <Header
          project={project}
          other={isBeside ? null : other}
          otherAddress={addressOf(project, other)}
          isSplit={beside.value !== null}
          onSplit={toggleBeside}
        />
        <main>
          <Notice project={project} />
          <div class="panels">
            <Board project={project} />
            <Canvas project={project} />
            <Document project={project} />
            <Sheet project={project} />
          </div>
        </main>
        <Footer passed={passed} />
        <Announcements />
      </div>
      {beside.value !== null && (
        <iframe title={`The page as ${beside.value} sees it`} src={`${addressOf(project, beside.value)}&beside`} />
      )}
    </div>
  );
}

function addressOf(project: Project, name: string): string {
  return `${location.pathname}?${new URLSearchParams({ as: name, project: project.id })}`;
}
