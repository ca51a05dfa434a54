// What the web app has for the page of its board: the page's files, the session, and tasks. Everybody with a session may
// change the tasks, so that what is refused is refused by the WebSocket server.

import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { json } from "node:stream/consumers";

const TYPES = { ".html": "text/html", ".js": "text/javascript" };

/** Serves the folder `pages`; the answer of what it serves says whether that was for it. */
export function board(pages, session) {
  const tasks = [];
  const send = (response, type, body) => response.writeHead(200, { "content-type": type }).end(body);

  async function change(request, path) {
    const [, projectId] = /^\/api\/projects\/([^/]+)\/tasks$/.exec(path) ?? [];
    const [, taskId] = /^\/api\/tasks\/([^/]+)$/.exec(path) ?? [];
    if (path === "/api/auth/session") return { user: await session(request) };
    if (taskId) return Object.assign(tasks[taskId], await json(request));
    if (!projectId) return undefined;
    if (request.method === "GET") return tasks.filter((task) => task.projectId === projectId);
    const task = { id: String(tasks.length), projectId, status: "TODO", ...(await json(request)) };
    tasks.push(task);
    return task;
  }

  return async function serve(request, response) {
    const { pathname } = new URL(request.url, "http://app");
    if (pathname.startsWith("/projects/") || pathname.startsWith("/assets/")) {
      const file = pathname.startsWith("/assets/") ? pathname : "index.html";
      send(response, TYPES[extname(file)], readFileSync(join(pages, file)));
      return true;
    }
    const answer = await change(request, pathname);
    if (answer) send(response, "application/json", JSON.stringify(answer));
    return answer !== undefined;
  };
}
