// Synkora's events by socket.io, as in the library's own guide: the server that the project's server is compared
// with. It has the same checks (token, payload, membership, limits) and the same announcements. It runs on Node.js, and
// on Bun with the engine that socket.io has for it.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import jwt from "jsonwebtoken";
import { createClient } from "redis";
import { Server } from "socket.io";

const env = process.env;
const SECRET = env.NEXTAUTH_SECRET;
if (!SECRET) {
  console.error("NEXTAUTH_SECRET is not set");
  process.exit(1);
}
const LIMITS = {
  volatile: Number(env.LIMIT_VOLATILE_RATE ?? 100),
  edit: Number(env.LIMIT_EDIT_RATE ?? 100),
  other: Number(env.LIMIT_OTHER_RATE ?? 20),
};
const BURST = 3; // seconds' worth that may come at once
// Node.js servers of this kind send the whole list of users to everyone at each join. "joiner": only to the joiner.
const LIST_TO_EVERYONE = (env.LIST_TO ?? "everyone") !== "joiner";

const volatile = (delivery) => ({ kind: "volatile", delivery });
const edit = (delivery, logged) => ({ kind: "edit", delivery, logged });

const RELAYED = {
  "task:create": edit(({ task }) => task, "Task created"),
  "task:update": edit(({ task }) => task, "Task updated"),
  "task:delete": edit(({ taskId }) => ({ taskId }), "Task deleted"),
  "task:move": edit(({ taskId, status }) => ({ taskId, status }), "Task moved"),
  "canvas:update": edit(({ changes }) => changes),
  "canvas:cursor": volatile(({ position }, { socketId }) => ({ socketId, position })),
  "markdown:update": edit(({ fileId, content }) => ({ fileId, content }), "Markdown updated"),
  "markdown:cursor": volatile(({ fileId, position }, { socketId }) => ({ socketId, fileId, position })),
  "spreadsheet:cell-update": edit(({ cell, value }) => ({ cell, value }), "Cell updated"),
  "spreadsheet:batch-update": edit(({ cells }) => ({ cells }), "Cells updated"),
  "spreadsheet:selection": volatile(({ selection }, { socketId }) => ({ socketId, selection })),
  "typing:start": volatile(({ context, timestamp }, sender) => ({ ...sender, context, timestamp })),
  "typing:stop": volatile(({ context }, { socketId, userId }) => ({ socketId, userId, context })),
};

// By id: a map from socket ids to members. Each instance knows only its own members, and sends only to them (`local`).
const projects = new Map();
const counts = { received: {}, refused: 0 }; // for a page of metrics

const http = createServer((request, response) => {
  const found = request.method === "GET" && ["/", "/health"].includes(request.url);
  const health = {
    status: "healthy",
    service: "Synkora WebSocket Server",
    uptime: process.uptime(),
    connections: io.engine.clientsCount,
    rooms: projects.size,
  };
  response.writeHead(found ? 200 : 404, { "Content-Type": "application/json" });
  response.end(JSON.stringify(found ? health : { error: "Not found" }));
});

const OPTIONS = {
  cors: { origin: (env.ALLOWED_ORIGINS ?? "http://localhost:3000").split(","), credentials: true },
  pingInterval: 25_000,
  pingTimeout: 60_000,
  maxHttpBufferSize: 1_000_000,
  perMessageDeflate: env.COMPRESSION === "true" ? { threshold: 1024 } : false,
  ...(env.RECOVERY === "true" && { connectionStateRecovery: {} }),
};
const io = globalThis.Bun ? new Server(OPTIONS) : new Server(http, OPTIONS);
let listen = (port, hostname) => http.listen(port, hostname);
if (globalThis.Bun) {
  const { Server: Engine } = await import("@socket.io/bun-engine");
  const engine = new Engine({ ...OPTIONS, path: "/socket.io/" });
  io.bind(engine);
  listen = (port, hostname) => Bun.serve({ ...engine.handler(), port, hostname });
}

if (process.env.REDIS_URL) {
  const publisher = createClient({ url: process.env.REDIS_URL }).on("error", console.error);
  const subscriber = publisher.duplicate().on("error", console.error);
  await Promise.all([publisher.connect(), subscriber.connect()]);
  if (env.RECOVERY === "true") {
    // Of the adapters for Redis, only this one recovers connections.
    const streams = await import("@socket.io/redis-streams-adapter");
    io.adapter(streams.createAdapter(publisher));
  } else {
    io.adapter(createAdapter(publisher, subscriber));
  }
}

