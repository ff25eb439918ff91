// The address on which a server listens.

/** `host` is an IP address or a name; port 0 lets the system choose. */
export type ListenAddress = { host: string; port: number };
