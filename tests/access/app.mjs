// The web app as far as this server asks it: GET /api/projects/{id}, answered for the session that the packages of the
// app itself find in the request's cookies. The one argument is JSON {world, secret, version, cookie, port, tls?, pages?};
// the file `world`, read again for each request, holds {projects: {id: {teamId, createdById}}, teams: {id: {userId: role}}}.
// With the folder `pages`, the app also has the page that is built there, and what that page asks for.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { createRequire } from "node:module";
import { board } from "./board.mjs";

const clients = new URL("../clients/", import.meta.url);
const nextauth = createRequire(new URL("package.json", clients))("next-auth/jwt");
const authjs = await import(new URL("node_modules/@auth/core/jwt.js", clients));

const { world, secret, version, cookie, port, tls, pages } = JSON.parse(process.argv[2]);

function cookies(request) {
  const pairs = (request.headers.cookie ?? "").split(";").map((pair) => pair.trim().split("="));
  return Object.fromEntries(pairs.map(([name, ...value]) => [name, value.join("=")]));
}

function session(request) {
  return version === "v5"
    ? authjs.getToken({ req: request, secret, cookieName: cookie })
    : nextauth.getToken({ req: { headers: {}, cookies: cookies(request) }, secret, cookieName: cookie });
}

async function answer(request) {
  const user = await session(request);
  if (!user) return [401, { error: "Unauthorized" }];
  const found = /^\/api\/projects\/([^/]+)$/.exec(new URL(request.url, "http://app").pathname);
  if (!found) return [404, { error: "Not found" }];
  const id = decodeURIComponent(found[1]);
  const { projects, teams } = JSON.parse(readFileSync(world, "utf8"));
  const project = Object.hasOwn(projects, id) ? projects[id] : undefined;
  const members = Object.entries(teams[project?.teamId] ?? {}).map(([userId, role], index) => ({
    id: `member_${index}`,
    userId,
    role,
    user: { id: userId, name: `Name of ${userId}`, image: null },
  }));
  const admitted = project?.teamId ? members.some(({ userId }) => userId === user.id) : project?.createdById === user.id;
  if (!project || !admitted) return [404, { error: "Project not found" }];
  const team = project.teamId ? { id: project.teamId, name: "A team", members } : null;
  return [200, { id, name: "A project", status: "ACTIVE", tasks: [], ...project, team }];
}

const serveBoard = pages && board(pages, session);

async function serve(request, response) {
  if (await serveBoard?.(request, response)) return;
  const [status, body] = await answer(request);
  response.writeHead(status, { "content-type": "application/json", "set-cookie": `${cookie}=renewed; Path=/` });
  response.end(JSON.stringify(body));
}

const server = tls
  ? createSecureServer({ key: readFileSync(tls.key), cert: readFileSync(tls.certificate) }, serve)
  : createServer(serve);
server.listen(port, "127.0.0.1", () => console.log(server.address().port));
