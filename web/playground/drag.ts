/** Dragging a card to another column, by mouse and pen from anywhere on it, by touch from its grip. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { type Status, readStatus } from "./values";

const BEGINS_AFTER = 5; // pixels, so that a click is none

/** The card that is being dragged, and the column that it is over. */
export const dragged = signal<string | null>(null);
export const over = signal<Status | undefined>(undefined);

/** What makes a card one that can be dragged. */
export function useDrag(id: string, drop: (status: Status | undefined) => void) {
  const end = useRef<() => void>(undefined);
  // Another user may move or delete the card meanwhile.
  useEffect(() => () => end.current?.(), []);
  return {
    onPointerDown(event: PointerEvent) {
      if (event.button !== 0 || (event.pointerType === "touch" && !isGrip(event.target))) return;
      end.current = follow(event.currentTarget as HTMLElement, event, id, drop);
    },
  };
}

/** Let the card follow the pointer. Returns the function that stops this. */
function follow(card: HTMLElement, start: PointerEvent, id: string, drop: (status: Status | undefined) => void) {
  // A touch stays with its element anyway.
  if (start.pointerType !== "touch") card.setPointerCapture(start.pointerId);
  const ending = new AbortController();
  const listening = { signal: ending.signal };
  const end = () => {
    if (ending.signal.aborted) return;
    ending.abort();
    if (card.hasPointerCapture(start.pointerId)) card.releasePointerCapture(start.pointerId);
    card.style.translate = "";
    dragged.value = null;
    over.value = undefined;
  };
  const move = (event: PointerEvent) => {
    const [x, y] = [event.clientX - start.clientX, event.clientY - start.clientY];
    if (dragged.peek() === null) {
      if (Math.hypot(x, y) < BEGINS_AFTER) return;
      dragged.value = id;
    }
    card.style.translate = `${x}px ${y}px`;
    over.value = columnAt(event, card);
  };
  const release = (event: PointerEvent) => {
    if (dragged.peek() === null) return end();
    // The click that follows would open the card.
    const noClick = (click: Event) => click.stopImmediatePropagation();
    card.addEventListener("click", noClick, { capture: true });
    setTimeout(() => card.removeEventListener("click", noClick, { capture: true }));
    const column = columnAt(event, card);
    end();
    drop(column);
  };
  card.addEventListener("pointermove", move, listening);
  card.addEventListener("pointerup", release, listening);
  card.addEventListener("pointercancel", end, listening);
  card.ownerDocument.addEventListener("keydown", (event) => event.key === "Escape" && end(), listening);
  return end;
}

/** The column below the card, which is still in its own. */
function columnAt({ clientX, clientY }: PointerEvent, card: Element): Status | undefined {
  const below = document.elementsFromPoint(clientX, clientY).find((element) => !card.contains(element));
  return readStatus(below?.closest<HTMLElement>("[data-status]")?.dataset.status);
}

function isGrip(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest(".grip") !== null;
}
