import "../shared/styles/font.css";
import "../shared/styles/tokens.css";
import "../shared/styles/controls.css";
import "../shared/styles/frame.css";
import "./styles/page.css";
import "./styles/panels.css";
import { render } from "preact";
import { Connection } from "./connection";
import { Page } from "./page";
import { Project } from "./project";
import { NotSignedIn, type SignedIn, signIn } from "./sign-in";
import { SignInFailed } from "./sign-in-failed";

const query = new URLSearchParams(location.search);

try {
  start(await signIn(query.get("as")));
} catch (error) {
  const why = error instanceof NotSignedIn ? error.message : "The server does not answer.";
  render(<SignInFailed why={why} />, document.body);
}

function start(signedIn: SignedIn): void {
  const connection = new Connection(signedIn);
  const project = new Project(query.get("project") || "playground", signedIn.name, connection);
  document.title = `${signedIn.name} · Playground · Synkora`;
  render(<Page project={project} users={signedIn.users} isBeside={query.has("beside")} />, document.body);
  connection.connect();
}
