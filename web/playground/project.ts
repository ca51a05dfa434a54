/** The project: the user's actions, as events of Synkora's client, and the others' actions. */

import { effect, signal } from "@preact/signals";
import type { Connection } from "./connection";
import { Exchange } from "./exchange";
import { Presence } from "./presence";
import { CELLS, FILE, TASKS, TEXT } from "./seeds";
import { Shared } from "./shared";
import { throttled } from "./throttled";
import {
  MOST_POINTS,
  type Place,
  type Point,
  type Status,
  freshId,
  isObject,
  readId,
  readName,
  readPoints,
  readStatus,
  readStroke,
  readTask,
  readText,
} from "./values";

const CURSOR_EVERY = 40; // milliseconds
const TYPING_ENDS = 1_500;
const REFUSAL_SHOWN = 6_000;

export interface Refusal {
  message: string;
  isOfProject: boolean;
}

export class Project {
  readonly tasks = new Shared(500, readTask, TASKS);
  readonly strokes = new Shared(500, readStroke);
  readonly files = new Shared(10, readText, { [FILE]: TEXT });
  readonly cells = new Shared(200, readText, CELLS);
  readonly presence: Presence;
  /** What the server has refused last, for a while; for as long as it lasts, where it is the project itself. */
  readonly refusal = signal<Refusal | null>(null);
  /** The operators' last notice for the project, until the user has read it. */
  readonly told = signal<string | null>(null);

  private readonly exchange = new Exchange(
    { tasks: this.tasks, strokes: this.strokes, files: this.files, cells: this.cells },
    (changes) => this.emit("canvas:update", { changes }),
  );
  /** The strokes that were not sent yet. */
  private drawn: { stroke: string; by: string; points: Point[] } | undefined;
  private forgetting: ReturnType<typeof setTimeout> | undefined;
  private typing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly id: string,
    readonly me: string,
    readonly connection: Connection,
  ) {
    this.presence = new Presence(connection);
    this.listen();
    effect(() => {
      if (connection.isConnected.value) this.join();
    });
  }

  // The board

  createTask(title: string): void {
    const id = freshId();
    const task = { title, status: "TODO" as const, rank: Date.now() };
    this.tasks.set(id, task);
    this.emit("task:create", { task: { id, ...task } });
  }

  renameTask(id: string, title: string): void {
    const task = this.tasks.get(id);
    if (task === undefined || task.title === title) return;
    this.tasks.set(id, { ...task, title });
    this.emit("task:update", { task: { id, ...task, title } });
  }

  moveTask(id: string, status: Status): void {
    if (this.placeTask(id, status)) this.emit("task:move", { taskId: id, status });
  }

  deleteTask(id: string): void {
    this.tasks.set(id, null);
    this.emit("task:delete", { taskId: id });
  }

  /** Put a card at the end of another column; say whether it was elsewhere. */
  private placeTask(id: string, status: Status): boolean {
    const task = this.tasks.get(id);
    if (task === undefined || task.status === status) return false;
    this.tasks.set(id, { ...task, status, rank: Date.now() });
    return true;
  }

  // The canvas

  /** Draw on a line, or begin it. */
  draw(stroke: string, point: Point): void {
    this.extend(stroke, this.me, [point]);
    if (this.drawn?.stroke !== stroke) this.tellDrawn();
    this.drawn ??= { stroke, by: this.me, points: [] };
    this.drawn.points.push(point);
    this.tellDrawnSoon(undefined);
  }

  erase(): void {
    const erased = [...this.strokes.all.peek().keys()];
    for (const id of erased) this.strokes.set(id, null);
    this.emit("canvas:update", { changes: { erased } });
  }

  readonly point = throttled(CURSOR_EVERY, (place: Place | null) =>
    this.emit("canvas:cursor", { position: { by: this.me, surface: "canvas", at: null, ...place } }),
  );

  private readonly tellDrawnSoon = throttled(CURSOR_EVERY, () => this.tellDrawn());

  private tellDrawn(): void {
    if (this.drawn) this.emit("canvas:update", { changes: this.drawn });
    this.drawn = undefined;
  }

  private extend(id: string, by: string, points: Point[]): void {
    const known = this.strokes.get(id)?.points ?? [];
    this.strokes.set(id, { by, points: [...known, ...points].slice(0, MOST_POINTS) });
  }

  // The document

  write(content: string): void {
    this.files.set(FILE, content);
    this.emit("markdown:update", { fileId: FILE, content });
    this.type("document");
  }

  readonly placeCaret = throttled(CURSOR_EVERY, (range: { from: number; to: number } | null) =>
    this.emit("markdown:cursor", { fileId: FILE, position: { by: this.me, ...range } }),
  );

  // The sheet

  setCell(cell: string, value: string): void {
    this.cells.set(cell, value);
    this.emit("spreadsheet:cell-update", { cell, value });
    this.type("sheet");
  }

  select(cell: string | null): void {
    this.emit("spreadsheet:selection", { selection: { by: this.me, cell } });
  }

  // Typing

  private type(context: string): void {
    if (this.typing === undefined) this.emit("typing:start", { context, timestamp: Date.now() });
    clearTimeout(this.typing);
    this.typing = setTimeout(() => {
      this.typing = undefined;
      this.emit("typing:stop", { context });
    }, TYPING_ENDS);
  }

  // What the others do

  private listen(): void {
    const { socket } = this.connection;
    socket.on("task:create", (task) => this.receiveTask(task));
    socket.on("task:update", (task) => this.receiveTask(task));
    socket.on("task:delete", ({ taskId }) => this.tasks.remove(readId(taskId)));
    socket.on("task:move", ({ taskId, status }) => {
      const [id, known] = [readId(taskId), readStatus(status)];
      if (id !== undefined && known !== undefined) this.placeTask(id, known);
    });
    socket.on("canvas:update", (changes) => this.receiveChanges(changes));
    socket.on("markdown:update", ({ fileId, content }) => this.files.receive(readId(fileId), content));
    socket.on("spreadsheet:cell-update", ({ cell, value }) => this.cells.receive(readId(cell), value));
    socket.on("server:notice", ({ message }: { message: string }) => (this.told.value = message));
    socket.on("error", ({ message, event }: { message: string; event?: string }) => {
      if (!this.refusal.peek()?.isOfProject) this.refuse({ message, isOfProject: event === "join-project" });
    });
  }

  private refuse(refusal: Refusal): void {
    this.refusal.value = refusal;
    clearTimeout(this.forgetting);
    if (!refusal.isOfProject) this.forgetting = setTimeout(() => (this.refusal.value = null), REFUSAL_SHOWN);
  }

  private receiveTask(task: unknown): void {
    if (isObject(task)) this.tasks.receive(readId(task.id ?? freshId()), task);
  }

  private receiveChanges(changes: unknown): void {
    if (!isObject(changes)) return;
    const stroke = readId(changes.stroke);
    if (stroke !== undefined) this.extend(stroke, readName(changes.by), readPoints(changes.points));
    if (Array.isArray(changes.erased)) for (const id of changes.erased) this.strokes.remove(readId(id));
    this.exchange.receive(changes);
  }

  join(): void {
    this.refusal.value = null;
    this.connection.socket.emit("join-project", this.id);
    this.exchange.tell(true);
  }

  /** Actions without a connection are kept, and sent after the reconnect. */
  private emit(event: string, payload: object): void {
    if (this.connection.socket.connected) this.connection.socket.emit(event, { projectId: this.id, ...payload });
  }
}
