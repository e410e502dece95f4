export interface HostileIo {
  /** True when no more is taken for now. */
  say(message: unknown): boolean | undefined;
  raw(text: string): void;
  together(messages: readonly unknown[]): void;
  long(bytes: number, options: { readonly ends: boolean }): Promise<void> | void;
  bytes(buffer: Buffer): void;
  done(): void;
  cut(): void;
  open(): boolean;
}

export function createHostile(mode?: string): { receive(message: unknown, io: HostileIo): void };
