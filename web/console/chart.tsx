/** One chart: its title, its values now or at the selected time, and its lines. */

import type { Signal } from "@preact/signals";
import { theme } from "../shared/theme";
import type { ChartKind } from "./charts";
import { count } from "./formats";
import { Plot, colourOf } from "./plot";
import type { Table } from "./series";

interface ChartProps {
  kind: ChartKind;
  names: string[];
  table: Table;
  /** By how much the totals of the lines that are rates have grown. */
  grown: (number | undefined)[];
  /** From when to when, in Unix seconds. */
  from: number;
  to: number;
  /** The selected time, on this chart or on another; null for now. */
  pointed: Signal<number | null>;
}

export function Chart({ hasSeveral, ...plot }: ChartProps & { hasSeveral: boolean }) {
  const { kind, names, table, grown, pointed } = plot;
  const column = columnAt(table.times, pointed.value);
  const { format } = kind;
  const values = table.lines.map((line) => line[column] ?? null);
  const unit = hasSeveral && kind.ofSeveral ? `${kind.unit}, ${kind.ofSeveral}` : kind.unit;
  const known = values.filter((value) => value !== null);
  const total = kind.hasSum || names.length === 1 ? known.reduce((sum, value) => sum + value, 0) : null;
  return (
    <figure class="chart">
      <figcaption>
        <h2>{kind.title}</h2>
        {total !== null && <strong class="newest">{known.length > 0 ? format(total) : "–"}</strong>}
        <p>{unit}</p>
      </figcaption>
      {/* What a plot is drawn with it keeps: other lines and other colours are another plot. */}
      <Plot key={`${theme.value} ${names}`} {...plot} label={inWords(kind, names, table, grown)} />
      {names.length > 1 && (
        <ul role="list" class="legend">
          {names.map((name, index) => (
            <li key={name}>
              <span class={`swatch series-${colourOf(name, index)}`} aria-hidden="true" />
              {name} <b>{values[index] == null ? "–" : format(values[index])}</b>
            </li>
          ))}
        </ul>
      )}
    </figure>
  );
}

/** The column of the latest time that is not after `at`; the last where that is null. */
export function columnAt(times: number[], at: number | null): number {
  return at === null ? times.length - 1 : times.findLastIndex((time) => time <= at);
}

function inWords(kind: ChartKind, names: string[], table: Table, grown: (number | undefined)[]): string {
  const lines = names.map((name, index) => {
    const values = (table.lines[index] ?? []).filter((value) => value !== null);
    const newest = table.lines[index]?.at(-1);
    if (values.length === 0) return `${name}: nothing.`;
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const now = newest == null ? "nothing now" : `${kind.format(newest)} now`;
    const total = grown[index] === undefined ? "" : `, ${count(grown[index])} in all`;
    return `${name}: ${now}, between ${kind.format(least)} and ${kind.format(most)}${total}.`;
  });
  return `${kind.title} (${kind.unit}) in the last minutes. ${lines.join(" ")}`;
}
