// Remote control of socket.io-client, so that tests in another language can drive it: orders come as JSON lines
// {do, name, …} on standard input, and what the clients get goes as JSON lines {name, event} or {name, change} to standard output.
// Binary data is {"$bytes": base64} both ways.

import { createInterface } from "node:readline";
import { Fetch } from "engine.io-client";
import { io } from "socket.io-client";

const sockets = new Map();

const isObject = (value) => typeof value === "object" && value !== null;
const mapValues = (object, change) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));

function pack(value) {
  if (ArrayBuffer.isView(value)) {
    return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  if (value instanceof ArrayBuffer) return pack(new Uint8Array(value));
  if (Array.isArray(value)) return value.map(pack);
  return isObject(value) ? mapValues(value, pack) : value;
}

function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (!isObject(value)) return value;
  return "$bytes" in value ? new Uint8Array(Buffer.from(value.$bytes, "base64")) : mapValues(value, unpack);
}

const tell = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

// Polling by fetch() has a name here: the client's option takes the class.
const named = (transports) => transports && { transports: transports.map((each) => (each === "fetch" ? Fetch : each)) };

const orders = {
  open({ name, url, options }) {
    const socket = io(url, { autoConnect: false, forceNew: true, ...options, ...named(options.transports) });
    const changed = (...change) => tell({ name, change });
    socket.onAny((...event) => tell({ name, event: event.map(pack) }));
    socket.on("connect", () => changed("connect", socket.id, socket.io.engine.transport.name));
    socket.on("connect_error", (error) => changed("connect_error", error.message));
    socket.on("disconnect", (reason) => changed("disconnect", reason));
    socket.io.on("open", () => socket.io.engine.on("upgrade", (transport) => changed("upgrade", transport.name)));
    sockets.set(name, socket);
    socket.connect();
  },
  emit: ({ name, event }) => sockets.get(name)?.emit(...event.map(unpack)), // a page that is closed sends nothing
  async call({ name, event, id }) {
    try {
      const [first, ...args] = event.map(unpack);
      tell({ id, answer: pack(await sockets.get(name).timeout(60_000).emitWithAck(first, ...args)) ?? null });
    } catch (error) {
      tell({ id, error: String(error) });
    }
  },
  close({ name }) {
    sockets.get(name).disconnect();
    sockets.delete(name);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: order, ...details } = JSON.parse(line);
  orders[order](details);
}
process.exit();
