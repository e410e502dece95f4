/**
 * `node audited-host.mjs ENGINE AUDIT KEY EFFECTS`: a host that runs an engine, bundled in ENGINE, with an audit trail over two
 * real servers, and calls their tools without rest until it is killed. Each server writes what it did into EFFECTS. On stdout
 * stands what is acknowledged: `head SEQ MAC` for each record of the trail, `done NONCE` for each call that was answered.
 */
import { writeSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** A pipe that is full takes nothing (EAGAIN) until its reader comes to it; a line goes whole or not at all. */
const sleeper = new Int32Array(new SharedArrayBuffer(4));
function tell(line) {
  for (;;) {
    try {
      writeSync(1, line);
      return;
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(sleeper, 0, 0, 1);
    }
  }
}

const [engineFile, audit, key, effects] = process.argv.slice(2);
const { createEngine } = await import(pathToFileURL(engineFile).href);
const server = fileURLToPath(new URL('effects-stdio.mjs', import.meta.url));
const engine = createEngine({
  servers: {
    one: { command: process.execPath, args: [server, effects] },
    two: { command: process.execPath, args: [server, effects] },
  },
  policy: [{ effect: 'deny', tools: ['forbidden'] }],
  audit: { file: audit, key, onHead: ({ seq, mac }) => tell(`head ${seq} ${mac}\n`) },
});
await engine.start();
await engine.listTools();
let nonce = 0;
const work = async (name) => {
  for (;;) {
    const mine = `${process.pid}.${(nonce += 1)}`;
    await engine.callTool(`${name}__act`, { nonce: mine });
    tell(`done ${mine}\n`);
    if (nonce % 7 === 0) await engine.callTool(`${name}__forbidden`, { nonce: mine }).catch(() => {});
  }
};
for (const name of ['one', 'two', 'one', 'two', 'one', 'two']) void work(name);
