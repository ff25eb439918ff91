// Headers of a request reach the guest, and headers of its answer reach the client, only if they may.
import { describe, expect, test } from 'bun:test';
import {
  isHostOwned,
  isRequestId,
  readRequestHead,
  refuseResponseHead,
  type RequestHeadOutcome,
} from '../../../src/model/http/headers.ts';

const bounds = { bytesMax: 1_000, countMax: 10 };
const read = (init: [string, string][]): RequestHeadOutcome => readRequestHead(new Headers(init), bounds);
const textOf = (init: [string, string][]): string => {
  const outcome = read(init);
  return outcome.ok ? outcome.head.text : outcome.code;
};

describe('The head of a request', () => {
  test('reaches the guest as lines with lower-case names', () => {
    expect(
      textOf([
        ['Host', 'example.com'],
        ['X-One', '1'],
      ]),
    ).toBe('host: example.com\r\nx-one: 1\r\n');
  });

  test('keeps repeated fields', () => {
    expect(
      textOf([
        ['a', '1'],
        ['a', '2'],
      ]),
    ).toBe('a: 1, 2\r\n');
  });

  const dropped = [
    'connection',
    'keep-alive',
    'proxy-connection',
    'proxy-authorization',
    'te',
    'trailer',
    'transfer-encoding',
    'upgrade',
    'content-length',
    'expect',
  ];
  for (const name of dropped) {
    test(`does not bring ${name} to the guest`, () =>
      expect(
        textOf([
          [name, '1'],
          ['x', 'y'],
        ]),
      ).toBe('x: y\r\n'));
  }

  test('brings what the connection field names: a proxy in front may have added it', () => {
    expect(
      textOf([
        ['connection', 'close, X-Auth-User'],
        ['x-auth-user', 'ada'],
        ['x', 'y'],
      ]),
    ).toBe('x: y\r\nx-auth-user: ada\r\n');
  });

  test('says how long the body is, or that it comes in chunks', () => {
    const outcome = read([
      ['content-length', '12'],
      ['x-edge-timing', '1'],
      ['x-request-id', 'abc'],
    ]);
    expect(outcome).toMatchObject({
      ok: true,
      head: { contentLength: 12, isChunked: false, requestId: 'abc', timingAsked: true },
    });
    expect(read([['transfer-encoding', 'chunked']])).toMatchObject({ ok: true, head: { isChunked: true } });
    expect(read([['content-length', '0x1']])).toMatchObject({
      ok: true,
      head: { contentLength: Number.NaN },
    });
  });

  test('is refused with two hosts', () => {
    expect(
      read([
        ['host', 'a'],
        ['host', 'b'],
      ]),
    ).toEqual({ ok: false, code: 'bad_request', requestId: null });
  });

  test('is refused above the bound on its bytes and above the bound on its count', () => {
    expect(textOf([['a', 'x'.repeat(1_000)]])).toBe('headers_too_large');
    expect(textOf(Array.from({ length: 11 }, (_, i) => [`h${i}`, '']))).toBe('headers_too_large');
  });

  test('hides a malformed request id from the guest', () => {
    expect(
      textOf([
        ['x-request-id', 'a b'],
        ['x', 'y'],
      ]),
    ).toBe('x: y\r\n');
  });
});

describe('A request id', () => {
  const table: [string, boolean][] = [
    ['abc-1.2_3', true],
    ['a'.repeat(64), true],
    ['a'.repeat(65), false],
    ['', false],
    ['a b', false],
    ['a\n', false],
    ['a/b', false],
  ];
  for (const [id, sane] of table) {
    test(`${JSON.stringify(id.slice(0, 12))} of ${id.length} is ${sane ? 'taken' : 'refused'}`, () => {
      expect(isRequestId(id)).toBe(sane);
    });
  }
});

