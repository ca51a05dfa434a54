/** The canvas: everyone's lines and cursors; it is drawn on by the pointer, or by the keys. */

import { useRef } from "preact/hooks";
import { Hint, PanelHeader } from "./panel-header";
import { colourOf } from "./user";
import { Pointers } from "./pointers";
import type { Project } from "./project";
import { CANVAS, type Point, freshId } from "./values";

const STEP = 16;
const STEPS: Record<string, Point> = {
  ArrowLeft: [-STEP, 0],
  ArrowRight: [STEP, 0],
  ArrowUp: [0, -STEP],
  ArrowDown: [0, STEP],
};

export function Canvas({ project }: { project: Project }) {
  const strokes = [...project.strokes.all.value];
  const clear = (
    <button type="button" class="quiet" disabled={strokes.length === 0} onClick={() => project.erase()}>
      Clear
    </button>
  );
  return (
    <section class="panel" id="canvas" aria-labelledby="canvas-title">
      <PanelHeader id="canvas" title="Canvas" project={project} button={clear}>
        <Hint mouse="Draw; with keys: arrows move, Space draws" touch="Draw with a finger" />
      </PanelHeader>
      <div class="canvas">
        <Paper project={project}>
          {strokes.map(([id, { by, points }]) => (
            <path key={id} class={colourOf(by)} d={pathOf(points)} />
          ))}
        </Paper>
        <Pointers project={project} surface="canvas" size={CANVAS} />
      </div>
    </section>
  );
}

function Paper({ project, children }: { project: Project; children: preact.ComponentChildren }) {
  const stroke = useRef<string | null>(null);
  const pen = useRef<Point>([CANVAS.width / 2, CANVAS.height / 2]);
  const cross = useRef<SVGGElement>(null);

  const go = (to: Point) => {
    pen.current = to;
    cross.current?.setAttribute("transform", `translate(${to[0]} ${to[1]})`);
    project.point({ surface: "canvas", at: to });
    if (stroke.current !== null) project.draw(stroke.current, to);
  };
  const begin = () => {
    stroke.current = freshId();
    project.draw(stroke.current, pen.current);
  };
  const end = () => (stroke.current = null);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    if (step) go(within(pen.current[0] + step[0], pen.current[1] + step[1]));
    else if (event.key === " ") stroke.current === null ? begin() : end();
    else return;
    event.preventDefault();
  };
  return (
    <svg
      viewBox={`0 0 ${CANVAS.width} ${CANVAS.height}`}
      tabIndex={0}
      role="application"
      aria-label="Canvas"
      aria-describedby="canvas-hint"
      onKeyDown={onKeyDown}
      onBlur={() => {
        end();
        project.point(null);
      }}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        pen.current = where(event);
        begin();
      }}
      onPointerMove={(event) => go(where(event))}
      onPointerUp={end}
      onPointerCancel={end}
      onPointerLeave={() => project.point(null)}
    >
      {children}
      <g class="cross" ref={cross} transform={`translate(${pen.current[0]} ${pen.current[1]})`}>
        <path d="M-10 0H10M0-10V10" />
      </g>
    </svg>
  );
}

function where(event: PointerEvent): Point {
  const box = (event.currentTarget as SVGSVGElement).getBoundingClientRect();
  return within(
    ((event.clientX - box.left) / box.width) * CANVAS.width,
    ((event.clientY - box.top) / box.height) * CANVAS.height,
  );
}

function within(x: number, y: number): Point {
  return [Math.round(Math.min(Math.max(x, 0), CANVAS.width)), Math.round(Math.min(Math.max(y, 0), CANVAS.height))];
}

const paths = new WeakMap<readonly Point[], string>();

function pathOf(points: readonly Point[]): string {
  let path = paths.get(points);
  if (path === undefined) paths.set(points, (path = smooth(points)));
  return path;
}

/** A line through the middles between points, bent by the points, so that drawn lines have no corners. */
function smooth(points: readonly Point[]): string {
  const [first, ...others] = points;
  if (first === undefined) return "";
  let path = `M${first[0]} ${first[1]}`;
  let [x, y] = first;
  for (const [nextX, nextY] of others) {
    path += `Q${x} ${y} ${(x + nextX) / 2} ${(y + nextY) / 2}`;
    [x, y] = [nextX, nextY];
  }
  return `${path}L${x} ${y}`;
}
