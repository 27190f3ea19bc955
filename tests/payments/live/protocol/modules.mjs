// Loads the explorer and the site's modules from a copy, in which texts can be replaced.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const STATIC = new URL("../../../../payments/static/payments/js/", import.meta.url);
const SITE = ["live-source.js", "live-entries.js", "live-waits.js", "in-use.js"];
const HERE = ["browser.mjs", "server.mjs", "world.mjs", "explore.mjs"];
const PRIVATE = /(this\.|^ {2}(?:async )?)#(?=[a-z])/gm;

/**
 * Return the class of <live-source> and the function `explore`, after replacing texts: `edits` lists pairs by file.
 * Private fields of the site's modules are made public, so that a page's state can be saved and restored.
 */
export async function load(edits = {}) {
  const folder = mkdtempSync(join(tmpdir(), "live-protocol-"));
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  const copy = (file, base, change) => {
    const text = edit(readFileSync(new URL(file, base), "utf8"), edits[file]);
    writeFileSync(join(folder, file), change(text));
  };
  for (const file of SITE) copy(file, STATIC, (text) => text.replace(PRIVATE, "$1_"));
  for (const file of HERE) copy(file, import.meta.url, (text) => text);
  let Source;
  globalThis.customElements = { define: (name, constructor) => (Source = constructor) };
  const { explore } = await import(join(folder, "explore.mjs"));
  await import(join(folder, "live-source.js"));
  rmSync(folder, { recursive: true });
  return { Source, explore };
}

/** Return a text after replacing parts of it, each of which it must contain. */
function edit(text, replacements = []) {
  for (const [from, to] of replacements) {
    if (!text.includes(from)) throw new Error(`this text is no longer there to be replaced: ${from}`);
    text = text.replace(from, to);
  }
  return text;
}
