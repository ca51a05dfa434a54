// Mistakes that the declarations of `synkora schema typescript` show: each line with a number is that error of tsc.
import { io, type Socket } from "socket.io-client";
import type { AppData, ClientToServerEvents, ServerToClientEvents } from "./synkora-events";

type Task = { id: string; title: string };

interface OurData extends AppData {
  "task:create": { task: Task };
}
interface Misnamed extends AppData { // 2430
  "task:create": { tsak: Task };
}
export type Theirs = Misnamed;

const socket: Socket<ServerToClientEvents<OurData>, ClientToServerEvents<OurData>> = io();

socket.emit("task:craete", { projectId: "project_1", task: { id: "1", title: "" } }); // 2345
socket.emit("task:create", { task: { id: "1", title: "" } }); // 2345
socket.emit("task:create", { projectId: 7, task: { id: "1", title: "" } }); // 2345
socket.emit("task:create", { projectId: "project_1", task: { id: 1, title: "" } }); // 2345
socket.emit("task:create", { projectId: "project_1" }); // 2345
socket.emit("task:create"); // 2345
socket.emit("task:move", { projectId: "project_1", taksId: "task_1" }); // 2561
socket.emit("join-project", { projectId: "project_1" }); // 2345
socket.emit("join-project"); // 2345
socket.emit("ping", 1); // 2345
socket.emit("users:count", { count: 1 }); // 2345
socket.emit("auth:refresh", "…", (answer) => answer.expiresAt); // 2339
socket.emitWithAck("auth:refresh", "…").then((answer) => answer.expiresAt); // 2339

socket.on("task:create", (task) => task.titel); // 2551
socket.on("task:update", (task) => task.title); // 18046
socket.on("users:count", ({ users }) => users); // 2339
socket.on("user:gone", () => undefined); // 2345
socket.on("join-project", () => undefined); // 2345
socket.emitWithAck("task:create", { projectId: 7, task: { id: "1", title: "" } }); // 2345
socket.emitWithAck("join-project", 7); // 2345
