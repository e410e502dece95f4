export interface MiniHttp {
  readonly url: string;
  readonly seen: ReadonlyArray<{
    readonly method: string;
    readonly url: string;
    readonly headers: Readonly<Record<string, string | undefined>>;
    readonly body: unknown;
  }>;
  readonly sessions: number;
  kill(): Promise<void>;
  restart(): Promise<void>;
  forget(): void;
  close(): Promise<void>;
}
export function startMiniHttp(options: {
  readonly revision: string;
  readonly kind?: 'http' | 'sse';
}): Promise<MiniHttp>;
