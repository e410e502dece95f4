import { McpServer, ResourceTemplate, completable } from '@modelcontextprotocol/server';
import initSqlJs from 'sql.js';
import { z } from 'zod';

/**
 * An in-process MCP server on a real SQL engine (SQLite, compiled to WebAssembly: it runs wherever Node runs). It shows
 * tools with structured output, resources with a template, a prompt and completion.
 */
const SQL = await initSqlJs();
const database = new SQL.Database();
database.run(`
  CREATE TABLE planet (name TEXT PRIMARY KEY, radius_km REAL NOT NULL, moons INTEGER NOT NULL);
  INSERT INTO planet VALUES ('Mercury', 2439.7, 0), ('Venus', 6051.8, 0), ('Earth', 6371.0, 1), ('Mars', 3389.5, 2);
  CREATE TABLE visit (id INTEGER PRIMARY KEY, planet TEXT REFERENCES planet, mission TEXT NOT NULL);
  INSERT INTO visit (planet, mission) VALUES ('Venus', 'Venera 7'), ('Mars', 'Viking 1'), ('Mars', 'Curiosity');
`);

const tables = (): string[] =>
  rows(`SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`).map((row) => String(row['name']));

function rows(
  sql: string,
  parameters: readonly (string | number | null)[] = [],
): Array<Record<string, unknown>> {
  const statement = database.prepare(sql);
  try {
    statement.bind([...parameters]);
    const found: Array<Record<string, unknown>> = [];
    while (statement.step()) found.push(statement.getAsObject());
    return found;
  } finally {
    statement.free();
  }
}

const Parameters = z.array(z.union([z.string(), z.number(), z.null()])).default([]);

/** A fresh server object on the one database, as each connection needs it. */
export function buildDatabaseServer(): McpServer {
  const server = new McpServer({ name: 'planets-db', version: '1.0.0' });
  server.registerTool(
    'query',
    {
      description: 'Runs one SELECT and returns its rows.',
      inputSchema: z.object({ sql: z.string(), parameters: Parameters }),
      outputSchema: z.object({ rows: z.array(z.record(z.string(), z.unknown())) }),
      annotations: { readOnlyHint: true },
    },
    ({ sql, parameters }) => {
      if (!/^\s*select\b/i.test(sql))
        return { isError: true, content: [{ type: 'text', text: 'only SELECT is read here; use execute' }] };
      const structuredContent = { rows: rows(sql, parameters) };
      return { structuredContent, content: [{ type: 'text', text: JSON.stringify(structuredContent.rows) }] };
    },
  );
  server.registerTool(
    'execute',
    {
      description: 'Runs one statement that changes data; answers with the number of rows changed.',
      inputSchema: z.object({ sql: z.string(), parameters: Parameters }),
      annotations: { destructiveHint: true },
    },
    ({ sql, parameters }) => {
      database.run(sql, [...parameters]);
      return { content: [{ type: 'text', text: `${database.getRowsModified()} rows changed` }] };
    },
  );
  server.registerResource(
    'table',
    new ResourceTemplate('db://planets/{table}', {
      list: () => ({ resources: tables().map((table) => ({ name: table, uri: `db://planets/${table}` })) }),
      complete: { table: (start) => tables().filter((table) => table.startsWith(start)) },
    }),
    { description: 'All rows of one table', mimeType: 'application/json' },
    (uri, { table }) => {
      if (!tables().includes(String(table))) throw new Error(`no table ${String(table)}`);
      return {
        contents: [
          {
            uri: uri.href,
            mimeType: 'application/json',
            text: JSON.stringify(rows(`SELECT * FROM "${String(table)}"`)),
          },
        ],
      };
    },
  );
  server.registerPrompt(
    'describe',
    {
      description: 'Asks for a description of one planet.',
      argsSchema: z.object({
        planet: completable(z.string(), (start) =>
          rows('SELECT name FROM planet WHERE name LIKE ? ORDER BY name', [`${start}%`]).map((row) =>
            String(row['name']),
          ),
        ),
      }),
    },
    ({ planet }) => ({
      messages: [
        {
          role: 'user',
          content: {
            type: 'text',
            text: `Describe ${planet}: ${JSON.stringify(rows('SELECT * FROM planet WHERE name = ?', [planet]))}`,
          },
        },
      ],
    }),
  );
  return server;
}
