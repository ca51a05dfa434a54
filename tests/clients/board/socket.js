// The one socket of the page, which all its hooks share, with the settings and the habits of the web app.

import { io } from "socket.io-client";

const MOST_ERRORS = 10; // in a row, then the app gives up for good
const server = new URLSearchParams(location.search).get("server");
let errors = 0;

/** What a test reads: the socket, all events that came, and all that were sent. */
window.received = [];
window.sent = [];

function open() {
  const socket = io(server, {
    autoConnect: false,
    reconnection: true,
    reconnectionDelay: 1000,
    reconnectionDelayMax: 30_000,
    reconnectionAttempts: Infinity,
  });
  socket.on("connect", () => (errors = 0));
  socket.on("connect_error", ({ message }) => {
    console.error("connection error:", message);
    if (++errors >= MOST_ERRORS) socket.disconnect();
  });
  socket.on("disconnect", (reason) => {
    if (reason === "io server disconnect") socket.connect();
  });
  socket.on("error", ({ message }) => console.error("refused:", message));
  socket.onAny((...event) => window.received.push(event));
  socket.onAnyOutgoing((...event) => window.sent.push(event));
  return socket;
}

/** Every hook calls this, also while the CONNECT of another hook is unanswered. */
export function connect(token) {
  window.socket ??= open();
  if (!window.socket.connected) {
    window.socket.auth = { token };
    window.socket.connect();
  }
  return window.socket;
}
