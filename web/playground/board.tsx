/** The kanban board: cards move by the pointer, by the arrow keys, and in the dialog that a card opens. */

import { signal } from "@preact/signals";
import { announce } from "../shared/announcements";
import { isVisible, visible } from "../shared/foreign";
import { CardDialog } from "./card-dialog";
import { dragged, over, useDrag } from "./drag";
import { Hint, PanelHeader } from "./panel-header";
import type { Project } from "./project";
import { Pointers } from "./pointers";
import { LONGEST_TITLE, type Place, STATUSES, type Status, type Task, readStatus } from "./values";

/** Units for pointers within a column. */
const COLUMN = { width: 1_000, height: 1_000 };
const COLUMNS = Object.keys(STATUSES) as Status[];
const opened = signal<string | null>(null);

export function Board({ project }: { project: Project }) {
  const tasks = [...project.tasks.all.value].sort(([, a], [, b]) => a.rank - b.rank);
  return (
    <section class="panel" id="board" aria-labelledby="board-title">
      <PanelHeader id="board" title="Board" project={project}>
        <Hint mouse="Drag a card, or press ← → on it" touch="Drag a card by its dots, or tap it" />
      </PanelHeader>
      <div
        class="board"
        onPointerMove={(event) => project.point(placeOf(event))}
        onPointerLeave={() => project.point(null)}
      >
        {COLUMNS.map((status) => (
          <Column key={status} status={status} tasks={tasks.filter(([, task]) => task.status === status)} project={project} />
        ))}
      </div>
      {opened.value !== null && <CardDialog id={opened.value} project={project} onClose={() => (opened.value = null)} />}
    </section>
  );
}

interface ColumnProps {
  status: Status;
  tasks: [string, Task][];
  project: Project;
}

function Column({ status, tasks, project }: ColumnProps) {
  return (
    <div class={over.value === status ? "column over" : "column"} data-status={status}>
      <h3>
        {STATUSES[status]} <span class="count">{tasks.length}</span>
      </h3>
      <ul role="list">
        {tasks.map(([id, task]) => (
          <Card key={id} id={id} task={task} project={project} />
        ))}
      </ul>
      {status === "TODO" && <NewCard project={project} />}
      <Pointers project={project} surface={status} size={COLUMN} />
    </div>
  );
}

/** A pointer within a column: on another screen the columns have other places. */
function placeOf({ currentTarget, clientX, clientY }: PointerEvent): Place | null {
  for (const column of (currentTarget as Element).querySelectorAll<HTMLElement>("[data-status]")) {
    const { left, top, width, height } = column.getBoundingClientRect();
    const [x, y] = [(clientX - left) / width, (clientY - top) / height];
    const surface = readStatus(column.dataset.status);
    if (surface !== undefined && x >= 0 && x <= 1 && y >= 0 && y <= 1)
      return { surface, at: [Math.round(x * COLUMN.width), Math.round(y * COLUMN.height)] };
  }
  return null;
}

function Card({ id, task, project }: { id: string; task: Task; project: Project }) {
  const move = (status: Status | undefined) => {
    if (status === undefined || status === task.status) return;
    project.moveTask(id, status);
    announce(`${task.title}: ${STATUSES[status]}`);
  };
  const drag = useDrag(id, move);
  const onKeyDown = (event: KeyboardEvent) => {
    const column = COLUMNS.indexOf(task.status);
    if (event.key === "ArrowLeft") moveAndStay(() => move(COLUMNS[column - 1]), id);
    else if (event.key === "ArrowRight") moveAndStay(() => move(COLUMNS[column + 1]), id);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") goTo(event.currentTarget as Element, event.key);
    else return;
    event.preventDefault();
  };
  return (
    <li>
      <button
        type="button"
        class={dragged.value === id ? "card dragged" : "card"}
        data-task={id}
        aria-describedby="board-hint"
        aria-keyshortcuts="ArrowLeft ArrowRight"
        aria-haspopup="dialog"
        onKeyDown={onKeyDown}
        onClick={() => (opened.value = id)}
        {...drag}
      >
        <span class="grip" aria-hidden="true" />
        <bdi>{isVisible(task.title) ? task.title : visible(task.title)}</bdi>
      </button>
    </li>
  );
}

/** The card is another element where it went: the focus follows it. */
function moveAndStay(move: () => void, id: string): void {
  move();
  requestAnimationFrame(() => document.querySelector<HTMLElement>(`[data-task="${CSS.escape(id)}"]`)?.focus());
}

function goTo(card: Element, key: string): void {
  const item = card.parentElement;
  const next = key === "ArrowUp" ? item?.previousElementSibling : item?.nextElementSibling;
  next?.querySelector("button")?.focus();
}

function NewCard({ project }: { project: Project }) {
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const title = String(new FormData(form).get("title")).trim();
    if (title) project.createTask(title);
    form.reset();
  };
  return (
    <form class="new-card" onSubmit={onSubmit}>
      <input name="title" maxLength={LONGEST_TITLE} placeholder="Add a card" aria-label="Title of a new card" autocomplete="off" />
      <button type="submit" class="quiet">
        Add
      </button>
    </form>
  );
}
