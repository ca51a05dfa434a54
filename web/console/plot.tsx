/** The lines of a chart, drawn by uPlot. */

import { type Signal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { type ChartKind, OTHERS } from "./charts";
import { colour } from "./colours";
import { marked } from "./formats";
import type { Table } from "./series";

/** The end of an axis for values up to `most`: half of it is a round number too. All axes have these three marks. */
function endOf(most: number, isWhole = false): number {
  const half = Math.max((1.05 * most) / 2, isWhole ? 1 : Number.MIN_VALUE);
  if (most <= 0) return isWhole ? 2 : 1;
  const magnitude = 10 ** Math.floor(Math.log10(half));
  const step = [1, 2, 2.5, 5, 10].find((step) => step * magnitude >= half && (!isWhole || (step * magnitude) % 1 === 0));
  return 2 * (step ?? 10) * magnitude;
}

/** The number of a line's colour; the rest of all kinds has the last, a grey. */
export function colourOf(name: string, index: number): number {
  return name === OTHERS ? 5 : index;
}

interface PlotProps {
  kind: ChartKind;
  names: string[];
  table: Table;
  from: number;
  to: number;
  pointed: Signal<number | null>;
  /** The description of its content. */
  label: string;
}

/** The lines that it begins with, and their colours, are those that it keeps. */
export function Plot({ kind, names, table, from, to, pointed, label }: PlotProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const range = useRef<[number, number]>([from, to]);
  range.current = [from, to];

  useEffect(() => {
    const element = place.current as HTMLDivElement;
    const options = plotOptions(kind, names, element, range);
    const made = new uPlot(options, [table.times, ...table.lines], element);
    made.over.addEventListener("pointermove", ({ offsetX }) => {
      pointed.value = made.data[0][made.posToIdx(offsetX)] ?? null;
    });
    made.over.addEventListener("pointerleave", () => (pointed.value = null));
    const resizing = new ResizeObserver(() => made.setSize(sizeOf(element)));
    resizing.observe(element);
    plot.current = made;
    return () => {
      resizing.disconnect();
      made.destroy();
    };
  }, []);
  useEffect(() => {
    plot.current?.setData([table.times, ...table.lines]);
    if (plot.current) point(plot.current, pointed.peek());
  }, [table, to]);
  useSignalEffect(() => {
    const at = pointed.value;
    if (plot.current) point(plot.current, at);
  });
  return <div ref={place} class="plot" role="img" aria-label={label} />;
}

function sizeOf({ clientWidth: width, clientHeight: height }: HTMLElement) {
  return { width, height };
}

function plotOptions(
  kind: ChartKind,
  names: string[],
  element: HTMLElement,
  range: { current: [number, number] },
): uPlot.Options {
  const axis = {
    stroke: () => colour("var(--muted)"),
    font: '11px "Inter Variable", system-ui, sans-serif',
    ticks: { show: false },
    grid: { stroke: () => colour("var(--line)"), width: 1 },
    gap: 6,
  };
  return {
    ...sizeOf(element),
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: false, y: false },
      points: { size: 6 },
      // All charts point at the same time, whichever of them the pointer is over.
      bind: { mousemove: () => null, mouseleave: () => null },
    },
    scales: {
      x: { time: true, range: () => range.current },
      y: { range: (_, __, most) => [0, endOf(most, kind.isWhole)] },
    },
    axes: [
      { ...axis, size: 24, space: 60, grid: { show: false }, values: (_, times) => times.map(marked) },
      {
        ...axis,
        size: 58,
        splits: (_, __, least, most) => [least, (least + most) / 2, most],
        values: (_, values) => values.map((value) => (value === 0 ? "0" : kind.format(value))),
      },
    ],
    series: [
      {},
      ...names.map((name, index) => ({
        label: name,
        width: 1.75,
        stroke: () => colour(`var(--series-${colourOf(name, index)})`),
        points: { show: false },
        ...(names.length === 1 ? { fill: () => colour("color-mix(in srgb, var(--series-0), transparent 88%)") } : {}),
      })),
    ],
  };
}

/** Show the cursor at a time, or nowhere. */
function point(plot: uPlot, at: number | null): void {
  plot.setCursor({ left: at === null ? -10 : plot.valToPos(at, "x"), top: at === null ? -10 : 0 }, false);
}
