/** Who is connected: found, sorted, and disconnected. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Foreign, visible } from "../shared/foreign";
import type { Connection } from "./answers";
import { Blocks } from "./blocks";
import { DisconnectDialog } from "./disconnect-dialog";
import { chosen, instances, nameOf, serverTime } from "./feed";
import { count, duration, moment, size } from "./formats";
import { Listing } from "./listing";
import { type Column, Table } from "./table";
import { User } from "./user";

/** It is kept while another view is shown. */
const listing = new Listing<Connection>("connections", "since", "desc");
const TRANSPORTS = { websocket: "WebSocket", polling: "polling" };
const PROJECTS_SHOWN = 2;

export function Connections() {
  const disconnecting = useSignal<Connection | null>(null);
  const instance = chosen.value ?? "";
  useEffect(() => {
    if ((listing.query.peek().filters.instance ?? "") !== instance) listing.filter("instance", instance);
  }, [instance]);

  const columns: Column<Connection>[] = [
    { title: "User", sort: ["user", "asc"], cell: (row) => <Who row={row} /> },
    { title: "Projects", sort: ["project", "asc"], isMinor: true, cell: (row) => <Projects row={row} /> },
    { title: "Transport", sort: ["transport", "asc"], isLeast: true, cell: ({ transport }) => TRANSPORTS[transport] },
    { title: "Address", sort: ["address", "asc"], isLeast: true, cell: ({ address }) => <code>{address}</code> },
    {
      title: "Connected",
      sort: ["since", "desc"],
      isNumber: true,
      cell: ({ since }) => <time title={moment(since)}>{duration(serverTime.value - since)}</time>,
    },
    { title: "Events", isNumber: true, isMinor: true, cell: ({ received }) => count(received) },
    {
      title: "Unsent",
      sort: ["waiting", "desc"],
      isNumber: true,
      isMinor: true,
      cell: ({ waiting }) => size(waiting),
    },
    ...(instances.value.length > 1
      ? [{ title: "Instance", isLeast: true, cell: ({ instance }: Connection) => nameOf(instance) }]
      : []),
    {
      title: "",
      cell: (row) => (
        <button type="button" class="quiet bad" onClick={() => (disconnecting.value = row)}>
          Disconnect<span class="unseen"> <Foreign words={row.userName} /></span>
        </button>
      ),
    },
  ];
  return (
    <>
      <Table
        title="Connections"
        noun="connection"
        hint="User, id, address or project"
        listing={listing}
        columns={columns}
        keyOf={({ socketId }) => socketId}
      >
        <label>
          Transport
          <select
            value={listing.query.value.filters.transport ?? ""}
            onChange={({ currentTarget }) => listing.filter("transport", currentTarget.value)}
          >
            <option value="">Any</option>
            <option value="websocket">WebSocket</option>
            <option value="polling">Polling</option>
          </select>
        </label>
        <ProjectFilter />
      </Table>
      <Blocks />
      {disconnecting.value && (
        <DisconnectDialog
          connection={disconnecting.value}
          onDone={() => listing.refresh()}
          onClose={() => (disconnecting.value = null)}
        />
      )}
    </>
  );
}

/** Show the connections of one project. */
export function showProject(projectId: string): void {
  listing.change({ search: "", filters: { ...listing.query.peek().filters, project: projectId } });
  location.hash = "#connections";
}

function ProjectFilter() {
  const project = listing.query.value.filters.project;
  if (!project) return null;
  return (
    <button type="button" class="filter" onClick={() => listing.filter("project", "")}>
      Project <Foreign words={project} /> <span aria-hidden="true">×</span>
      <span class="unseen">: show those of all projects</span>
    </button>
  );
}

function Who({ row: { userId, userName, socketId, transport, address } }: { row: Connection }) {
  return (
    <div class="who">
      <User name={userName} id={userId} />
      <small>
        <code>{socketId}</code>
        <span class="for-least">
          {TRANSPORTS[transport]} · {address}
        </span>
      </small>
    </div>
  );
}

function Projects({ row: { projects, projectCount } }: { row: Connection }) {
  const more = (shown: string[]) => (projectCount > shown.length ? `+${count(projectCount - shown.length)}` : "");
  const shown = projects.slice(0, PROJECTS_SHOWN);
  return (
    <span class="projects" title={[...projects.map(visible), more(projects)].join("\n").trim()}>
      {shown.map((projectId, index) => [index > 0 && ", ", <Foreign key={projectId} words={projectId} />])} {more(shown)}
      {projectCount === 0 && <span class="none">none</span>}
    </span>
  );
}
