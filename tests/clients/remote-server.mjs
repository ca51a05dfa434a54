// Remote control of socket.io on Node.js with its Redis adapter, and of the Redis emitter, so that tests in another
// language can drive them: orders come as JSON lines {do, id, …} on standard input, and each is answered by a JSON line
// {id, answer} or {id, error} on standard output. What JSON cannot hold is an object with one key that begins with `$`.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import notepack from "notepack.io";
import { createClient } from "redis";
import { Server } from "socket.io";

const speakers = new Map(); // servers and emitters, by name
const heard = new Map(); // by the name of a server, the events that other servers have sent it

const isObject = (value) => typeof value === "object" && value !== null;
const mapValues = (object, change) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));

function pack(value) {
  if (value instanceof ArrayBuffer) return pack(new Uint8Array(value));
  if (ArrayBuffer.isView(value)) return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  if (value instanceof Date) return { $date: value.getTime() };
  if (value instanceof Set) return [...value].map(pack);
  if (Array.isArray(value)) return value.map(pack);
  if (isObject(value)) return mapValues(value, pack);
  return typeof value === "number" && !Number.isFinite(value) ? { $number: String(value) } : value;
}

const special = {
  $bytes: (text) => Buffer.from(text, "base64"),
  $arraybuffer: (text) => new Uint8Array(Buffer.from(text, "base64")).buffer,
  $date: (milliseconds) => new Date(milliseconds),
  $number: (text) => Number(text),
  $undefined: () => undefined,
};

function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (!isObject(value)) return value;
  const [[key, content] = []] = Object.entries(value);
  return key in special ? special[key](content) : mapValues(value, unpack);
}

async function redis(url) {
  const client = createClient({ url });
  client.on("error", () => {}); // it connects again by itself
  await client.connect();
  return client;
}

async function serve(name, { url, adapter, namespaces }) {
  const http = createServer();
  const io = new Server(http);
  io.adapter(createAdapter(await redis(url), await redis(url), adapter));
  heard.set(name, []);
  for (const each of namespaces ?? ["/"]) {
    const namespace = io.of(each);
    namespace.on("connection", (socket) => {
      socket.data.name = socket.handshake.auth.name;
      socket.on("enter", (...rooms) => rooms.pop()(socket.join(rooms)));
      socket.on("tell", (rooms, ...event) => event.pop()(socket.to(rooms).emit(...event)));
    });
    namespace.on("note", (...args) => heard.get(name).push(args));
    namespace.on("question", (value, answer) => answer([name, value]));
  }
  speakers.set(name, io);
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return http.address().port;
}

// Walks along a chain such as [["of", "/"], ["to", "room"], ["volatile"], ["emit", "event", 1]].
function walk(start, chain) {
  return chain.reduce((target, [step, ...args]) => (typeof target[step] === "function" ? target[step](...args) : target[step]), start);
}

function plain(result) {
  if (Array.isArray(result) && result[0]?.handshake) {
    return result.map(({ id, handshake, rooms, data }) => ({ id, handshake, rooms: [...rooms], data }));
  }
  return isObject(result) && !Array.isArray(result) && !(result instanceof Set) ? null : result;
}

const orders = {
  serve: ({ name, ...options }) => serve(name, options),
  emitter: async ({ name, url, options }) => void speakers.set(name, new Emitter(await redis(url), options)),
  async walk({ name, chain }) {
    try {
      return plain(await walk(speakers.get(name), unpack(chain)));
    } catch (error) {
      if (error.responses) return { responses: error.responses };
      throw error;
    }
  },
  heard: ({ name }) => heard.get(name).splice(0),
  encode: ({ text, value }) => notepack.encode(text === undefined ? unpack(value) : JSON.parse(text)),
  decode: ({ bytes }) => notepack.decode(unpack(bytes)),
};

const tell = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  const { do: order, id, ...details } = JSON.parse(line);
  // Not awaited: one that waits for clients must not keep others waiting.
  Promise.resolve()
    .then(() => orders[order](details))
    .then(
      (answer) => tell({ id, answer: pack(answer) ?? null }),
      (error) => tell({ id, error: String(error?.stack ?? error) }),
    );
}
process.exit();
