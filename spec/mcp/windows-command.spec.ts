import { describe, expect, it } from '@jest/globals';
import { windowsCommand, type WindowsCommand } from '../../lib/mcp/windows-command.ts';

const FILES = new Set([
  'c:\\node\\node.exe',
  'c:\\node\\npx',
  'c:\\node\\npx.cmd',
  'c:\\my tools\\serve.bat',
  'd:\\work\\run.cmd',
  'd:\\work\\bin\\tool.exe',
]);

function started(
  command: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): WindowsCommand {
  return windowsCommand(command, args, {
    env: { Path: 'C:\\none;C:\\node\\;C:\\my tools', PATHEXT: '.EXE;.CMD;.bat', ...env },
    cwd: 'D:\\work',
    // Case does not matter to the file system.
    isFile: (path) => FILES.has(path.toLowerCase()),
    server: 'peer',
  });
}

describe('windowsCommand', () => {
  it('starts a program directly, its arguments untouched', () => {
    const args = ['a b', '100%', '"', 'x\ny'];
    expect(started('node', args)).toEqual({ command: 'C:\\node\\node.EXE', args, verbatim: false });
    expect(started('node.exe', args)).toEqual({ command: 'C:\\node\\node.exe', args, verbatim: false });
    expect(started('.\\bin\\tool', args)).toMatchObject({ verbatim: false });
    expect(started('C:\\node\\node', args)).toEqual({ command: 'C:\\node\\node.EXE', args, verbatim: false });
  });

  it('leaves it to the system to say that there is no such program', () => {
    expect(started('nothing', ['%'])).toEqual({ command: 'nothing', args: ['%'], verbatim: false });
    expect(started('node', [], { Path: '' })).toEqual({ command: 'node', args: [], verbatim: false });
  });

  it('starts a batch file through cmd.exe, each argument in quotes', () => {
    expect(started('npx', ['-y', 'server & calc', '^|<>()!', ''])).toEqual({
      command: 'cmd.exe',
      args: ['/d', '/s', '/v:off', '/c', '""C:\\node\\npx.CMD" "-y" "server & calc" "^|<>()!" """'],
      verbatim: true,
    });
    expect(started('serve', ['C:\\dir\\'], { ComSpec: 'C:\\Windows\\cmd.exe' })).toEqual({
      command: 'C:\\Windows\\cmd.exe',
      args: ['/d', '/s', '/v:off', '/c', '""C:\\my tools\\serve.bat" "C:\\dir\\\\""'],
      verbatim: true,
    });
    expect(started('D:\\work\\run.cmd').args.at(-1)).toBe('""D:\\work\\run.cmd""');
  });

  it.each(['a"b', '%PATH%', 'a\nb', 'a\rb', 'a\0b'])(
    'refuses to give a batch file the argument %j',
    (arg) => {
      expect(() => started('npx', ['-y', arg])).toThrow(
        expect.objectContaining({ code: 'config_invalid', server: 'peer' }),
      );
      expect(() => started('npx', ['-y', arg])).toThrow(/batch file.*cannot be passed safely/);
    },
  );
});
