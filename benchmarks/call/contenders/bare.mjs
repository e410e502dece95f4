/** The floor: ids in a map and JSON, nothing of what makes a client. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'undici';
import { opened } from './opened.mjs';
import { memoryPeer } from '../peers/memory-peer.mjs';

export async function open({ transport, program, url }) {
  const wire =
    transport === 'memory' ? inMemory() : transport === 'stdio' ? overPipes(program) : overHttp(url);
  await wire.request('initialize', {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'bare', version: '1.0.0' },
  });
  return {
    call: (args) => wire.request('tools/call', { name: 'echo', arguments: args }),
    close: wire.close,
    pid: wire.pid,
  };
}

export async function openAll(programs) {
  return opened(await Promise.all(programs.map((program) => open({ transport: 'stdio', program }))));
}

function pendingMap() {
  const pending = new Map();
  let next = 1;
  return {
    ask: (method, params, send) =>
      new Promise((resolve) => {
        const id = next++;
        pending.set(id, resolve);
        send({ jsonrpc: '2.0', id, method, params });
      }),
    settle({ id, result }) {
      pending.get(id)?.(result);
      pending.delete(id);
    },
  };
}

function inMemory() {
  const peer = memoryPeer();
  const { ask, settle } = pendingMap();
  peer.onmessage = settle;
  const send = (message) => void peer.send(message);
  return { request: (method, params) => ask(method, params, send), close: () => peer.close() };
}

function overPipes({ command, args }) {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME };
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'], env });
  const { ask, settle } = pendingMap();
  // Parts of a line that is not complete yet; joined once, so that a long line costs what it weighs.
  let parts = [];
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk) => {
    let from = 0;
    for (let at = chunk.indexOf('\n'); at >= 0; at = chunk.indexOf('\n', from)) {
      const end = chunk.slice(from, at);
      from = at + 1;
      settle(JSON.parse(parts.length === 0 ? end : parts.join('') + end));
      if (parts.length > 0) parts = [];
    }
    if (from < chunk.length) parts.push(chunk.slice(from));
  });
  const exited = once(child, 'exit');
  const send = (message) => child.stdin.write(`${JSON.stringify(message)}\n`);
  return {
    pid: child.pid,
    request: (method, params) => ask(method, params, send),
    async close() {
      child.stdin.end();
      await exited;
    },
  };
}

function overHttp(url) {
  const dispatcher = new Agent();
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  let next = 1;
  return {
    async request(method, params) {
      const body = JSON.stringify({ jsonrpc: '2.0', id: next++, method, params });
      const response = await request(url, { method: 'POST', headers, body, dispatcher });
      return JSON.parse(await response.body.text()).result;
    },
    close: () => dispatcher.close(),
  };
}
