// Explores one world, with or without a mutation, and prints the result as JSON:
//   node main.mjs '{"plan": {"pages": 1, "changes": 2}}'
// `edits` lists replaced texts by file; `shortest` finds a shortest counterexample.

import { load } from "./modules.mjs";

const { plan, edits, shortest } = JSON.parse(process.argv[2]);
const { Source, explore } = await load(edits);
console.log(JSON.stringify(await explore(Source, plan, shortest)));
