/** The sheet: cells of text and numbers, and sums of them. */

import { useSignal } from "@preact/signals";
import { PanelHeader } from "./panel-header";
import { Flag, colourOf } from "./user";
import type { Project } from "./project";
import { COLUMNS, ROWS, shown } from "./sums";
import { LONGEST_CELL } from "./values";

const MOVES: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, Enter: 1 };

export function Sheet({ project }: { project: Project }) {
  const selected = new Map([...project.presence.selections.value.values()].map(({ cell, by }) => [cell, by]));
  return (
    <section class="panel" id="sheet" aria-labelledby="sheet-title">
      <PanelHeader id="sheet" title="Sheet" project={project}>
        Try =SUM(B2:B4)
      </PanelHeader>
      <div class="sheet">
        <table>
          <thead>
            <tr>
              <td />
              {COLUMNS.map((column) => (
                <th key={column} scope="col">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {ROWS.map((row) => (
              <tr key={row}>
                <th scope="row">{row}</th>
                {COLUMNS.map((column) => (
                  <Cell key={column} cell={`${column}${row}`} by={selected.get(`${column}${row}`)} project={project} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Cell({ cell, by, project }: { cell: string; by: string | undefined; project: Project }) {
  const isEdited = useSignal(false);
  const cells = project.cells.all.value;
  const written = cells.get(cell) ?? "";
  const value = isEdited.value ? written : shown(written, cells);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = MOVES[event.key];
    if (step === undefined) return;
    const row = Number(cell.slice(1)) + step;
    document.getElementById(`cell-${cell[0]}${row}`)?.focus();
    event.preventDefault();
  };
  return (
    <td class={by === undefined ? undefined : `selected ${colourOf(by)}`}>
      <input
        id={`cell-${cell}`}
        class={value !== "" && Number.isFinite(Number(value)) ? "number" : undefined}
        value={value}
        aria-label={cell}
        maxLength={LONGEST_CELL}
        autocomplete="off"
        onInput={(event) => project.setCell(cell, event.currentTarget.value)}
        onKeyDown={onKeyDown}
        onFocus={() => {
          isEdited.value = true;
          project.select(cell);
        }}
        onBlur={() => {
          isEdited.value = false;
          project.select(null);
        }}
      />
      {by !== undefined && <Flag name={by} />}
    </td>
  );
}
