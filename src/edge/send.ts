// How a request gets to its server, handed in: `fetch`, or the handler of a server in this process.

export type SendRequest = (request: Request) => Promise<Response>;
