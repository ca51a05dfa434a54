/** The connection to the server: the official client, and its state for the page. */

import { computed, signal } from "@preact/signals";
import { type Socket, io } from "socket.io-client";
import { NotSignedIn, type SignedIn, signIn } from "./sign-in";

export type State = "connecting" | "connected" | "lost" | "refused";

const PING_EVERY = 2_000; // milliseconds
const QUIET_AFTER = 3 * PING_EVERY;
const RETURN_SHOWN = 8_000;

/** The client's reasons for the end of a connection, as text. */
const REASONS: Partial<Record<Socket.DisconnectReason, string>> = {
  "io server disconnect": "The server has ended it.",
  "ping timeout": "The server does not answer.",
  "transport close": "The server, or the network, has cut it off.",
  "transport error": "The network has failed.",
  "parse error": "Something else than this server has answered.",
};

export class Connection {
  readonly state = signal<State>("connecting");
  readonly transport = signal("");
  /** The time of a ping and its pong, in milliseconds; null while there is none. */
  readonly latency = signal<number | null>(null);
  /** The reason of the loss or the refusal, as text or as the server's message. */
  readonly why = signal("");
  readonly attempt = signal(0);
  /** The length of the last disconnect in seconds, for a while after the reconnect. */
  readonly wasAwayFor = signal<number | null>(null);
  /** The number of missed events that the server has replayed; null if the server no longer knew the page. */
  readonly missed = signal<number | null>(null);
  /** Seconds without an answer to a ping, once that is longer than it should be. */
  readonly quietFor = signal(0);
  readonly isConnected = computed(() => this.state.value === "connected");
  readonly socket: Socket;

  private goodbye = "";
  private lostAt: number | null = null;
  private arrived = 0; // since the connection was lost
  private pingedAt = 0;
  private ponged = true;
  private forgetting: ReturnType<typeof setTimeout> | undefined;
  private returning: ReturnType<typeof setTimeout> | undefined;

  constructor(signedIn: SignedIn) {
    this.socket = io({
      autoConnect: false,
      path: signedIn.path,
      transports: signedIn.transports,
      reconnectionDelay: 1_000,
      reconnectionDelayMax: 5_000,
      // A token lasts an hour, so each connection begins with a new one.
      auth: (pass) => {
        signIn(signedIn.name).then(
          ({ token }) => pass({ token }),
          (error: unknown) => {
            if (!(error instanceof NotSignedIn)) return this.socket.io.engine.close(); // the server is gone again
            this.refuse(error.message);
            this.socket.disconnect();
          },
        );
      },
    });
    this.socket.on("connect", () => this.onConnect());
    this.socket.on("disconnect", (reason) => this.onDisconnect(reason));
    this.socket.on("connect_error", (error) => {
      if (!this.socket.active) this.refuse(error.message);
    });
    this.socket.io.on("reconnect_attempt", (attempt) => (this.attempt.value = attempt));
    this.socket.on("server:shutdown", ({ message }: { message: string }) => (this.goodbye = message));
    this.socket.on("pong", () => this.onPong());
    // What was missed arrives before `connect`.
    this.socket.onAny(() => (this.arrived += 1));
    setInterval(() => this.ping(), PING_EVERY);
  }

  connect(): void {
    this.state.value = "connecting";
    this.why.value = "";
    this.socket.connect();
  }

  /** Do not wait for the next attempt. */
  connectNow(): void {
    clearTimeout(this.returning);
    this.socket.disconnect(); // it gives up what it waits for
    this.socket.connect();
  }

  private refuse(why: string): void {
    this.state.value = "refused";
    this.why.value = why;
  }

  private onConnect(): void {
    const { engine } = this.socket.io;
    this.transport.value = engine.transport.name;
    engine.once("upgrade", (transport: { name: string }) => (this.transport.value = transport.name));
    this.state.value = "connected";
    this.why.value = "";
    this.attempt.value = 0;
    this.wasAwayFor.value = this.lostAt === null ? null : (performance.now() - this.lostAt) / 1_000;
    this.missed.value = this.socket.recovered ? this.arrived : null;
    this.lostAt = null;
    clearTimeout(this.forgetting); // else one that an earlier connection has set would hide it too soon
    this.forgetting = setTimeout(() => (this.wasAwayFor.value = null), RETURN_SHOWN);
    this.ponged = true;
    this.ping();
  }

  private onDisconnect(reason: Socket.DisconnectReason): void {
    this.state.value = "lost";
    this.why.value = this.goodbye || (REASONS[reason] ?? reason);
    this.goodbye = "";
    this.latency.value = null;
    this.quietFor.value = 0;
    this.wasAwayFor.value = null;
    this.lostAt = performance.now();
    this.arrived = 0;
    // After a disconnect by the server, the client does not reconnect by itself.
    if (reason === "io server disconnect") this.returning = setTimeout(() => this.socket.connect(), 1_000);
  }

  private ping(): void {
    if (!this.socket.connected) return;
    if (this.ponged) {
      this.ponged = false;
      this.pingedAt = performance.now();
      this.socket.emit("ping");
    } else {
      const waited = performance.now() - this.pingedAt;
      this.quietFor.value = waited > QUIET_AFTER ? Math.round(waited / 1_000) : 0;
    }
  }

  private onPong(): void {
    this.ponged = true;
    this.quietFor.value = 0;
    this.latency.value = performance.now() - this.pingedAt;
  }
}
