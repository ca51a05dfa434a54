/** What every page begins with, the same on each. */

import type { Task } from "./values";

export const TASKS: Record<string, Task> = {
  brief: { title: "Write the launch brief", status: "TODO", rank: 1 },
  colours: { title: "Choose the colours", status: "TODO", rank: 2 },
  signup: { title: "Sketch the sign-up flow", status: "IN_PROGRESS", rank: 3 },
  interviews: { title: "Talk to five customers", status: "IN_PROGRESS", rank: 4 },
  name: { title: "Find a name", status: "DONE", rank: 5 },
};

export const FILE = "notes";

export const TEXT = `# Launch notes

Everyone on this page writes in **one document**. Open it as *somebody else*, and watch the text and the cursors.

- Move a card, draw a line, change a number
- [ ] Ask what the server stored: nothing
- [x] Say hello
`;

export const CELLS: Record<string, string> = {
  A1: "Budget", B1: "Plan", C1: "Spent",
  A2: "Design", B2: "4000", C2: "3200",
  A3: "Build", B3: "9000", C3: "5100",
  A4: "Launch", B4: "2500", C4: "400",
  A5: "Total", B5: "=SUM(B2:B4)", C5: "=SUM(C2:C4)",
};
