import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { run, runTypeScript } from './support/programs.ts';

jest.setTimeout(180_000);

interface Report {
  readonly held: boolean;
  readonly seconds: number;
  readonly findings: ReadonlyArray<{ what: string; expected: string; measured: string; held: boolean }>;
}

/** Command lines of the processes that were told of the directory. Linux only: elsewhere nobody says. */
function processesOf(directory: string): readonly string[] {
  if (!existsSync('/proc/self/environ')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
        const told =
          command.includes(directory) || readFileSync(`/proc/${pid}/environ`, 'latin1').includes(directory);
        return told ? [`${pid} ${command}`] : [];
      } catch {
        // Gone meanwhile, or not ours to see.
        return [];
      }
    });
}

describe('the main job', () => {
  it('is what npm start runs: every expectation held, within a minute', async () => {
    const { code, stdout, stderr } = await run('npm', ['start', '-s', '--', '--json']);
    const report = JSON.parse(stdout) as Report;
    expect(report.findings.filter(({ held }) => !held)).toEqual([]);
    expect({ code, held: report.held, stderr }).toEqual({ code: 0, held: true, stderr: '' });
    expect(report.seconds).toBeLessThan(60);
    expect(report.findings.length).toBeGreaterThan(40);
    expect(report.findings.map(({ what }) => what)).toEqual(
      expect.arrayContaining([
        'a call over stdio',
        'a call over WebSocket',
        'the server is back',
        'no call fails',
      ]),
    );
  });

  it('is plain text where nobody looks: no colours in a pipe', async () => {
    const scratch = await mkdtemp(join(tmpdir(), 'main-job-'));
    const { code, stdout } = await runTypeScript('examples/main.ts', [], { env: { TMPDIR: scratch } });
    expect(code).toBe(0);
    // Its servers have ended, and its directory is gone.
    expect(processesOf(scratch)).toEqual([]);
    expect((await readdir(scratch)).filter((name) => name.startsWith('mcp-troupe'))).toEqual([]);
    await rm(scratch, { recursive: true });
    expect(stdout).toMatch(/^All \d+ expectations held\.$/m);
    expect(stdout).not.toContain('\u001B');
    expect(stdout).not.toContain('FAIL');
    // The fleet of the end: every connection with its revision, the one that was lost with its restart.
    expect(stdout).toMatch(/^ {2}everything +stdio +legacy +2025-11-25 +Connected /m);
    expect(stdout).toMatch(/^ {2}planets +in-memory +modern +2026-07-28 +Connected /m);
    expect(stdout).toMatch(/^ {2}memory .* [1-9]$/m);
    expect(stdout.match(/^ {2}factors#\d +stdio .* Connected .*$/gm)).toHaveLength(3);
  });

  it('names what failed and ends with 1 when a server cannot work', async () => {
    const { code, stdout, stderr } = await runTypeScript('examples/main.ts', ['--json', '--break', 'memory']);
    const report = JSON.parse(stdout) as Report;
    expect({ code, held: report.held }).toEqual({ code: 1, held: false });
    const failed = report.findings.filter(({ held }) => !held).map(({ what }) => what);
    expect(failed).toContain('memory is Connected');
    expect(stderr).toMatch(/^failed: memory is Connected: expected Connected, measured \w+: .*code 3.*$/m);
    // The others do not suffer.
    const held = report.findings.filter((finding) => finding.held).map(({ what }) => what);
    expect(held).toEqual(
      expect.arrayContaining([
        'a call over stdio',
        'a query in process, structured and checked',
        'no call fails',
      ]),
    );
  });

  it('ends with 2 when it is asked for what it does not know', async () => {
    const { code, stdout, stderr } = await runTypeScript('examples/main.ts', ['--break', 'nobody']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/--break: there is no server "nobody"; there are everything, .*factors/);
  });
});
