// The hooks of the page. They have the web app's faults on purpose: they join on mount and never after a reconnect, and
// the listeners that `useSocket` adds are never removed.

import { createContext, useContext, useEffect, useState } from "react";
import { connect } from "./socket.js";

export const Session = createContext(null);

/** The session's cookie is HttpOnly, so the page finds no token and sends the user's id. */
async function findToken() {
  const { user } = await (await fetch("/api/auth/session")).json();
  const found = /(?:^|; )next-auth\.session-token=([^;]*)/.exec(document.cookie);
  return found ? found[1] : user.id;
}

export function useSocket() {
  const session = useContext(Session);
  const [socket, setSocket] = useState(null);
  const [isConnected, setIsConnected] = useState(false);

  useEffect(() => {
    if (!session) return;
    void (async () => {
      const socket = connect(await findToken());
      setSocket(socket);
      socket.on("connect", () => setIsConnected(true));
      socket.on("disconnect", () => setIsConnected(false));
      setIsConnected(socket.connected);
    })();
  }, [session]);

  useEffect(() => {
    const timer = setInterval(() => socket?.connected && socket.emit("ping"), 30_000);
    return () => clearInterval(timer);
  }, [socket]);

  return { socket, isConnected };
}

/** Be in a project while the component is mounted, and listen there; `listeners` must not change. */
export function useProject(projectId, listeners) {
  const { socket, isConnected } = useSocket();

  useEffect(() => {
    if (!socket) return;
    socket.emit("join-project", projectId);
    for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener);
    return () => {
      for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener);
      socket.emit("leave-project", projectId);
    };
  }, [socket, projectId, listeners]);

  /** The app sends nothing while its badge shows the page as offline. */
  const send = (event, payload) => {
    if (socket && isConnected) socket.emit(event, { projectId, ...payload });
  };
  return { isConnected, send };
}
