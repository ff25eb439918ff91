// The bare server that the edge is compared with: Bun.serve answers the same bytes without WebAssembly.
const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch: () => new Response('Hello from edge!\n', { headers: { 'content-type': 'text/plain' } }),
});
process.stdout.write(`${server.port}\n`);