io.use((socket, next) => {
  const token = socket.handshake.auth.token;
  if (!token) return next(new Error("Authentication required"));
  let claims;
  try {
    claims = jwt.verify(token, SECRET, { algorithms: ["HS256"] });
  } catch {
    return next(new Error("Authentication failed"));
  }
  if (!claims.id) return next(new Error("Invalid token"));
  socket.data.user = {
    id: claims.id,
    name: claims.name ?? "Anonymous",
    email: claims.email,
    image: claims.picture ?? claims.image,
  };
  next();
});

// A token bucket for each kind of event.
function takeFrom(bucket, rate) {
  const now = performance.now();
  bucket.tokens = Math.min(rate * BURST, bucket.tokens + ((now - bucket.at) * rate) / 1000);
  bucket.at = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

const now = () => new Date().toISOString();
const listOf = (users) => ({ users: [...users.values()], count: users.size });

function join(socket, projectId) {
  const { id: userId, name: userName, image: userImage } = socket.data.user;
  const users = projects.get(projectId) ?? new Map();
  if (users.has(socket.id)) return socket.emit("users:active", listOf(users));
  projects.set(projectId, users);
  const joinedAt = now();
  users.set(socket.id, { userId, userName, userImage, joinedAt });
  socket.join(projectId);
  const joined = { socketId: socket.id, userId, userName, joinedAt, timestamp: joinedAt, userImage };
  socket.local.to(projectId).emit("user:joined", joined);
  (LIST_TO_EVERYONE ? io.local.to(projectId) : socket).emit("users:active", listOf(users));
  io.local.to(projectId).emit("users:count", { count: users.size });
  console.log(`✓ ${userName} joined project ${projectId}`);
}

function leave(socket, projectId) {
  const users = projects.get(projectId);
  if (!users?.delete(socket.id)) return;
  if (!users.size) projects.delete(projectId);
  const { id: userId, name: userName } = socket.data.user;
  io.local.to(projectId).emit("user:left", { socketId: socket.id, userId, userName, timestamp: now() });
  io.local.to(projectId).emit("users:active", listOf(users));
  io.local.to(projectId).emit("users:count", { count: users.size });
}

io.on("connection", (socket) => {
  const { id: userId, name: userName } = socket.data.user;
  const sender = { socketId: socket.id, userId, userName };
  const buckets = {};
  for (const kind in LIMITS) buckets[kind] = { tokens: LIMITS[kind] * BURST, at: performance.now() };

  const refuse = (message) => {
    counts.refused += 1;
    socket.emit("error", { message });
  };
  const on = (event, kind, handle) => {
    socket.on(event, (payload) => {
      counts.received[event] = (counts.received[event] ?? 0) + 1;
      if (!takeFrom(buckets[kind], LIMITS[kind])) return refuse("Too many events: slow down");
      handle(payload);
    });
  };
  const isProject = (id) => typeof id === "string" && id !== "";

  on("join-project", "other", (id) => (isProject(id) ? join(socket, id) : refuse("Project ID is required")));
  on("leave-project", "other", (id) => {
    if (!isProject(id)) return refuse("Project ID is required");
    socket.leave(id);
    leave(socket, id);
  });
  on("ping", "other", () => socket.emit("pong", { timestamp: now() }));
  for (const [event, { kind, delivery, logged }] of Object.entries(RELAYED)) {
    on(event, kind, (payload) => {
      if (!isProject(payload?.projectId)) return refuse("Project ID is required");
      const { projectId } = payload;
      if (!projects.get(projectId)?.has(socket.id)) return refuse(`${event}: join the project first`);
      socket.to(projectId).emit(event, delivery(payload, sender));
      if (logged) console.log(`→ ${logged} in ${projectId} by ${userName}`);
    });
  }
  // The socket stays in its rooms meanwhile: by them the library recovers it.
  socket.on("disconnecting", () => {
    for (const room of socket.rooms) leave(socket, room);
  });
  socket.on("disconnect", (reason) => console.log(`✗ Client disconnected: ${socket.id} (${userName}) - ${reason}`));

  if (socket.recovered) for (const room of socket.rooms) if (room !== socket.id) join(socket, room);
  socket.emit("connected", { socketId: socket.id, userId, timestamp: now() });
  console.log(`✓ Client connected: ${socket.id} (User: ${userName})`);
});

// Everyone, by the library's own broadcast.
process.on("SIGTERM", () => {
  io.local.emit("server:shutdown", { message: "Server is shutting down. You will be reconnected." });
  io.close(() => process.exit());
  setTimeout(() => process.exit(), 5_000);
});

listen(Number(env.WS_PORT ?? 3001), env.WS_HOST);
