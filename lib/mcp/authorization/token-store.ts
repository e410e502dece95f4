/** Where tokens outlive the process, encrypted by whoever offers it. Without one they live in memory. */
export interface TokenStore {
  load(key: string): Promise<string | undefined>;
  /** `undefined` forgets. */
  save(key: string, value: string | undefined): Promise<void>;
}
