/** Who asks: a client with a key, or one without where none are wanted. */
export interface Client {
  /** Separates caches and stored answers of different clients; "" without keys. */
  readonly tenant: string;
  /** For the log and for statistics: the name of the key. */
  readonly name: string;
}

export const anonymous: Client = { tenant: "", name: "anonymous" };
