// What reaches guest, client and log, byte for byte, through the built executable.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { connect } from 'node:net';
import {
  type Directory,
  type Up,
  WAIT_MS,
  deployed,
  fixture,
  startUp,
  temporaryDirectory,
  until,
} from './harness.ts';

const EXECUTION_MS = 300;
const LOGGED_MS = 2_000;
/** Bytes that a header value may hold at its ends and inside; `voilà` in UTF-8 ends in 0xC3 0xA0. */
const VALUES = ['voil\xc3\xa0', '\xa0\x85x\xa0', '\x80\xff', 'a\tb \xe2\x82\xac', 'caf\xe9', 'plain'];

let directory: Directory;
let up: Up;

type Asked = { name: string; method?: string; target?: string; headers?: string; body?: string };

/** Sends a request to the function `name` as these bytes; the bytes of the answer, both as Latin-1. */
function exchange({ name, method = 'GET', target = '/', headers = '', body = '' }: Asked): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect(Number(new URL(up.publicUrl).port), '127.0.0.1');
  const length = body === '' ? '' : `content-length: ${body.length}\r\n`;
  let text = '';
  socket.on('data', (data) => (text += data.toString('latin1')));
  socket.on('end', () => resolve(text));
  socket.on('error', reject);
  const head = `${method} ${target} HTTP/1.1\r\nhost: ${name}.test\r\nconnection: close\r\n${headers}${length}`;
  socket.write(`${head}\r\n${body}`, 'latin1');
  return promise;
}

const setHeader = (line: string): Promise<string> =>
  exchange({ name: 'header', method: 'POST', target: '/header', body: line });

type Line = { message: string; level: string; source?: string; error?: string; detail?: string | null };
type Ended = { status: string; guest: [level: string, text: string][]; detail: string | null | undefined };

/** Sends a request with an id of its own, and reads its log lines once the one on its failure is there. */
async function fail(asked: Asked): Promise<Ended> {
  const id = `lines-${crypto.randomUUID()}`;
  const answer = await exchange({ ...asked, headers: `x-request-id: ${id}\r\n` });
  const lines = await until(
    'the failure is logged',
    () => {
      const written = up.output().split('\n').slice(0, -1);
      const all = written.filter((line) => line.includes(id)).map((line) => JSON.parse(line) as Line);
      return all.some(({ error }) => error !== undefined) ? all : null;
    },
    LOGGED_MS,
  );
  const guest = lines.filter(({ source }) => source === 'guest');
  return {
    status: answer.slice(9, 12),
    guest: guest.map(({ level, message }) => [level, message]),
    detail: lines.find(({ error }) => error !== undefined)?.detail,
  };
}

beforeAll(async () => {
  directory = temporaryDirectory();
  up = await startUp(directory.path, { args: ['--log-level', 'info'] });
  for (const [name, file] of [
    ['header', 'header/header.wasm'],
    ['echo', 'echo/echo.wasm'],
    ['request', 'request/request.wasm'],
    ['status', 'status/status.wasm'],
    ['denied', 'hostile/wasi-denied.wasm'],
    ['last', 'hostile/log-last.wasm'],
  ] as const) {
    const route = ['--name', name, '--host', `${name}.test`, '--route', '/*'];
    await deployed(up, fixture(file), [...route, '--max-execution-ms', String(EXECUTION_MS)]);
  }
}, 120_000);

afterAll(async () => {
  await up.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

describe('The bytes of a header value', () => {
  test.each(VALUES.map((value) => [Buffer.from(value, 'latin1').toString('hex'), value]))(
    'reach the client as the guest gave them: %s',
    async (_, value) => {
      expect(await setHeader(`x-value: ${value}`)).toContain(`\r\nx-value: ${value}\r\n`);
    },
  );

  test.each(VALUES.map((value) => [Buffer.from(value, 'latin1').toString('hex'), value]))(
    'reach the guest as the client sent them, without the blanks around them: %s',
    async (_, value) => {
      const headers = `x-value: \t ${value} \t\r\n`;
      expect(await exchange({ name: 'echo', headers })).toContain(`\nx-value: ${value}\r\n`);
      const read = await exchange({ name: 'request', target: '/request/header/x-value', headers });
      expect(read.slice(read.indexOf('\r\n\r\n') + 4)).toBe(value);
    },
  );
});

describe('A header that a guest may not set', () => {
  test.each([
    ['x-accel-redirect: /secret', 'header "x-accel-redirect" gives orders to a proxy: remove it'],
    ['X-Sendfile: /etc/passwd', 'header "x-sendfile" gives orders to a proxy: remove it'],
    ['x-edge-version: 9', 'header "x-edge-version" is for the host alone: remove it'],
    ['server-timing: a', 'header "server-timing" is for the host alone: remove it'],
    ['alt-svc: h3=":443"', 'header "alt-svc" speaks for the whole host: remove it'],
    ['proxy-status: a', 'header "proxy-status" is for proxies alone: remove it'],
    ['Connection: close', 'header "connection" belongs to the connection: remove it'],
    ['x a: b', 'header name "x a" is not a token: use letters, digits and hyphens'],
    [
      'x-a: b\rc',
      'the value of header "x-a" has a control character or blanks around it: send one trimmed line',
    ],
  ])('gets 500, and the log says which: %j', async (line, detail) => {
    const ended = await fail({ name: 'header', method: 'POST', target: '/header', body: line });
    expect(ended).toMatchObject({ status: '500', detail });
  });

  test('or too many of them get 500, and the log says so', async () => {
    expect(await fail({ name: 'header', target: '/header/long/40000' })).toMatchObject({
      status: '500',
      detail: 'header "x-long" does not fit: all headers together may have 32768 bytes',
    });
    expect((await fail({ name: 'header', target: '/header/many/101' })).detail).toBe(
      'there are more than 100 headers',
    );
  });

  test('is told from a bad status', async () => {
    const { status, detail } = await fail({ name: 'status', target: '/status/700' });
    expect([status, detail]).toEqual(['500', 'status 700 is outside 200 to 599']);
  });

  test.each(['content-length: 99999', 'date: never', 'x-request-id: forged'])(
    'is left out where the host has it: %s',
    async (line) => {
      const answer = await setHeader(line);
      expect(answer).toStartWith('HTTP/1.1 200 OK\r\n');
      expect(answer).not.toContain(line.slice(line.indexOf(':') + 2));
      expect(answer).toEndWith('\r\n\r\n0\n');
    },
  );
});

describe('The log of a request without an answer', () => {
  const said: Ended['guest'] = [
    ['warn', 'the last words'],
    ['info', 'of this guest'],
  ];

  test.each([
    ['/loop', '504'],
    ['/recurse', '500'],
    ['/trap', '500'],
    ['/denied', '500'],
  ])('keeps what the guest wrote before %s', async (target, status) => {
    expect(await fail({ name: 'last', target })).toMatchObject({ status, guest: said });
  });

  test('keeps the lines that have no end yet', async () => {
    const { status, guest } = await fail({ name: 'last', target: '/half' });
    expect(status).toBe('504');
    expect(guest).toEqual([...said, ['info', 'half a line'], ['warn', 'half an error']]);
  });
});

describe('A WASI function that is not offered', () => {
  test.each(['path_open', 'path_unlink_file', 'fd_readdir', 'sock_send', 'sock_shutdown', 'proc_raise'])(
    'is named in the log: %s',
    async (name) => {
      const { status, detail } = await fail({ name: 'denied', target: `/${name}` });
      expect([status, detail]).toEqual(['500', `it called ${name}`]);
    },
  );
});
