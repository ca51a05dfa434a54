/** The dialog of one card: its title, its column, and its removal. */

import { useEffect, useRef } from "preact/hooks";
import type { Project } from "./project";
import { LONGEST_TITLE, STATUSES, readStatus } from "./values";

export function CardDialog({ id, project, onClose }: { id: string; project: Project; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const task = project.tasks.all.value.get(id);
  const isGone = task === undefined;
  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    if (isGone) onClose();
  }, [isGone]);
  if (isGone) return null;

  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    project.renameTask(id, String(form.get("title")).trim() || task.title);
    project.moveTask(id, readStatus(form.get("status")) ?? task.status);
    dialog.current?.close();
  };
  return (
    <dialog ref={dialog} aria-labelledby="card-title" onClose={onClose}>
      <form onSubmit={onSubmit}>
        <h2 id="card-title">Card</h2>
        <label>
          Title
          <input name="title" defaultValue={task.title} maxLength={LONGEST_TITLE} required autocomplete="off" />
        </label>
        <label>
          Column
          <select name="status">
            {Object.entries(STATUSES).map(([status, words]) => (
              <option key={status} value={status} selected={status === task.status}>
                {words}
              </option>
            ))}
          </select>
        </label>
        <footer>
          <button type="button" class="quiet bad" onClick={() => project.deleteTask(id)}>
            Delete
          </button>
          <button type="button" class="quiet" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class="main">
            Save
          </button>
        </footer>
      </form>
    </dialog>
  );
}
