// Users who work while servers are restarted, each with Synkora's client as in the app. They continue until standard
// input ends; then the counts of clients and messages go to standard output, as JSON. Times are in seconds.
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import jwt from "jsonwebtoken";
import { io } from "socket.io-client";

const [url, clients, projects, pause] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const OPTIONS = { reconnection: true, reconnectionDelay: 1000, reconnectionDelayMax: 30_000, forceNew: true };
const AT_ONCE = 20; // clients that connect at the same time
// Who leaves sooner after a message was sent need not have got it.
const ON_THE_WAY = 0.25;
const LAST = 3; // for what is still on its way in the end

const now = () => performance.now() / 1000;
const users = [];
const messages = []; // {at, by, got: a set of the numbers of users}
let failedAttempts = 0;

class User {
  constructor(number) {
    this.number = number;
    this.project = Math.floor((number * projects) / clients); // those of a project are on every instance
    this.spells = []; // in the project: {from, to}
    this.connects = [];
    const claims = { id: `user-${number}`, name: `User ${number}` };
    const token = jwt.sign(claims, process.env.NEXTAUTH_SECRET, { expiresIn: 3600 });
    this.socket = io(url, { ...OPTIONS, auth: { token } });
    this.socket.on("connect", () => {
      this.connects.push(now());
      this.socket.emit("join-project", `project ${this.project}`);
    });
    this.socket.on("users:active", () => {
      if (!this.isIn) this.spells.push({ from: now(), to: Infinity });
    });
    this.socket.on("disconnect", () => {
      if (this.isIn) this.spells.at(-1).to = now();
    });
    this.socket.on("connect_error", () => (failedAttempts += 1));
    this.socket.on("task:update", ({ number: message }) => messages[message].got.add(this.number));
  }

  get isIn() {
    return this.spells.length > 0 && this.spells.at(-1).to === Infinity;
  }

  get gaps() {
    return this.spells.slice(1).map(({ from }, index) => from - this.spells[index].to);
  }

  send() {
    if (!this.isIn) return;
    const number = messages.push({ by: this.number, at: now(), got: new Set() }) - 1;
    this.socket.emit("task:update", { projectId: `project ${this.project}`, task: { number } });
  }

  // Whether it was in the project when a message was sent, and until it had to come; null if neither this nor that.
  presence({ at }) {
    const spell = this.spells.find(({ from, to }) => from <= at && at < to);
    if (!spell) return false;
    return spell.to >= at + ON_THE_WAY || null;
  }
}

async function until(condition) {
  while (!condition()) await sleep(20);
}

for (let number = 0; number < clients; number += 1) {
  users.push(new User(number));
  await until(() => users.filter((user) => !user.isIn).length < AT_ONCE);
}
await until(() => users.every((user) => user.isIn));
await sleep(1000);
const timers = [];
for (const user of users) {
  await sleep((pause * 1000) / clients);
  timers.push(setInterval(() => user.send(), pause * 1000));
}
process.stdout.write("working\n");
process.stdin.resume();
await once(process.stdin, "end");
await until(() => users.every((user) => user.isIn));
timers.forEach(clearInterval);
await sleep(LAST * 1000);

const byProject = Array.from({ length: projects }, (_, project) => users.filter((user) => user.project === project));
let [due, lost, away] = [0, 0, 0];
for (const message of messages) {
  for (const user of byProject[users[message.by].project]) {
    if (user.number === message.by) continue;
    const was = user.presence(message);
    if (was) due += 1;
    if (was && !message.got.has(user.number)) lost += 1;
    if (was === false && !message.got.has(user.number)) away += 1;
  }
}
const gaps = users.flatMap((user) => user.gaps).sort((a, b) => a - b);
const again = users.flatMap(({ connects }) => connects.slice(1)).sort((a, b) => a - b);
let peak = 0;
for (let first = 0, last = 0; last < again.length; last += 1) {
  while (again[last] - again[first] > 1) first += 1;
  peak = Math.max(peak, last - first + 1);
}
const share = (part) => gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * part))] ?? 0;
process.stdout.write(
  `${JSON.stringify({
    clients,
    sent: messages.length,
    due,
    lost,
    away,
    reconnects: again.length,
    peak,
    failedAttempts,
    medianGap: share(0.5),
    p99Gap: share(0.99),
    longestGap: gaps.at(-1) ?? 0,
  })}\n`,
);
process.exit();