describe('The head of an answer', () => {
  const refused: [name: string, status: number, headers: [string, string][]][] = [
    ['a line break in a value', 200, [['a', 'b\r\nset-cookie: x=1']]],
    ['a bare line feed in a value', 200, [['a', 'b\nc']]],
    ['a bare carriage return in a value', 200, [['a', 'b\rc']]],
    ['a zero byte in a value', 200, [['a', 'b\u0000c']]],
    ['a value beyond Latin-1', 200, [['a', 'b\u2028c']]],
    ['white space around a value', 200, [['a', ' b']]],
    ['a line break in a name', 200, [['a\r\nb', 'c']]],
    ['a colon in a name', 200, [['a:b', 'c']]],
    ['a space in a name', 200, [['a ', 'c']]],
    ['an empty name', 200, [['', 'c']]],
    ['an upper-case name', 200, [['A', 'c']]],
    ['transfer-encoding', 200, [['transfer-encoding', 'chunked']]],
    ['connection', 200, [['connection', 'close']]],
    ['upgrade', 200, [['upgrade', 'h2c']]],
    ['trailer', 200, [['trailer', 'x']]],
    ['a header of the edge', 200, [['x-edge-function', 'x']]],
    ['a header of the edge that is not known yet', 200, [['x-edge-anything', 'x']]],
    ['server-timing', 200, [['server-timing', 'a']]],
    ['proxy-status', 200, [['proxy-status', 'a']]],
    ['alt-svc', 200, [['alt-svc', 'clear']]],
    ['x-accel-redirect', 200, [['x-accel-redirect', '/']]],
    ['x-accel-buffering', 200, [['x-accel-buffering', 'no']]],
    ['x-sendfile', 200, [['x-sendfile', '/']]],
    ['x-sendfile2', 200, [['x-sendfile2', '/']]],
    ['x-lighttpd-send-file', 200, [['x-lighttpd-send-file', '/']]],
    ['x-litespeed-purge', 200, [['x-litespeed-purge', '*']]],
    ['x-reproxy-url', 200, [['x-reproxy-url', 'http://127.0.0.1/']]],
    ['x-envoy-immediate-health-check-fail', 200, [['x-envoy-immediate-health-check-fail', '1']]],
    ['status 101', 101, []],
    ['status 199', 199, []],
    ['status 600', 600, []],
    ['a status that is no integer', 200.5, []],
    ['too many headers', 200, Array.from({ length: 11 }, () => ['a', 'b'] as [string, string])],
    ['too many bytes', 200, [['a', 'b'.repeat(1_000)]]],
  ];
  for (const [name, status, headers] of refused) {
    test(`is refused with ${name}`, () => expect(refuseResponseHead(status, headers, bounds)).toBeString());
  }

  test('is refused with a sentence that names the header and says what to do', () => {
    expect(
      refuseResponseHead(
        200,
        [
          ['x-a', '1'],
          ['x-sendfile', '/'],
        ],
        bounds,
      ),
    ).toBe('header "x-sendfile" gives orders to a proxy: remove it');
  });

  const taken: [name: string, status: number, headers: [string, string][]][] = [
    ['nothing at all', 204, []],
    [
      'repeated cookies',
      200,
      [
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
      ],
    ],
    ['an empty value', 599, [['x', '']]],
    ['Latin-1 and tabs inside a value', 200, [['x', 'caf\u00e9\tbar']]],
    ['bytes above 127 at both ends of a value', 200, [['x', '\xa0\x80\xa0']]],
    [
      'names that only begin like forbidden ones',
      200,
      ['alt-svc-x', 'x-edge', 'x-accel', 'terminal'].map((name) => [name, 'x']),
    ],
    [
      'caching and policies of its own',
      200,
      ['surrogate-control', 'strict-transport-security', 'clear-site-data', 'nel', 'report-to'].map(
        (name) => [name, 'x'],
      ),
    ],
  ];
  for (const [name, status, headers] of taken) {
    test(`is taken with ${name}`, () => expect(refuseResponseHead(status, headers, bounds)).toBeNull());
  }

  test('has fields that only the host sets', () => {
    for (const name of ['content-length', 'x-request-id', 'date']) {
      expect(isHostOwned(name)).toBe(true);
      expect(refuseResponseHead(200, [[name, '1']], bounds)).toBeNull();
    }
    expect(isHostOwned('content-type')).toBe(false);
  });
});
