/** The kinds of a project's values, and their parsers for received data. */

export const STATUSES = { TODO: "To do", IN_PROGRESS: "In progress", DONE: "Done" } as const;
export type Status = keyof typeof STATUSES;

/** A card of the board; `rank` orders those of one column. */
export interface Task {
  title: string;
  status: Status;
  rank: number;
}

export type Point = readonly [x: number, y: number];

/** The target of a pointer: the canvas, or a column of the board. */
export type Surface = "canvas" | Status;

export interface Place {
  surface: Surface;
  at: Point;
}

/** A line on the canvas, with the name of its author. */
export interface Stroke {
  by: string;
  points: readonly Point[];
}

export const LONGEST_TITLE = 200;
export const LONGEST_TEXT = 20_000;
export const LONGEST_CELL = 200;
const LONGEST_ID = 200;
/** Of one line on the canvas. */
export const MOST_POINTS = 1_000;
/** The canvas's own units; a page draws them at whatever size it has. */
export const CANVAS = { width: 800, height: 480 };

/** An id that no other page makes. (`crypto.randomUUID` exists only over HTTPS and on localhost.) */
export function freshId(): string {
  return Date.now().toString(36) + Math.random().toString(36).slice(2);
}

export function readStatus(value: unknown): Status | undefined {
  return typeof value === "string" && Object.hasOwn(STATUSES, value) ? (value as Status) : undefined;
}

export function readTask(value: unknown): Task | undefined {
  if (!isObject(value) || typeof value.title !== "string") return undefined;
  const rank = typeof value.rank === "number" ? value.rank : Date.now();
  return { title: value.title.slice(0, LONGEST_TITLE), status: readStatus(value.status) ?? "TODO", rank };
}

export function readPoints(value: unknown): Point[] {
  return Array.isArray(value) ? value.filter(isPoint).slice(0, MOST_POINTS) : [];
}

export function readPlace({ surface, at }: Record<string, unknown>): Place | undefined {
  return isPoint(at) ? { surface: readStatus(surface) ?? "canvas", at } : undefined;
}

export function readStroke(value: unknown): Stroke | undefined {
  if (!isObject(value)) return undefined;
  return { by: readName(value.by), points: readPoints(value.points) };
}

export function readText(value: unknown): string | undefined {
  return typeof value === "string" ? value.slice(0, LONGEST_TEXT) : undefined;
}

/** A name, as long as there is room for one beside a cursor. */
export function readName(value: unknown): string {
  return typeof value === "string" ? value.slice(0, 40) : "?";
}

/** An id. What is none is nothing that a page could name, and may not even become text. */
export function readId(value: unknown): string | undefined {
  return typeof value === "string" ? value.slice(0, LONGEST_ID) : Number.isFinite(value) ? String(value) : undefined;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

export function isPoint(value: unknown): value is Point {
  return Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);
}
