// Remote control of a server of Node.js with Socket.IO's own instrument() for its admin UI: orders come as JSON lines
// {do, id, …} on standard input, and are answered by JSON lines {id, answer} on standard output.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import admin from "@socket.io/admin-ui";
import { createAdapter } from "@socket.io/redis-adapter";
import bcrypt from "bcryptjs";
import { createClient } from "redis";
import { Server } from "socket.io";

const COST = 4; // the least there is: the password is that of a test

async function connect(url) {
  const client = createClient({ url });
  client.on("error", () => {}); // the test is over, and its Redis gone
  await client.connect();
  return client;
}

const orders = {
  // Starts a server whose clients join the rooms that they ask for, one of several where there is a Redis; answers its
  // port.
  async serve({ password, redis }) {
    const http = createServer();
    const io = new Server(http);
    if (redis) io.adapter(createAdapter(await connect(redis), await connect(redis)));
    io.on("connection", (socket) => socket.on("join-project", (room) => socket.join(room)));
    const auth = { type: "basic", username: "ann", password: bcrypt.hashSync(password, COST) };
    admin.instrument(io, { auth, mode: "development" });
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    return http.address().port;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: order, id, ...details } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify({ id, answer: await orders[order](details) })}\n`);
}
process.exit();
