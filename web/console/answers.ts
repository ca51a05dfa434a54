/** What the server answers. Times are Unix seconds, durations seconds, sizes bytes; totals only grow. */

export interface Sample {
  at: number;
  connections: { websocket: number; polling: number };
  signedIn: number;
  users: number;
  projects: number;
  events: Totals;
  refused: number;
  deliveries: number;
  bytesIn: number;
  bytesOut: number;
  /** The worst of the interval. */
  loopLag: number;
  cpu: number;
  memory: number;
  incidents: Totals;
  limits: Totals;
  waiting: { clients: number; bytes: number };
  dropped: number;
  cutOff: number;
  redis: Redis | null;
}

export type Totals = Record<string, number>;

export interface Redis {
  isUp: boolean;
  roundTrip: number | null;
  published: number;
  received: number;
  dropped: number;
  reconnects: number;
}

export interface Instance {
  id: string;
  name: string;
  unanswered: false;
  version: string;
  startedAt: number;
  isThis: boolean;
  status: "healthy" | "degraded" | "shutting down";
  reason: string | null;
  samples: Sample[];
}

/** One that the others know of and that has not answered. */
export interface SilentInstance {
  id: string;
  name: string;
  unanswered: true;
  samples: [];
}

export interface Overview {
  interval: number;
  keeps: number;
  instances: (Instance | SilentInstance)[];
}

export interface Connection {
  socketId: string;
  instance: string;
  userId: string;
  userName: string;
  transport: "websocket" | "polling";
  address: string;
  since: number;
  /** The first of them. */
  projects: string[];
  projectCount: number;
  waiting: number;
  received: number;
}

export interface Project {
  projectId: string;
  users: number;
  connections: number;
  instances: string[];
}

/**
 * Who is in a project; `received` are events over all connections there, those of other projects included. `kept` is
 * what the server keeps for clients that return, null without recovery.
 */
export interface OpenProject extends Answered {
  at: number;
  total: number;
  connections: number;
  received: number;
  kept: { events: number; bytes: number } | null;
  users: { userId: string; userName: string; connections: number; received: number }[];
}

export interface Block {
  kind: "user" | "address";
  name: string;
  until: number;
}

/** What all instances have been asked for. */
export interface Answered {
  /** The ids of those that have not answered. */
  unanswered: string[];
}

/** A page of the rows that match. */
export interface Rows<Row> extends Answered {
  total: number;
  matched: number;
  /** How many of them can be paged through. */
  reachable: number;
  rows: Row[];
}

export type Level = "debug" | "info" | "warning" | "error";

export interface Entry {
  at: number;
  instance: string;
  level: Level;
  event: string;
  text: string;
}

export interface LogPart {
  cursor: string;
  entries: Entry[];
}

export interface Setting {
  variable: string;
  value: string | null;
  isDefault: boolean;
  description: string;
}
