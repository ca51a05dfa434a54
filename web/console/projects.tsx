/** The projects with members, and notices for them. */

import { useSignal } from "@preact/signals";
import { Foreign } from "../shared/foreign";
import type { Project } from "./answers";
import { showProject } from "./connections";
import { instances, nameOf } from "./feed";
import { count } from "./formats";
import { Listing } from "./listing";
import { NoticeDialog } from "./notice-dialog";
import { OpenProject } from "./open-project";
import { addressOf, part } from "./place";
import { type Column, Table } from "./table";

const listing = new Listing<Project>("projects", "users", "desc");

export function Projects() {
  const noticing = useSignal<string | null>(null);
  const opened = part.value;
  const columns: Column<Project>[] = [
    {
      title: "Project",
      sort: ["project", "asc"],
      cell: ({ projectId }) => (
        <a class="project" href={addressOf("projects", projectId)}>
          <code>
            <Foreign words={projectId} />
          </code>
        </a>
      ),
    },
    { title: "Users", sort: ["users", "desc"], isNumber: true, cell: ({ users }) => count(users) },
    {
      title: "Connections",
      sort: ["connections", "desc"],
      isNumber: true,
      cell: ({ projectId, connections }) => (
        <button type="button" class="quiet link" onClick={() => showProject(projectId)}>
          {count(connections)}
          <span class="unseen"> connections of <Foreign words={projectId} /></span>
        </button>
      ),
    },
    ...(instances.value.length > 1
      ? [{ title: "Instances", isMinor: true, cell: (row: Project) => row.instances.map(nameOf).join(", ") }]
      : []),
    {
      title: "",
      cell: (row) => (
        <button type="button" class="quiet" onClick={() => (noticing.value = row.projectId)}>
          Notice<span class="unseen"> to <Foreign words={row.projectId} /></span>
        </button>
      ),
    },
  ];
  return (
    <>
      {opened === null ? (
        <Table
          title="Projects"
          noun="project"
          hint="Project id"
          listing={listing}
          columns={columns}
          keyOf={({ projectId }) => projectId}
        />
      ) : (
        <OpenProject projectId={opened} onNotice={() => (noticing.value = opened)} />
      )}
      {noticing.value !== null && <NoticeDialog projectId={noticing.value} onClose={() => (noticing.value = null)} />}
    </>
  );
}
