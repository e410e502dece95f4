// Appends records to the trail in argv[3] until it is killed, with the audit module bundled in argv[2]; each record is
// acknowledged on stdout only after `append` has returned.
import { writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const { createAuditTrail } = await import(pathToFileURL(process.argv[2]).href);
const trail = createAuditTrail({ path: process.argv[3], key: process.argv[4] });
for (;;) {
  const { seq } = trail.append('intent', { method: 'tools/call', target: 'echo', filler: 'x'.repeat(150) });
  writeSync(1, `${seq}\n`);
}
