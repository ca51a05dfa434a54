// A page that notes when each task arrives, in ms since 1970. When standard input ends, the tasks' ids with their times
// go to standard output, as JSON.
import { once } from "node:events";
import jwt from "jsonwebtoken";
import { io } from "socket.io-client";

const [url, project] = process.argv.slice(2);
const arrivals = [];
const token = jwt.sign({ id: "alice", name: "Alice" }, process.env.NEXTAUTH_SECRET, { expiresIn: 3600 });
const socket = io(url, { auth: { token }, transports: ["websocket"] });
socket.on("task:create", ({ id }) => arrivals.push([id, performance.timeOrigin + performance.now()]));
socket.on("connect", () => socket.emit("join-project", project));
socket.on("connect_error", ({ message }) => console.error(message));
await new Promise((resolve) => socket.on("users:active", resolve));
console.log("joined");
await once(process.stdin.resume(), "end");
console.log(JSON.stringify(arrivals));
process.exit();
