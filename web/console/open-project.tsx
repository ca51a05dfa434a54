/** One project: its members, and their traffic. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Foreign } from "../shared/foreign";
import type { OpenProject as Answer } from "./answers";
import { type Unanswered, get } from "./api";
import { showProject } from "./connections";
import { isAnswering, silent } from "./feed";
import { brief, count, counted, size } from "./formats";
import { repeat } from "./repeated";
import { User } from "./user";

const EVERY = 3_000; // milliseconds

interface OpenProjectProps {
  projectId: string;
  onNotice: () => void;
}

export function OpenProject({ projectId, onNotice }: OpenProjectProps) {
  const now = useSignal<Answer | null>(null);
  const before = useSignal<Answer | null>(null);
  const failure = useSignal("");
  useEffect(() => {
    now.value = before.value = null;
    return repeat(async () => {
      try {
        const answer = await get<Answer>("project", { projectId });
        [before.value, now.value, failure.value] = [now.value, answer, ""];
      } catch (error) {
        failure.value = (error as Unanswered).message;
      }
    }, EVERY);
  }, [projectId]);
  return (
    <section class="panel listing" aria-labelledby="project-title">
      <header>
        <h2 id="project-title">
          Project <Foreign words={projectId} />
        </h2>
        <p role="status">
          {now.value && `${counted(now.value.total, "user")}, ${counted(now.value.connections, "connection")}`}
          {now.value && !isAnswering.value && ", as it was last"}
        </p>
      </header>
      <div class="filters">
        <a class="button" href="#projects">
          All projects
        </a>
        <button type="button" onClick={() => showProject(projectId)}>
          Connections
        </button>
        <button type="button" onClick={onNotice}>
          Notice
        </button>
      </div>
      {failure.value && <p class="notice bad">{failure.value}</p>}
      {now.value && now.value.unanswered.length > 0 && (
        <p class="notice bad">There may be more: {silent(now.value.unanswered)}.</p>
      )}
      {now.value && <Users now={now.value} before={before.value} />}
    </section>
  );
}

function Users({ now, before }: { now: Answer; before: Answer | null }) {
  const known = new Map(before?.users.map(({ userId, received }) => [userId, received]));
  const seconds = before === null ? 0 : now.at - before.at;
  const rates = now.users.map(({ userId, received }) => {
    const earlier = known.get(userId);
    // A closed connection's events are no longer counted.
    return earlier === undefined || seconds <= 0 ? null : Math.max(0, received - earlier) / seconds;
  });
  const all = rates.every((rate) => rate === null) ? null : rates.reduce<number>((sum, rate) => sum + (rate ?? 0), 0);
  return (
    <>
      <div class="rows">
        <table role="table">
          <thead role="rowgroup">
            <tr role="row">
              <th scope="col" role="columnheader">
                User
              </th>
              <th scope="col" role="columnheader" class="number">
                Connections
              </th>
              <th scope="col" role="columnheader" class="number">
                Events
              </th>
              <th scope="col" role="columnheader" class="number">
                Events a second
              </th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {now.users.map(({ userId, userName, connections, received }, index) => (
              <tr key={userId} role="row">
                <td role="cell" data-title="User">
                  <div class="who">
                    <User name={userName} id={userId} />
                  </div>
                </td>
                <td role="cell" class="number" data-title="Connections">
                  {count(connections)}
                </td>
                <td role="cell" class="number" data-title="Events">
                  {count(received)}
                </td>
                <td role="cell" class="number" data-title="Events a second">
                  {rateOf(rates[index] ?? null)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {now.users.length === 0 && (
        <p class="empty">{isAnswering.value ? "Nobody is in this project now." : "The server does not answer."}</p>
      )}
      <p class="sum">
        {now.users.length < now.total && `These are the first ${count(now.users.length)} users. `}
        Together they send <b>{rateOf(all)}</b> events a second, those to other projects included.
      </p>
      {now.kept && (
        <p class="sum">
          Kept for clients that return: <b>{counted(now.kept.events, "event")}</b>, {size(now.kept.bytes)}.
        </p>
      )}
    </>
  );
}

function rateOf(rate: number | null): string {
  return rate === null ? "–" : brief(rate);
}
