/** The charts of the last minutes. */

import { type Signal, useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import type { Sample } from "./answers";
import { Chart, columnAt } from "./chart";
import { CHARTS, type ChartKind } from "./charts";
import { chosen, instances, isAnswering, overview, samples, serverTime } from "./feed";
import { clock } from "./formats";
import { growth, merge, timesOf } from "./series";

const SHORTEST = 60; // seconds

export function Overview() {
  const pointed = useSignal<number | null>(null);
  const seen = samples.value;
  const { interval, keeps } = overview.value ?? { interval: 2, keeps: 900 };
  const hold = 2.5 * interval;
  const to = serverTime.value;
  const hasRedis = seen.some((instance) => instance.some(({ redis }) => redis !== null));
  const times = useMemo(() => timesOf(seen, hold), [seen, hold]);
  // Where it all begins, not every instance has a sample yet. A server that has just started has less to show.
  const from = Math.max(to - keeps + hold, Math.min(times[0] ?? to, to - SHORTEST));
  return (
    <section aria-label="Charts">
      <TimeSlider times={times} pointed={pointed} minutes={Math.ceil((to - from) / 60)} />
      <div class="charts">
        {CHARTS.filter(({ isOfRedis }) => !isOfRedis || hasRedis).map((kind) => (
          <MergedChart key={kind.title} kind={kind} {...{ seen, times, hold, from, to, pointed }} />
        ))}
      </div>
    </section>
  );
}

interface MergedChartProps {
  kind: ChartKind;
  seen: Sample[][];
  times: number[];
  hold: number;
  from: number;
  to: number;
  pointed: Signal<number | null>;
}

function MergedChart({ kind, seen, times, hold, ...rest }: MergedChartProps) {
  const shown = useRef<string[]>([]);
  const chart = useMemo(() => {
    const lines = kind.lines(seen, shown.current);
    shown.current = lines.map(({ name }) => name);
    const grown = lines.map(({ total }) => total && growth(seen, total));
    return { names: shown.current, table: merge(seen, times, lines, kind.merging, hold), grown };
  }, [kind, seen, times, hold]);
  return <Chart kind={kind} hasSeveral={chosen.value === null && instances.value.length > 1} {...chart} {...rest} />;
}

/** Selects a time without a pointer, and shows it. */
function TimeSlider({ times, pointed, minutes }: { times: number[]; pointed: Signal<number | null>; minutes: number }) {
  const last = times.length - 1;
  const column = columnAt(times, pointed.value);
  const at = times[column];
  const isNow = pointed.value === null && isAnswering.value;
  const words = isNow || at === undefined ? "now" : clock(at);
  return (
    <label class="time">
      <span>
        Time of the values: <b>{words}</b>
      </span>
      <small aria-hidden="true">{minutes === 1 ? "a minute" : `${minutes} minutes`} ago</small>
      <input
        type="range"
        aria-label="Time of the values"
        min={0}
        max={Math.max(last, 0)}
        value={column}
        aria-valuetext={words}
        onInput={({ currentTarget }) => {
          const chosen = Number(currentTarget.value);
          pointed.value = chosen >= last ? null : (times[chosen] ?? null);
        }}
      />
      <small aria-hidden="true">now</small>
    </label>
  );
}
