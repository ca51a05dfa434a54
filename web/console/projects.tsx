/** The projects with somebody in them, and what one can tell their people. */

import { useSignal } from "@preact/signals";
import { Foreign } from "../shared/foreign";
import type { Project } from "./answers";
import { showProject } from "./connections";
import { instances, nameOf } from "./feed";
import { count } from "./formats";
import { Listing } from "./listing";
import { NoticeDialog } from "./notice-dialog";
import { type Column, Table } from "./table";

const listing = new Listing<Project>("projects", "users", "desc");

export function Projects() {
  const noticing = useSignal<Project | null>(null);
  const columns: Column<Project>[] = [
    {
      title: "Project",
      sort: ["project", "asc"],
      cell: ({ projectId }) => <code class="project"><Foreign words={projectId} /></code>,
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
        <button type="button" class="quiet" onClick={() => (noticing.value = row)}>
          Notice<span class="unseen"> to <Foreign words={row.projectId} /></span>
        </button>
      ),
    },
  ];
  return (
    <>
      <Table
        title="Projects"
        noun="project"
        hint="Project id"
        listing={listing}
        columns={columns}
        keyOf={({ projectId }) => projectId}
      />
      {noticing.value && <NoticeDialog project={noticing.value} onClose={() => (noticing.value = null)} />}
    </>
  );
}
