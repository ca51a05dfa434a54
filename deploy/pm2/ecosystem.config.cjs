// Synkora's web app and its WebSocket server under PM2: pm2 start ecosystem.config.cjs && pm2 save
// To change: the folders. How to: docs/deploying.md, "PM2". The secret is in no file here: each reads its own .env.local.

module.exports = {
  apps: [
    {
      name: "synkora-app",
      cwd: "/opt/synkora-app",
      script: "npm",
      args: "start",
      env: { NODE_ENV: "production", ENABLE_INTEGRATED_WEBSOCKET: "false" },
    },
    {
      name: "synkora-ws",
      cwd: "/opt/synkora",
      script: ".venv/bin/synkora",
      args: "serve",
      interpreter: "none", // it names its own
      // STATE_DIR has what clients missed and who was connected, for the time of a restart. Only without REDIS_URL.
      env: { SYNKORA_ENV: "production", WS_HOST: "127.0.0.1", WS_PORT: "3001", STATE_DIR: ".state" },
      // Three instances on ports 3001 to 3003; they also need REDIS_URL:
      // instances: 3, increment_var: "WS_PORT",

      // Milliseconds: above SHUTDOWN_DRAIN and SHUTDOWN_TIMEOUT together. PM2 sends SIGINT, and kills after this time.
      kill_timeout: 60000,
      // A process that ends at once, for example by wrong settings, is started ten times, with backoff.
      exp_backoff_restart_delay: 200,
      max_restarts: 10,
      min_uptime: "5s",
    },
  ],
};
