export interface MiniServer {
  readonly modern: boolean;
  readonly capabilities: Readonly<Record<string, unknown>>;
  receive(message: unknown, out: (message: unknown, final?: boolean) => void): Promise<void>;
  cancel(id: unknown): void;
}
export const MODERN: string;
export function createMiniServer(options: {
  readonly revision: string;
  readonly push: (message: unknown) => void;
  readonly instance?: string;
}): MiniServer;
