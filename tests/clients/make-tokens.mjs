// Makes tokens with the packages that the web app makes them with. Standard input holds a JSON array of orders
// {by, claims, secret, maxAge?, algorithm?, salt?, token?}, standard output gets a JSON array with the answer to each.

import assert from "node:assert/strict";
import { createCipheriv, hkdfSync, randomBytes, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import * as authjs from "@auth/core/jwt";

const require = createRequire(import.meta.url);
const jsonwebtoken = require("jsonwebtoken");
const nextauth = require("next-auth/jwt");

const HOUR = 3600;
const base64url = (bytes) => Buffer.from(bytes).toString("base64url");

// Auth.js decodes A256GCM but never makes it: this is for apps with their own encode().
async function authjsGcm({ claims, secret, salt, maxAge }) {
  const info = `Auth.js Generated Encryption Key (${salt})`;
  const key = Buffer.from(hkdfSync("sha256", secret, salt, info, 32));
  const header = base64url(JSON.stringify({ alg: "dir", enc: "A256GCM" }));
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key, iv).setAAD(Buffer.from(header));
  const now = Math.floor(Date.now() / 1000);
  const payload = JSON.stringify({ ...claims, iat: now, exp: now + maxAge, jti: randomUUID() });
  const ciphertext = Buffer.concat([cipher.update(payload), cipher.final()]);
  const token = [header, "", ...[iv, ciphertext, cipher.getAuthTag()].map(base64url)].join(".");
  const decoded = await authjs.decode({ token, secret, salt });
  assert.equal(decoded.id, claims.id, "Auth.js itself must accept it");
  return token;
}

const makers = {
  jsonwebtoken: ({ claims, secret, maxAge, algorithm = "HS256" }) =>
    jsonwebtoken.sign(claims, secret, { expiresIn: maxAge, algorithm }),
  "jsonwebtoken verify": ({ token, secret }) => jsonwebtoken.verify(token, secret),
  nextauth: ({ claims, secret, maxAge, salt }) => nextauth.encode({ token: claims, secret, maxAge, salt }),
  authjs: ({ claims, secret, maxAge, salt }) => authjs.encode({ token: claims, secret, maxAge, salt }),
  "authjs A256GCM": authjsGcm,
};

const orders = JSON.parse(await text(process.stdin));
const answers = await Promise.all(orders.map(({ by, ...order }) => makers[by]({ maxAge: HOUR, ...order })));
process.stdout.write(JSON.stringify(answers));
