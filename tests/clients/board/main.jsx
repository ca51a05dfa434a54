// A stand-in for the web app's page: a board, the members, and tabs, in React's StrictMode. It is opened
// at /projects/ID?server=URL, with the address of the WebSocket server.

import { StrictMode, useEffect, useMemo, useState } from "react";
import { createRoot } from "react-dom/client";
import { Session, useProject } from "./hooks.js";

const STATUSES = ["TODO", "IN_PROGRESS", "DONE"];
const projectId = decodeURIComponent(location.pathname.split("/")[2]);
const TASKS = `/api/projects/${encodeURIComponent(projectId)}/tasks`;

async function ask(path, method = "GET", body) {
  const answer = await fetch(path, { method, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  return answer.json();
}

/** Throws where `joinedAt` is missing, which ends the page. */
function since(joinedAt) {
  const seconds = (Date.parse(new Date(joinedAt).toISOString()) - Date.now()) / 1000;
  return new Intl.RelativeTimeFormat("en").format(Math.round(seconds), "second");
}

function Users() {
  const [users, setUsers] = useState([]);
  const listeners = useMemo(
    () => ({
      "users:active": ({ users }) => setUsers(users),
      "user:joined": (user) => setUsers((now) => [...now.filter(({ userId }) => userId !== user.userId), user]),
      "user:left": ({ userId }) => setUsers((now) => now.filter((user) => user.userId !== userId)),
    }),
    [],
  );
  useProject(projectId, listeners);
  return (
    <ul aria-label="Users">
      {users.map(({ userId, userName, joinedAt }) => (
        <li key={userId} title={`Joined ${since(joinedAt)}`}>
          {userName}
        </li>
      ))}
    </ul>
  );
}

function Card({ task, onMove }) {
  return (
    <li className="card">
      {task.title}
      <select aria-label="Status" value={task.status} onChange={({ target }) => onMove(task.id, target.value)}>
        {STATUSES.map((status) => (
          <option key={status}>{status}</option>
        ))}
      </select>
    </li>
  );
}

function useTasks() {
  const [tasks, setTasks] = useState([]);
  const listeners = useMemo(
    () => ({
      "task:create": (task) => setTasks((now) => [...now, task]),
      "task:move": ({ taskId, status }) =>
        setTasks((now) => now.map((task) => (task.id === taskId ? { ...task, status } : task))),
    }),
    [],
  );
  // Once, when the tab opens, and not after a reconnect.
  useEffect(() => void ask(TASKS).then(setTasks), []);
  return [tasks, listeners];
}

function Board() {
  const [tasks, listeners] = useTasks();
  const { isConnected, send } = useProject(projectId, listeners);
  const onCreate = async (event) => {
    event.preventDefault();
    const { title } = event.target.elements;
    const task = await ask(TASKS, "POST", { title: title.value });
    title.value = "";
    listeners["task:create"](task);
    send("task:create", { task });
  };
  const onMove = async (taskId, status) => {
    listeners["task:move"]({ taskId, status });
    await ask(`/api/tasks/${taskId}`, "PATCH", { status });
    send("task:move", { taskId, status });
  };
  return (
    <>
      <p role="status">{isConnected ? "Live" : "Offline"}</p>
      <form onSubmit={onCreate}>
        <input name="title" aria-label="Title of a new task" />
      </form>
      {STATUSES.map((status) => (
        <ul key={status} data-status={status}>
          {tasks
            .filter((task) => task.status === status)
            .map((task) => (
              <Card key={task.id} task={task} onMove={onMove} />
            ))}
        </ul>
      ))}
      <Users />
    </>
  );
}

const TABS = {
  Board,
  Documents: Users,
  Analytics: () => <p>Nobody joins from here.</p>,
};

function Page() {
  const [session, setSession] = useState(null);
  const [tab, setTab] = useState("Board");
  useEffect(() => void ask("/api/auth/session").then(setSession), []);
  const Tab = TABS[tab];
  return (
    <Session.Provider value={session}>
      <nav>
        {Object.keys(TABS).map((name) => (
          <button key={name} onClick={() => setTab(name)}>
            {name}
          </button>
        ))}
      </nav>
      <Tab />
    </Session.Provider>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
