// A page whose code the declarations of `synkora schema typescript` take: it is compiled, and never run.
import { io, type Socket } from "socket.io-client";
import type { ActiveUser, AppData, ClientToServerEvents, ServerToClientEvents } from "./synkora-events";

type Task = { id: string; title: string };
type Point = { x: number; y: number };

interface OurData extends AppData {
  "task:create": { task: Task };
  "canvas:cursor": { position: Point };
  "typing:start": { context: "canvas" | "notes"; timestamp?: number | string };
}

const socket: Socket<ServerToClientEvents<OurData>, ClientToServerEvents<OurData>> = io();

socket.on("connected", ({ socketId, userId, timestamp }) => [socketId, userId, timestamp].join(" "));
socket.on("users:active", ({ users, count }) => users.map((user: ActiveUser) => user.userImage ?? count.toFixed()));
socket.on("user:joined", (joined) => joined.userName.trim());
socket.on("error", ({ message, retryAfter }) => message + (retryAfter?.toFixed() ?? ""));
socket.on("connect_error", (error) => error.message.trim());
socket.on("task:create", (task) => task.title.trim());
socket.on("canvas:cursor", ({ socketId, position }) => socketId.trim() + position.x.toFixed());
socket.on("typing:start", ({ userName, context }) => userName + (context === "canvas"));
socket.on("task:move", ({ taskId }) => (typeof taskId === "string" ? taskId.trim() : ""));

socket.emit("join-project", "project_1");
socket.emit("leave-project", "project_1", () => undefined);
socket.emit("ping");
socket.emit("task:create", { projectId: "project_1", task: { id: "task_1", title: "Say hello" } });
socket.emit("task:move", { projectId: "project_1", taskId: "task_1", status: "DONE" }, () => undefined);
socket.emit("canvas:cursor", { projectId: "project_1", position: { x: 1, y: 2 } });
socket.emit("typing:start", { projectId: "project_1", context: "notes" });
socket.emit("auth:refresh", { token: "…" }, (answer) => (answer.ok ? answer.expiresAt?.trim() : answer.message.trim()));
export const refreshed = async () => {
  const answer = await socket.emitWithAck("auth:refresh", "…");
  return answer.ok ? answer.expiresAt : answer.message;
};

// Without declared types, the app gets relayed data as unknown.
const plain: Socket<ServerToClientEvents, ClientToServerEvents> = io();
plain.on("task:update", (task: unknown) => task);
plain.emit("task:update", { projectId: "project_1", task: 7 });
export const relayed: Promise<unknown> = socket.emitWithAck("task:create", { projectId: "project_1", task: { id: "1", title: "" } });
export const joined: Promise<unknown> = socket.emitWithAck("join-project", "p");
