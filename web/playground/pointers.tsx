/** The others' cursors over a part of the page, each with a name that stays inside the part. */

import { Flag, colourOf } from "./user";
import type { Project } from "./project";
import type { Surface } from "./values";

interface PointersProps {
  project: Project;
  surface: Surface;
  /** The part's size, in the units of pointers. */
  size: { width: number; height: number };
}

export function Pointers({ project, surface, size }: PointersProps) {
  const here = [...project.presence.pointers.value].filter(([, place]) => place.surface === surface);
  return (
    <>
      {here.map(([socketId, { by, at }]) => {
        const [x, y] = [within(at[0] / size.width), within(at[1] / size.height)];
        const sides = `${x > 0.5 ? " to-left" : ""}${y > 0.8 ? " upwards" : ""}`;
        return (
          <span
            key={socketId}
            class={`pointer ${colourOf(by)}${sides}`}
            style={{ left: `${100 * x}%`, top: `${100 * y}%` }}
            aria-hidden="true"
          >
            <svg viewBox="0 0 16 16">
              <path d="M1 1l5 13 2.500-5.500L14 6z" />
            </svg>
            <Flag name={by} />
          </span>
        );
      })}
    </>
  );
}

function within(share: number): number {
  return Math.min(Math.max(share, 0), 1);
}
